//! What is counted about look-ups. No label holds a host that the author of a Pod chose.

use http::{HeaderMap, HeaderValue};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Bounds of the histogram, in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The metric families of this room. Clones share their values, so that they outlive a reload of the configuration.
#[derive(Clone, Debug)]
pub struct Metrics {
    lookups: Family<Outcome, Counter>,
    cache: Family<CacheLabels, Counter>,
    durations: Family<RegistryLabels, Histogram, fn() -> Histogram>,
    stale: Family<RegistryLabels, Counter>,
    withheld: Family<Withheld, Counter>,
    limit: Family<RegistryLabels, Gauge>,
    remaining: Family<RegistryLabels, Gauge>,
    pub(super) refreshes: Counter,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    registry: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Withheld {
    registry: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegistryLabels {
    registry: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let cache = Family::<CacheLabels, Counter>::default();
        Self {
            lookups: Family::default(),
            stale: Family::default(),
            withheld: Family::default(),
            limit: Family::default(),
            remaining: Family::default(),
            refreshes: Counter::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            hits: cache.get_or_create_owned(&CacheLabels { result: "hit" }),
            misses: cache.get_or_create_owned(&CacheLabels { result: "miss" }),
            cache,
        }
    }
}

impl Metrics {
    /// Makes the families known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "surepull_registry_lookups",
            "Look-ups of digests by the configured pattern that matched (or other) and their outcome: found, or the class of the error",
            self.lookups.clone(),
        );
        registry.register(
            "surepull_registry_cache_requests",
            "Questions for digests by whether a remembered answer was there",
            self.cache.clone(),
        );
        registry.register(
            "surepull_registry_stale_answers",
            "Digests given although the time to use them was over, because their registry could not be asked",
            self.stale.clone(),
        );
        registry.register(
            "surepull_registry_withheld_requests",
            "Attempts that were not made, by reason: rate_limited, circuit_open, full (too many wait for the host), overload (too many look-ups in all)",
            self.withheld.clone(),
        );
        registry.register(
            "surepull_registry_background_refreshes",
            "Look-ups of digests in use shortly before their time is over",
            self.refreshes.clone(),
        );
        registry.register(
            "surepull_registry_ratelimit_limit",
            "Requests that the registry allows in its window, as its header ratelimit-limit last said",
            self.limit.clone(),
        );
        registry.register(
            "surepull_registry_ratelimit_remaining",
            "Requests that are left of these, as its header ratelimit-remaining last said",
            self.remaining.clone(),
        );
        registry.register_with_unit(
            "surepull_registry_lookup_duration",
            "How long look-ups take, all of their requests together",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    pub(super) fn withheld(&self, registry: &str, reason: &'static str) {
        let registry = registry.to_owned();
        let labels = Withheld { registry, reason };
        self.withheld.get_or_create(&labels).inc();
    }

    /// What an answer's headers say of the registry's rate limit. They differ by who asked; the last one counts.
    pub(super) fn rate_limit(&self, registry: &str, headers: &HeaderMap) {
        for (name, family) in [
            ("ratelimit-limit", &self.limit),
            ("ratelimit-remaining", &self.remaining),
        ] {
            if let Some(count) = headers.get(name).and_then(count) {
                let registry = registry.to_owned();
                let labels = RegistryLabels { registry };
                family.get_or_create(&labels).set(count);
            }
        }
    }

    pub(super) fn gave_stale(&self, registry: &str) {
        let registry = registry.to_owned();
        let labels = RegistryLabels { registry };
        self.stale.get_or_create(&labels).inc();
    }

    pub(super) fn looked_up(&self, registry: &str, outcome: &'static str, seconds: f64) {
        let labels = Outcome {
            registry: registry.to_owned(),
            outcome,
        };
        self.lookups.get_or_create(&labels).inc();
        let labels = RegistryLabels {
            registry: registry.to_owned(),
        };
        self.durations.get_or_create(&labels).observe(seconds);
    }
}

/// The number of `100;w=21600`: a hundred in six hours. So says Docker Hub, and whoever follows it.
fn count(value: &HeaderValue) -> Option<i64> {
    let count = value.to_str().ok()?.split([';', ',']).next()?.trim();
    count.parse().ok().filter(|count| *count >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_read_in_the_form_of_docker_hub() {
        for (value, expected) in [
            ("100;w=21600", Some(100)),
            ("0;w=21600", Some(0)),
            (" 7 ; w=1", Some(7)),
            ("76, 100;w=60", Some(76)),
            ("", None),
            ("-1", None),
            ("w=21600", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(count(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
