//! What is counted about credential providers. The names are those of the configuration.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The metric family of credential providers. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    calls: Family<Call, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    provider: Arc<str>,
    result: &'static str,
}

impl Metrics {
    /// Makes the family known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "surepull_credential_provider_calls",
            "Times that a credential provider was run, by its name and result: success, failed, timedOut or invalid",
            self.calls.clone(),
        );
    }

    pub(super) fn called(&self, provider: &Arc<str>, result: &'static str) {
        let provider = Arc::clone(provider);
        self.calls.get_or_create(&Call { provider, result }).inc();
    }
}
