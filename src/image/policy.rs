//! The pull policy that Kubernetes gives a container without one.

use std::fmt;

use super::Reference;

/// A legal `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Ask the registry at every start of the container.
    Always,
    /// Pull where the node has no such image.
    IfNotPresent,
    /// Never pull; fail where the node has no such image.
    Never,
}

impl PullPolicy {
    /// The text in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The policy that an image gets when none was written: `Always` where the tag is `latest`, written or supplied,
/// and `IfNotPresent` otherwise, also for a text that is no image reference.
///
/// `SetDefaults_Container` in `pkg/apis/core/v1/defaults.go` of Kubernetes. A digest does not matter: what
/// counts is the tag beside it.
pub fn default_policy(image: &str) -> PullPolicy {
    match Reference::read(image) {
        Ok(reference) if reference.tag() == Some("latest") => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let hex = "0123456789abcdef".repeat(4);
        for image in [
            "app",
            "host:5000/app",
            "localhost/app",
            "Foo/bar",
            "app:latest",
            "host:5000/app:latest",
            "auto",
            &format!("app:latest@sha256:{hex}"),
        ] {
            assert_eq!(default_policy(image), PullPolicy::Always, "{image}");
        }
        for image in [
            "",
            " app:latest",
            "app:latest ",
            "App:latest",
            "app:LATEST",
            "app:Latest",
            "host:5000",
            "app:latest@md5:0123456789abcdef0123456789abcdef",
            &format!("app@sha256:{hex}"),
            &format!("app:1@sha256:{hex}"),
            &format!("sha256:{hex}"),
            &hex,
        ] {
            assert_eq!(default_policy(image), PullPolicy::IfNotPresent, "{image}");
        }
    }
}
