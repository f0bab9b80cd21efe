//! What is counted about certificates that surepull manages itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The metric families of this room. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) ca_expiration: Gauge,
    pub(super) lease_held: Gauge,
    pub(super) failures: Counter,
    writes: Family<Write, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    what: &'static str,
}

impl Metrics {
    /// Makes the families known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "surepull_ca_expiration_timestamp",
            "When the certificate authority in the Secret expires, as Unix time",
            Unit::Seconds,
            self.ca_expiration.clone(),
        );
        registry.register(
            "surepull_ca_lease_held",
            "Whether this replica is the one that writes the certificate authority and the caBundle: 1 if so",
            self.lease_held.clone(),
        );
        registry.register(
            "surepull_certificate_writes",
            "Times that this replica wrote the certificate authority (ca), a caBundle, or minted its certificate (leaf)",
            self.writes.clone(),
        );
        registry.register(
            "surepull_certificate_failures",
            "Times that certificate authority, Lease or webhook configurations could not be looked at or written",
            self.failures.clone(),
        );
        for what in ["ca", "caBundle", "leaf"] {
            let _ = self.writes.get_or_create(&Write { what });
        }
    }

    pub(super) fn wrote(&self, what: &'static str) {
        self.writes.get_or_create(&Write { what }).inc();
    }
}
