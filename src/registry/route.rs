//! From an image to the endpoints that are asked about it.

use std::borrow::Cow;

use http::Uri;
use http::uri::Scheme;

use super::connect::{Origin, Trust, Wire};
use super::settings::{Registry, SettingsError};
use super::{Image, Settings};

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
    wire: Wire,
}

/// The way to one image's registry.
#[derive(Debug)]
pub(super) struct Route<'a> {
    /// What metrics call it.
    pub(super) label: &'a str,
    /// The connections to use.
    pub(super) wire: &'a Wire,
    /// URLs to put `/v2/…` behind, in the order of trying.
    pub(super) endpoints: Cow<'a, [String]>,
}

impl Routes {
    /// Reads the settings, and the files that they name.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let roots = super::connect::system_roots();
        let mut trusted = Vec::new();
        for registry in &settings.registries {
            check_pattern(&registry.r#match)?;
            for endpoint in &registry.endpoints {
                trusted.push(origin_of(registry, endpoint)?);
            }
        }
        let trust = Trust::new(trusted);
        let configured = settings.registries.iter().map(|registry| {
            let roots = match &registry.ca {
                Some(path) => {
                    super::connect::with_ca(&roots, path).map_err(|why| SettingsError::Ca {
                        pattern: registry.r#match.clone(),
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
                pattern: registry.r#match.clone(),
                endpoints: registry
                    .endpoints
                    .iter()
                    .map(|url| url.trim_end_matches('/').to_owned())
                    .collect(),
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
                wire,
            }) => Route {
                label: pattern,
                wire,
                endpoints: if endpoints.is_empty() {
                    own().into()
                } else {
                    endpoints.into()
                },
            },
            None => Route {
                label: OTHER,
                wire: &self.default,
                endpoints: own().into(),
            },
        }
    }
}

/// Whether a name, `host[:port]/path`, is one that the pattern means: the kubelet's grammar (`URLsMatch` of
/// `pkg/credentialprovider/keyring.go`), but ending at a path segment, so that `r.io/team` does not mean
/// `r.io/team-evil/app`.
fn pattern_matches(pattern: &str, name: &str) -> bool {
    let split = |text| -> (&str, &str) { str::split_once(text, '/').unwrap_or((text, "")) };
    let port = |host: &'_ str| {
        host.rfind(':')
            .filter(|colon| !host[*colon..].contains(']'))
    };
    let ((pattern_host, pattern_path), (host, path)) = (split(pattern), split(name));
    let (pattern_host, pattern_port) =
        pattern_host.split_at(port(pattern_host).unwrap_or(pattern_host.len()));
    let (host, host_port) = host.split_at(port(host).unwrap_or(host.len()));
    let pattern_path = pattern_path.trim_end_matches('/');
    pattern_port == host_port
        && pattern_host.split('.').count() == host.split('.').count()
        && pattern_host
            .split('.')
            .zip(host.split('.'))
            .all(|(pattern, label)| label_matches(pattern, label))
        && path
            .strip_prefix(pattern_path)
            .is_some_and(|rest| pattern_path.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// `*` is any text within the label, everything else itself.
fn label_matches(pattern: &str, label: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn check_pattern(pattern: &str) -> Result<(), SettingsError> {
    let refuse = |why| {
        Err(SettingsError::Match {
            pattern: pattern.to_owned(),
            why,
        })
    };
    let host = pattern.split('/').next().unwrap_or_default();
    if pattern.contains("://") {
        refuse("a pattern is a host and a path, without a scheme")
    } else if host.is_empty() {
        refuse("a pattern begins with a host")
    } else if pattern.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c))
    {
        refuse("a pattern has no spaces and none of `?#@\\`")
    } else if pattern
        .split_once('/')
        .is_some_and(|(_, path)| path.contains('*'))
    {
        refuse("`*` works only in the host")
    } else {
        Ok(())
    }
}

fn origin_of(registry: &Registry, endpoint: &str) -> Result<Origin, SettingsError> {
    let refuse = |why| SettingsError::Endpoint {
        pattern: registry.r#match.clone(),
        // A password may have been written into it.
        endpoint: endpoint.rsplit('@').next().unwrap_or_default().to_owned(),
        why,
    };
    let url: Uri = endpoint.parse().map_err(|_| refuse("is not a URL"))?;
    let authority = url
        .authority()
        .ok_or_else(|| refuse("must begin with `https://` or `http://`"))?;
    if url.scheme() != Some(&Scheme::HTTPS) && url.scheme() != Some(&Scheme::HTTP) {
        return Err(refuse("must begin with `https://` or `http://`"));
    }
    if authority.as_str().contains('@') {
        return Err(refuse("must not hold credentials"));
    }
    if url.query().is_some() || endpoint.contains('#') {
        return Err(refuse("must end after its path"));
    }
    Origin::of(&url).ok_or_else(|| refuse("has no usable host and port"))
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
    fn settings_that_make_no_sense_are_errors() {
        let settings = |pattern: &str, endpoint: &str| Settings {
            registries: vec![Registry {
                r#match: pattern.into(),
                endpoints: vec![endpoint.into()],
                ca: None,
            }],
            ..Settings::default()
        };
        assert!(Routes::new(&settings("r.io", "http://127.0.0.1:5000/")).is_ok());
        assert!(Routes::new(&settings("r.io/team", "https://mirror.test/prefix")).is_ok());
        for (pattern, endpoint) in [
            ("", "https://a"),
            ("/team", "https://a"),
            ("https://r.io", "https://a"),
            ("r.io/*", "https://a"),
            ("r io", "https://a"),
            ("r.io", ""),
            ("r.io", "a.test"),
            ("r.io", "/path"),
            ("r.io", "ftp://a.test"),
            ("r.io", "https://user:secret@a.test"),
            ("r.io", "https://a.test?x=y"),
            ("r.io", "https://a.test/#x"),
        ] {
            let error = Routes::new(&settings(pattern, endpoint))
                .unwrap_err()
                .to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn docker_hub_is_asked_at_its_real_endpoint() {
        let routes = Routes::new(&Settings::default()).unwrap();
        let image = |registry: &str| Image {
            registry: registry.into(),
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
