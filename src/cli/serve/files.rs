//! The files that `surepull serve` reads again when they change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::configuration::ConfigurationFile;
use crate::reload::{Reload, Watched};
use crate::server::Certificates;

/// A certificate with its key.
pub(super) struct CertificateFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) served: Arc<Certificates>,
}

impl Reload for CertificateFiles {
    type Fresh = Certificates;
    const WHAT: &'static str = "certificate";

    fn read(&self) -> (Vec<PathBuf>, anyhow::Result<Certificates>) {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let outcome = Certificates::from_files(&certificate, &key).map_err(Into::into);
        let useful = outcome.and_then(|fresh| {
            let worse = left(&fresh).is_none() && left(&self.served).is_some();
            ensure!(
                !worse,
                "the certificate in {} has expired; the one that is served has not",
                certificate.display()
            );
            Ok(fresh)
        });
        (vec![certificate, key], useful)
    }

    fn apply(&mut self, fresh: Certificates) -> String {
        self.served.replace(&fresh);
        match left(&fresh) {
            Some(left) => format!("valid for {} days", left.as_secs() / 86_400),
            None => "expired already".to_owned(),
        }
    }
}

/// How long a certificate is still valid, if it is.
fn left(certificates: &Certificates) -> Option<Duration> {
    let expiration = u64::try_from(certificates.expiration()).unwrap_or_default();
    let end = UNIX_EPOCH + Duration::from_secs(expiration);
    end.duration_since(SystemTime::now()).ok()
}

/// All of them.
#[derive(Default)]
pub(super) struct Files {
    pub(super) certificate: Option<Watched<CertificateFiles>>,
    pub(super) configuration: Option<Watched<ConfigurationFile>>,
}

impl Files {
    fn check(&mut self, asked: bool) {
        if let Some(watched) = &mut self.certificate {
            watched.check(asked);
        }
        if let Some(watched) = &mut self.configuration {
            watched.check(asked);
        }
    }

    /// Checks all files again and again, and at once on SIGHUP; never ends. An interval of zero leaves it to SIGHUP.
    pub(super) async fn watch(self, interval: Duration, mut hangup: Signal) {
        let files = Arc::new(Mutex::new(self));
        loop {
            let asked = tokio::select! {
                () = sleep(interval), if !interval.is_zero() => false,
                _ = hangup.recv() => true,
            };
            if asked {
                tracing::info!("SIGHUP: looking for changed files");
            }
            let files = Arc::clone(&files);
            // A panic in there is logged where all are, and the next check begins where this one did.
            let check = move || {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.check(asked);
            };
            let _ = spawn_blocking(check).await;
        }
    }
}
