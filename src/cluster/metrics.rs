//! What is counted about the API server. No label holds a name that a tenant chose.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metric families of this room. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    pub(super) accounts: Gauge,
    pub(super) watch_synced: Gauge,
    pub(super) watch_failures: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    resource: &'static str,
    result: &'static str,
}

impl Metrics {
    /// Makes the families known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "surepull_cluster_requests",
            "Objects asked of the API server by name, by resource and result: found, notFound, forbidden or failed",
            self.requests.clone(),
        );
        registry.register(
            "surepull_cluster_accounts",
            "ServiceAccounts known from the watch",
            self.accounts.clone(),
        );
        registry.register(
            "surepull_cluster_watch_synced",
            "Whether all ServiceAccounts have been listed: 1 if so",
            self.watch_synced.clone(),
        );
        registry.register(
            "surepull_cluster_watch_failures",
            "Failures of the watch of ServiceAccounts; it is tried again each time",
            self.watch_failures.clone(),
        );
    }

    pub(super) fn requested(&self, resource: &'static str, result: &'static str) {
        let request = Request { resource, result };
        self.requests.get_or_create(&request).inc();
    }
}
