//! Certificates that surepull manages itself: a certificate authority (CA) in a Secret, from which each replica mints its
//! own certificate in memory, and the `caBundle` of the webhook configurations, which says whom the API server trusts.
//!
//! All replicas look at these objects again and again; only the holder of a Lease writes them, and it writes what has not
//! changed since it was read, so that a second writer does no harm. A new CA is trusted, beside the ones before it,
//! before anybody mints from it. `docs/certificates.md` has the states; the parts:
//!
//! - `authority`: a CA, made or read and checked, and what it signs
//! - `plan`: pure: whether the CA has to be replaced, and by what
//! - `store`: the Secret
//! - `lease`: who writes
//! - `configurations`: who is trusted
//! - `serving`: pure: when a replica changes over to another certificate
//! - `keeper`: one look after the other
//! - `api`, `clock`: the API server, and its time, which is the one that counts

mod api;
mod authority;
mod clock;
mod configurations;
mod keeper;
mod lease;
mod metrics;
mod plan;
mod serving;
mod store;

use std::time::Duration;

pub use api::Error;
pub use keeper::Keeper;
pub use metrics::Metrics;

/// Which objects hold what, and how long certificates are valid.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the Service, the Secret and the Lease.
    pub namespace: String,
    /// The Service that the API server reaches surepull by.
    pub service: String,
    /// The Secret of the CA, and the Lease of the same name.
    pub secret: String,
    /// The name of the webhook configurations, mutating and validating.
    pub webhook: String,
    /// How long a new CA is valid; it is replaced when a third of that is left.
    pub ca_validity: Duration,
    /// How long a new certificate of a replica is valid; it is replaced when a third of that is left.
    pub leaf_validity: Duration,
}

impl Settings {
    /// How long everybody has to have trusted a CA before a certificate of it is shown: what an API server may take to see
    /// a changed configuration.
    fn settle(&self) -> Duration {
        (self.leaf_validity / 4).min(Duration::from_secs(5))
    }

    /// How much time lies between two looks.
    fn interval(&self) -> Duration {
        let interval = self.leaf_validity / 30;
        interval.clamp(Duration::from_secs(1), Duration::from_secs(10))
    }

    /// After how long without a sign of life the Lease may be taken from its holder.
    fn lease(&self) -> Duration {
        (self.interval() * 4).max(Duration::from_secs(5))
    }
}
