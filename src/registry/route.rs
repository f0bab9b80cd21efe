//! From an image to the endpoints that are asked about it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::connect::{IsOwn, Manner, Origin, Trust, Wire};
use super::guard::Allowed;
use super::proxy::Proxies;
use super::tls::{Tls, system_roots};
use super::{Image, SettingsError};
use crate::config::{Endpoint, MAX_CONCURRENT, Network, Registry, Timeouts};
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
    allow: Vec<String>,
    deny: Vec<String>,
}

#[derive(Debug)]
struct Configured {
    pattern: String,
    mirrors: Vec<String>,
    endpoints: Vec<String>,
    at_once: u32,
    named_wire: Wire,
    /// Where the image's own host is asked, too.
    own_wire: Option<Wire>,
}

/// The way to one image's registry.
#[derive(Debug)]
pub(super) struct Route<'a> {
    /// What metrics call it.
    pub(super) label: &'a str,
    /// How many look-ups may be under way at once at one host.
    pub(super) at_once: u32,
    /// Whom to ask, in this order.
    pub(super) targets: Vec<Target<'a>>,
}

/// One to be asked about an image.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The URL to put `/v2/…` behind.
    pub(super) endpoint: Cow<'a, str>,
    /// The connections to use.
    pub(super) wire: &'a Wire,
    /// Whether it stands for several registries, and has to be told for which.
    pub(super) is_mirror: bool,
}

impl Routes {
    /// Reads the files that the entries name, and which proxies there are.
    pub(super) fn new(registries: &[Registry], network: &Network) -> Result<Self, SettingsError> {
        let allowed = Allowed::new(&network.allow_addresses);
        let roots = system_roots();
        let proxies = Proxies::from_env()?;
        let trust = Trust::new(registries.iter().flat_map(named_origins));
        let configure = |registry: &Registry| {
            let wire = |trust| {
                Ok::<_, SettingsError>(Wire::new(Manner {
                    tls: Tls::of(registry, &roots)?,
                    is_own: is_own(registry),
                    trust,
                    allowed: allowed.clone(),
                    own_allowed: Allowed::new(&registry.allow_addresses),
                    proxies: proxies.clone(),
                    timeouts: registry.timeouts.clone(),
                }))
            };
            // A registry whose address nobody vouched for cannot lead to one that somebody did.
            let asks_own = registry.endpoints.is_empty();
            Ok(Configured {
                pattern: registry.pattern.clone(),
                mirrors: registry.mirrors.iter().map(base).collect(),
                endpoints: registry.endpoints.iter().map(base).collect(),
                at_once: registry.max_concurrent,
                named_wire: wire(trust.clone())?,
                own_wire: asks_own.then(|| wire(Trust::default())).transpose()?,
            })
        };
        let configured = registries.iter().map(configure);
        Ok(Self {
            configured: configured.collect::<Result<_, SettingsError>>()?,
            default: Wire::new(Manner {
                tls: Tls::plain(Arc::clone(&roots))?,
                is_own: Arc::new(|_| false),
                trust: Trust::default(),
                allowed: allowed.clone(),
                own_allowed: Allowed::default(),
                proxies: proxies.clone(),
                timeouts: Timeouts::default(),
            }),
            allow: network.allow_registries.clone(),
            deny: network.deny_registries.clone(),
        })
    }

    /// Why the configuration does not allow to ask about this image, if it does not.
    pub(super) fn objection(&self, image: &Image) -> Option<String> {
        // Another spelling of a host is denied, too, and not allowed.
        let (host, repository) = (image.registry.to_ascii_lowercase(), &image.repository);
        let bare = host.strip_suffix(":443").unwrap_or(&host);
        let with_port = format!("{bare}:443");
        let spellings = [&*image.registry, &host, bare, &with_port];
        let spellings = spellings.map(|host| format!("{host}/{repository}"));
        let denies = |pattern: &&String| {
            let mut spellings = spellings.iter();
            let pattern = pattern.to_ascii_lowercase();
            spellings.any(|name| pattern_matches(&pattern, name))
        };
        if let Some(pattern) = self.deny.iter().find(denies) {
            return Some(format!("network.denyRegistries has `{pattern}`"));
        }
        let [name, ..] = &spellings;
        let is_allowed = self
            .allow
            .iter()
            .any(|pattern| pattern_matches(pattern, name));
        (!self.allow.is_empty() && !is_allowed)
            .then(|| "network.allowRegistries does not have it".to_owned())
    }

    /// The way to this image's registry.
    pub(super) fn of(&self, image: &Image) -> Route<'_> {
        let name = format!("{}/{}", image.registry, image.repository);
        let mut entries = self.configured.iter();
        let own = |wire| Target {
            endpoint: format!("https://{}", real_host(&image.registry)).into(),
            wire,
            is_mirror: false,
        };
        let Some(entry) = entries.find(|entry| pattern_matches(&entry.pattern, &name)) else {
            return Route {
                label: OTHER,
                at_once: MAX_CONCURRENT,
                targets: vec![own(&self.default)],
            };
        };
        let named = |endpoint, is_mirror| Target {
            endpoint: Cow::Borrowed::<str>(endpoint),
            wire: &entry.named_wire,
            is_mirror,
        };
        let mirrors = entry.mirrors.iter().map(|url| named(url, true));
        let endpoints = entry.endpoints.iter().map(|url| named(url, false));
        let own = entry.own_wire.as_ref().map(own);
        Route {
            label: &entry.pattern,
            at_once: entry.at_once,
            targets: mirrors.chain(endpoints).chain(own).collect(),
        }
    }
}

/// The URL without a slash at its end.
fn base(endpoint: &Endpoint) -> String {
    endpoint.uri().to_string().trim_end_matches('/').to_owned()
}

/// The origins that an entry names.
fn named_origins(registry: &Registry) -> impl Iterator<Item = Origin> {
    let named = registry.mirrors.iter().chain(&registry.endpoints);
    named.filter_map(|endpoint| Origin::of(endpoint.uri()))
}

/// The registries that an entry means: those that it names, or else those that its pattern matches.
fn is_own(registry: &Registry) -> IsOwn {
    let named: HashSet<Origin> = named_origins(registry).collect();
    let (host, _) = split(&registry.pattern);
    let pattern = registry.endpoints.is_empty().then(|| host.to_owned());
    Arc::new(move |origin: &Origin| {
        let matches = |pattern: &String| {
            let host = image_host(origin);
            origin.is_https() && urls_match(pattern, &host) == Ok(true)
        };
        named.contains(origin) || pattern.as_ref().is_some_and(matches)
    })
}

fn real_host(host: &str) -> &str {
    if host == HUB.0 { HUB.1 } else { host }
}

/// How images name a host that is reached there over HTTPS.
fn image_host(origin: &Origin) -> String {
    let host = match origin.host() {
        host if host == HUB.1 => HUB.0.to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    match origin.port() {
        443 => host,
        port => format!("{host}:{port}"),
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

/// Whether a name, `host[:port]/path`, is one that the pattern means: the kubelet's grammar, but ending at a path
/// segment, so that `r.io/team` does not mean `r.io/team-evil/app`.
fn pattern_matches(pattern: &str, name: &str) -> bool {
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
        let routes = Routes::new(&[], &Network::default()).unwrap();
        let image = |registry: &str| Image {
            registry: registry.to_owned().into(),
            repository: "library/nginx".into(),
            tag: "1.27".into(),
        };
        let hub = image("docker.io");
        let route = routes.of(&hub);
        assert_eq!(
            (route.label, endpoints(&route)),
            ("other", vec!["https://registry-1.docker.io"])
        );
        let quay = image("quay.io:8443");
        assert_eq!(endpoints(&routes.of(&quay)), ["https://quay.io:8443"]);
    }

    fn endpoints<'r>(route: &'r Route<'_>) -> Vec<&'r str> {
        route
            .targets
            .iter()
            .map(|target| &*target.endpoint)
            .collect()
    }

    fn urls(urls: &[&str]) -> Vec<Endpoint> {
        let url = |url: &&str| Endpoint::try_from((*url).to_owned()).unwrap();
        urls.iter().map(url).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_origin_last() {
        let own = "https://r.io";
        let (one, two) = ("http://one.test:5000", "https://two.test/cache");
        for (mirrors, endpoints_, expected) in [
            (&[][..], &[][..], &[own][..]),
            (&[one, two], &[], &[one, two, own]),
            (&[one], &[two], &[one, two]),
            (&[], &[one, two], &[one, two]),
        ] {
            let registry = Registry {
                pattern: "r.io".to_owned(),
                mirrors: urls(mirrors),
                endpoints: urls(endpoints_),
                ..Registry::default()
            };
            let routes = Routes::new(&[registry], &Network::default()).unwrap();
            let image = Image {
                registry: "r.io".into(),
                repository: "app".into(),
                tag: "1".into(),
            };
            assert_eq!(endpoints(&routes.of(&image)), expected);
        }
    }

    #[test]
    fn registries_are_allowed_and_denied_by_patterns() {
        let routes = |allow: &[&str], deny: &[&str]| {
            let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            let network = Network {
                allow_registries: own(allow),
                deny_registries: own(deny),
                ..Network::default()
            };
            Routes::new(&[], &network).unwrap()
        };
        for (allow, deny, registry, repository, expected) in [
            (&[][..], &[][..], "r.io", "app", true),
            (&["r.io/team"], &[], "r.io", "team/app", true),
            (&["r.io/team"], &[], "r.io", "team-evil/app", false),
            (
                &["r.io/team", "*.corp.test"],
                &[],
                "a.corp.test",
                "app",
                true,
            ),
            (&["*.corp.test"], &[], "corp.test", "app", false),
            (
                &["docker.io/library"],
                &[],
                "docker.io",
                "library/nginx",
                true,
            ),
            (&[], &["r.io/team"], "r.io", "team/app", false),
            (&[], &["r.io/team"], "r.io", "teams/app", true),
            (&["r.io"], &["r.io/team"], "r.io", "team/app", false),
            (&["r.io"], &["r.io/team"], "r.io", "app", true),
            // Another spelling of a host is denied, too, and not allowed.
            (&[], &["r.io"], "r.io:443", "app", false),
            (&[], &["r.io"], "R.io", "app", false),
            (&[], &["R.io:443"], "r.io", "app", false),
            (&[], &["*.r.io"], "A.r.io:443", "app", false),
            (&[], &["r.io"], "r.io:5000", "app", true),
            (&["r.io"], &[], "R.io", "app", false),
        ] {
            let image = Image {
                registry: registry.into(),
                repository: repository.into(),
                tag: "1".into(),
            };
            let objection = routes(allow, deny).objection(&image);
            assert_eq!(
                objection.is_none(),
                expected,
                "{allow:?} {deny:?} {image:?}"
            );
        }
    }

    #[test]
    fn what_an_entry_means_is_not_what_it_leads_to() {
        let entry = |pattern: &str, mirrors: &[&str], endpoints: &[&str]| {
            is_own(&Registry {
                pattern: pattern.to_owned(),
                mirrors: urls(mirrors),
                endpoints: urls(endpoints),
                ..Registry::default()
            })
        };
        let by_pattern = entry("*.r.io:5000/team", &["https://mirror.test"], &[]);
        let by_name = entry("docker.io", &[], &["https://hub.test:444"]);
        let hub = entry("docker.io/library", &[], &[]);
        for (is_own, url, expected) in [
            (&by_pattern, "https://a.r.io:5000/v2/", true),
            (&by_pattern, "https://a.r.io/v2/", false),
            (&by_pattern, "http://a.r.io:5000/", false),
            (&by_pattern, "https://mirror.test/token", true),
            (&by_pattern, "https://cdn.test", false),
            (&by_name, "https://hub.test:444", true),
            (&by_name, "https://hub.test", false),
            (&by_name, "https://registry-1.docker.io", false),
            (&hub, "https://registry-1.docker.io", true),
            (&hub, "https://auth.docker.io", false),
        ] {
            let origin = Origin::of(&url.parse().unwrap()).unwrap();
            assert_eq!(is_own(&origin), expected, "{url}");
        }
    }
}
