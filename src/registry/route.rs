//! From an image to the endpoints that are asked about it.

use std::borrow::Cow;

use super::connect::{Origin, Trust, Wire};
use super::{Image, SettingsError};
use crate::config::{MAX_CONCURRENT, Registry};
use crate::credentials::urls_match;

/// Where Docker Hub really answers (`distribution/reference` keeps the name `docker.io` for images).
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The label of registries that the configuration does not name; never a host, which the author of a Pod chooses.
const OTHER: &str = "other";

/// All ways that the configuration gives, and the one for everything else.
#[derive(Debug)]
pub(super) struct Routes {
    configured: Vec<Configured>,
    default: Wire,
}

#[derive(Debug)]
struct Configured {
    pattern: String,
    endpoints: Vec<String>,
    at_once: u32,
    wire: Wire,
}

/// The way to one image's registry.
#[derive(Debug)]
pub(super) struct Route<'a> {
    /// What metrics call it.
    pub(super) label: &'a str,
    /// The connections to use.
    pub(super) wire: &'a Wire,
    /// How many look-ups may be under way at once at one host.
    pub(super) at_once: u32,
    /// URLs to put `/v2/…` behind, in the order of trying.
    pub(super) endpoints: Cow<'a, [String]>,
}

impl Routes {
    /// Reads the files that the entries name.
    pub(super) fn new(registries: &[Registry]) -> Result<Self, SettingsError> {
        let roots = super::connect::system_roots();
        let endpoints = registries.iter().flat_map(|registry| &registry.endpoints);
        let trusted: Vec<_> = endpoints
            .filter_map(|endpoint| Origin::of(endpoint.uri()))
            .collect();
        let trust = Trust::new(trusted);
        let configured = registries.iter().map(|registry| {
            let roots = match &registry.ca {
                Some(path) => {
                    super::connect::with_ca(&roots, path).map_err(|why| SettingsError::Ca {
                        pattern: registry.pattern.clone(),
                        path: path.clone(),
                        why,
                    })?
                }
                None => roots.clone(),
            };
            // A registry whose address nobody vouched for cannot lead to one that somebody did.
            let trust = if registry.endpoints.is_empty() {
                Trust::default()
            } else {
                trust.clone()
            };
            Ok(Configured {
                pattern: registry.pattern.clone(),
                endpoints: registry
                    .endpoints
                    .iter()
                    .map(|url| url.uri().to_string().trim_end_matches('/').to_owned())
                    .collect(),
                at_once: registry.max_concurrent,
                wire: Wire::new(roots, trust)?,
            })
        });
        Ok(Self {
            configured: configured.collect::<Result<_, SettingsError>>()?,
            default: Wire::new(roots, Trust::default())?,
        })
    }

    /// The way to this image's registry.
    pub(super) fn of(&self, image: &Image) -> Route<'_> {
        let name = format!("{}/{}", image.registry, image.repository);
        let own = || {
            let host = if image.registry == HUB.0 {
                HUB.1
            } else {
                &image.registry
            };
            vec![format!("https://{host}")]
        };
        match self
            .configured
            .iter()
            .find(|configured| pattern_matches(&configured.pattern, &name))
        {
            Some(Configured {
                pattern,
                endpoints,
                at_once,
                wire,
            }) => Route {
                label: pattern,
                wire,
                at_once: *at_once,
                endpoints: if endpoints.is_empty() {
                    own().into()
                } else {
                    endpoints.into()
                },
            },
            None => Route {
                label: OTHER,
                wire: &self.default,
                at_once: MAX_CONCURRENT,
                endpoints: own().into(),
            },
        }
    }
}

/// Whether a name, `host[:port]/path`, is one that the pattern means: the kubelet's grammar, but ending at a path
/// segment, so that `r.io/team` does not mean `r.io/team-evil/app`.
fn pattern_matches(pattern: &str, name: &str) -> bool {
    let split = |text| -> (&str, &str) { str::split_once(text, '/').unwrap_or((text, "")) };
    let ((pattern_host, pattern_path), (host, path)) = (split(pattern), split(name));
    let pattern_path = pattern_path.trim_end_matches('/');
    let rest = path.strip_prefix(pattern_path);
    rest.is_some_and(|rest| pattern_path.is_empty() || rest.is_empty() || rest.starts_with('/'))
        && urls_match(pattern_host, host) == Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_label_by_label_and_end_at_a_segment() {
        for (pattern, name, expected) in [
            ("r.io", "r.io/team/app", true),
            ("r.io/", "r.io/team/app", true),
            ("r.io/team", "r.io/team/app", true),
            ("r.io/team/", "r.io/team/app", true),
            ("r.io/team", "r.io/team", true),
            ("r.io/team", "r.io/team-evil/app", false),
            ("r.io/team", "r.io/te", false),
            ("*.r.io", "a.r.io/app", true),
            ("*.r.io", "r.io/app", false),
            ("*.r.io", "a.b.r.io/app", false),
            ("reg-*-eu*.r.io", "reg-7-eu1.r.io/app", true),
            ("a*a.r.io", "a.r.io/app", false),
            ("*", "localhost/app", true),
            ("r.io", "r.io:443/app", false),
            ("r.io:5000", "r.io:5000/app", true),
            ("*:5000", "localhost:5000/app", true),
            ("R.io", "r.io/app", false),
            ("[::1]:5000", "[::1]:5000/app", true),
            ("[::1]", "[::1]:5000/app", false),
            ("docker.io/library", "docker.io/library/nginx", true),
        ] {
            assert_eq!(pattern_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn docker_hub_is_asked_at_its_real_endpoint() {
        let routes = Routes::new(&[]).unwrap();
        let image = |registry: &str| Image {
            registry: registry.to_owned().into(),
            repository: "library/nginx".into(),
            tag: "1.27".into(),
        };
        let hub = image("docker.io");
        let route = routes.of(&hub);
        assert_eq!(
            (route.label, &*route.endpoints),
            ("other", &["https://registry-1.docker.io".to_owned()][..])
        );
        let quay = image("quay.io:8443");
        assert_eq!(
            &*routes.of(&quay).endpoints,
            &["https://quay.io:8443".to_owned()]
        );
    }
}
