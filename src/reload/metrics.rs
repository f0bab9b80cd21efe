//! What is counted about reloads, named as Prometheus names its own (`prometheus_config_last_reload_successful`).

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    what: &'static str,
    result: &'static str,
}

/// The metric families of this room.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reloads: Family<Outcome, Counter>,
    successful: Family<What, Gauge>,
    succeeded_at: Family<What, Gauge>,
}

impl Metrics {
    /// Makes the families known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "surepull_reloads",
            "Times that changed files were read again, by what they hold and whether they were of use",
            self.reloads.clone(),
        );
        registry.register(
            "surepull_last_reload_successful",
            "Whether the files, as they were last read, are in effect",
            self.successful.clone(),
        );
        registry.register_with_unit(
            "surepull_last_reload_success_timestamp",
            "When what is in effect was read, as Unix time",
            Unit::Seconds,
            self.succeeded_at.clone(),
        );
    }

    /// The handles of what has just been read for the first time.
    pub(super) fn of(&self, what: &'static str) -> Tally {
        let reloads = |result| {
            let labels = Outcome { what, result };
            self.reloads.get_or_create_owned(&labels)
        };
        let tally = Tally {
            success: reloads("success"),
            failure: reloads("failure"),
            successful: self.successful.get_or_create_owned(&What { what }),
            succeeded_at: self.succeeded_at.get_or_create_owned(&What { what }),
        };
        tally.good();
        tally
    }
}

/// The handles of one thing that is reloaded.
#[derive(Debug)]
pub(super) struct Tally {
    success: Counter,
    failure: Counter,
    successful: Gauge,
    succeeded_at: Gauge,
}

impl Tally {
    pub(super) fn succeeded(&self) {
        self.success.inc();
        self.good();
    }

    pub(super) fn failed(&self) {
        self.failure.inc();
        self.successful.set(0);
    }

    fn good(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |since| since.as_secs());
        self.succeeded_at
            .set(seconds.try_into().unwrap_or(i64::MAX));
        self.successful.set(1);
    }
}
