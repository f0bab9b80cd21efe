//! Credential providers of the kubelet: programs that are asked for the credentials of an image
//! (`pkg/credentialprovider/plugin` of Kubernetes, KEP-2133).
//!
//! - `config`: the `CredentialProviderConfig`
//! - `protocol`: request and response
//! - `exec`: running one
//! - `memory`: answers that are kept, calls that are shared

mod config;
mod exec;
mod memory;
mod metrics;
mod protocol;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Credential;
use super::keyring::lookup_together;

use config::Settings;
use exec::Failure;
use memory::{Memory, Outcome};
use protocol::{InvalidResponse, Response};

pub use config::ProviderError;
pub use metrics::Metrics as ProviderMetrics;

/// How long one run may take (`pluginExecTimeout` of the kubelet), if the look-up lasts as long.
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// How many runs of one provider there are at once: the authors of Pods choose the images that it is run for.
const AT_ONCE: usize = 4;

/// All credential providers, in the order of their configuration. Clones share what they remember.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    all: Arc<[Arc<Provider>]>,
    metrics: ProviderMetrics,
}

struct Provider {
    settings: Settings,
    binary: PathBuf,
    /// What its credentials are said to be from.
    source: Arc<str>,
    memory: Memory,
    turns: Semaphore,
    metrics: ProviderMetrics,
}

#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Invalid(#[from] InvalidResponse),
    #[error("it took too long and was killed, with all that it had started")]
    TimedOut,
}

impl Providers {
    /// The providers of a configuration, whose files are read here. Their binaries must be there.
    pub fn load(
        settings: Option<&crate::config::Providers>,
        metrics: ProviderMetrics,
    ) -> Result<Self, ProviderError> {
        let Some(crate::config::Providers { config, bin_dir }) = settings else {
            let all = Arc::default();
            return Ok(Self { all, metrics });
        };
        let provider = |settings: Settings| {
            Ok(Arc::new(Provider {
                binary: settings.binary(bin_dir)?,
                source: format!("credential provider {}", settings.name).into(),
                memory: Memory::default(),
                turns: Semaphore::new(AT_ONCE),
                metrics: metrics.clone(),
                settings,
            }))
        };
        let all = config::load(config)?.into_iter().map(provider);
        let all = all.collect::<Result<_, ProviderError>>()?;
        Ok(Self { all, metrics })
    }

    /// The files and the folder that [`Self::load`] reads.
    pub fn files(settings: &crate::config::Providers) -> Vec<PathBuf> {
        let mut files = config::files(&settings.config).unwrap_or_default();
        if !files.contains(&settings.config) {
            files.push(settings.config.clone());
        }
        files
    }

    /// What is counted.
    pub fn metrics(&self) -> &ProviderMetrics {
        &self.metrics
    }

    /// Whether any is asked about this repository.
    pub fn matches(&self, repository: &str) -> bool {
        let mut all = self.all.iter();
        all.any(|provider| provider.settings.matches(repository))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The credentials for a repository of all providers whose `matchImages` match it, in the order in which they are
    /// tried. A provider whose answer is not remembered is run, until then at most; one that fails has none, which is
    /// logged and counted.
    pub async fn credentials(&self, repository: &str, until: Instant) -> Vec<Credential> {
        let asked = self
            .all
            .iter()
            .filter(|provider| provider.settings.matches(repository));
        let answers = join_all(asked.map(|provider| provider.ask(repository, until))).await;
        let keyrings = answers.iter().flatten().map(|keyring| &**keyring);
        let found = lookup_together(keyrings, repository);
        found.into_iter().cloned().collect()
    }
}

impl Provider {
    async fn ask(self: &Arc<Self>, repository: &str, until: Instant) -> Outcome {
        if let Some(known) = self.memory.get(repository) {
            return Some(known);
        }
        let call = self.memory.join(repository, || {
            let (provider, repository) = (Arc::clone(self), repository.to_owned());
            async move { provider.call(&repository, until).await }.boxed()
        });
        call.await
    }

    async fn call(&self, repository: &str, until: Instant) -> Outcome {
        let until = until.min(Instant::now() + CALL_LIMIT);
        let answer = timeout_at(until, self.answer(repository)).await;
        let name = &self.settings.name;
        match answer.unwrap_or(Err(Unanswered::TimedOut)) {
            Ok(known) => Some(known),
            Err(error) => {
                self.metrics.called(name, error.result());
                tracing::warn!(provider = %name, image = repository, %error, "a credential provider failed");
                None
            }
        }
    }

    /// Runs the provider when it is its turn, unless another answer has arrived meanwhile that will do.
    async fn answer(&self, repository: &str) -> Result<Arc<super::Keyring>, Unanswered> {
        // An error only of a semaphore that is closed, which this one never is.
        let _turn = self.turns.acquire().await;
        if let Some(known) = self.memory.get(repository) {
            return Ok(known);
        }
        let Settings {
            api_version,
            default_cache_duration,
            ..
        } = self.settings;
        let request = protocol::request(api_version, repository);
        let answer = exec::run(&self.binary, &self.settings, request).await?;
        let response = Response::parse(api_version, &answer, &self.source)?;
        self.metrics.called(&self.settings.name, "success");
        let keyring = Arc::new(response.keyring);
        let duration = response.cache_duration.unwrap_or(default_cache_duration);
        self.memory
            .keep(response.cache_key_type, repository, &keyring, duration);
        Ok(keyring)
    }
}

impl Unanswered {
    fn result(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Invalid(_) => "invalid",
            Self::TimedOut => "timedOut",
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.settings.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
