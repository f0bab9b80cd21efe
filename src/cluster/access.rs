//! Where the API server is, and who asks.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::AuthError;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::mutation::clean;

/// Where a Pod finds the token of its `ServiceAccount` (`rest.InClusterConfig` of client-go).
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How many seconds a watch lasts before the API server ends it, and it is begun again.
pub(super) const WATCH: u32 = 60;
/// How long a connection may be silent: longer than a watch.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);

/// Why there is no access to the cluster. `Display` names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig that is named cannot be used.
    #[error(
        "the kubeconfig {} cannot be used: {why}; name another with --kubeconfig, or run with --standalone",
        path.display()
    )]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Wrong,
    },
    /// Nothing is named, and nothing is found.
    #[error(
        "no access to the cluster: there is no service account token at {TOKEN}, and the kubeconfig of $KUBECONFIG or ~/.kube/config cannot be used: {0}; mount the service account token, name a kubeconfig with --kubeconfig, or run with --standalone"
    )]
    Nowhere(Wrong),
    /// The program runs in a Pod with a token, but not with all that belongs to it.
    #[error(
        "the service account mounted beside {TOKEN} cannot be used: {0}; mount it whole, name a kubeconfig with --kubeconfig, or run with --standalone"
    )]
    InCluster(Wrong),
    /// What was found makes no client.
    #[error(
        "no client can be made for the API server: {0}; name another kubeconfig with --kubeconfig, or run with --standalone"
    )]
    Client(Wrong),
}

/// What is wrong; without a quotation of a kubeconfig or of a credential plugin, which may hold a token.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<KubeconfigError> for Wrong {
    fn from(error: KubeconfigError) -> Self {
        Self(match error {
            KubeconfigError::Parse(error) => match error.location() {
                Some(at) => format!(
                    "it is no kubeconfig, see line {}, column {}",
                    at.line(),
                    at.column()
                ),
                None => "it is no kubeconfig".to_owned(),
            },
            error => error.to_string(),
        })
    }
}

impl From<InClusterError> for Wrong {
    fn from(error: InClusterError) -> Self {
        Self(told(&error))
    }
}

impl From<kube::Error> for Wrong {
    fn from(error: kube::Error) -> Self {
        Self(told(&error))
    }
}

/// An error of the client with its causes, the outermost of which says no more than that the client failed; without what
/// a credential plugin has printed, which may be a token.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let causes = || successors(Some(error), |error| (*error).source());
    match causes().find_map(|cause| cause.downcast_ref::<AuthError>()) {
        Some(AuthError::AuthExecRun { out, .. }) => {
            let said = clean(&String::from_utf8_lossy(&out.stderr), 300);
            return format!("the credential plugin ends with {}: {said}", out.status);
        }
        Some(AuthError::AuthExecParse(_)) => {
            return "the credential plugin prints no ExecCredential".to_owned();
        }
        _ => {}
    }
    let mut told = String::new();
    for cause in causes().map(ToString::to_string) {
        // Some repeat their cause.
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// A client for the API server: of the kubeconfig, if one is named; or of the Pod's own account, if its token is
/// mounted; or of the kubeconfig that kubectl would use. It connects when it is used.
pub(super) async fn client(kubeconfig: Option<&Path>) -> Result<Client, AccessError> {
    // kube takes the process's default for TLS; where there is one already, that stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = match kubeconfig {
        Some(path) => of_file(path).await?,
        None if Path::new(TOKEN).exists() => {
            Config::incluster().map_err(|error| AccessError::InCluster(error.into()))?
        }
        None => Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .map_err(|error| AccessError::Nowhere(error.into()))?,
    };
    tracing::info!(api_server = %config.cluster_url, "service accounts and pull secrets are read from the cluster");
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout = Some(SILENCE_LIMIT);
    let agent = concat!("surepull/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    // Who waits has little time, and asks again by himself.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| AccessError::Client(error.into()))
}

async fn of_file(path: &Path) -> Result<Config, AccessError> {
    let unusable = |error: KubeconfigError| AccessError::Kubeconfig {
        path: path.to_owned(),
        why: error.into(),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_is_of_no_use_is_named_but_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let error = client(Some(&path)).await.map(drop).unwrap_err();
        assert!(matches!(&error, AccessError::Kubeconfig { .. }), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
        for text in [
            "users:\n- name: u\n  user: {token: hunter2",
            "users: {token: hunter2}",
            "users: [{name: u, user: {token: [hunter2]}}]",
            "users: [{name: u, user: {token: hunter2}}]",
            "current-context: c\nusers: [{name: u, user: {token: hunter2}}]",
            "",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = client(Some(&path)).await.map(drop).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
            assert!(message.contains("--standalone"), "{message}");
            let shown = format!("{message} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_client_is_made_without_an_api_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let text = r"{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
            clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}";
        std::fs::write(&path, text).unwrap();
        assert!(client(Some(&path)).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_credential_plugin_prints_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        for (script, told) in [
            ("echo hunter2; echo why >&2; exit 3", "exit status: 3: why"),
            ("echo '{hunter2'", "prints no ExecCredential"),
        ] {
            let plugin = format!(
                "{{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, {script:?}], interactiveMode: Never}}"
            );
            let text = format!(
                "{{current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
                clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:1'}}}}], users: [{{name: u, user: {{exec: {plugin}}}}}]}}"
            );
            std::fs::write(&path, text).unwrap();
            let error = client(Some(&path)).await.map(drop).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            let shown = format!("{error:?}");
            let shown = format!("{shown} {:#}", anyhow::Error::from(error));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
