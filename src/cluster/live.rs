//! A cluster that is asked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::accounts::{self, Accounts, ServiceAccount};
use super::memory::Memory;
use super::object_name::ObjectName;
use super::reader::Reader;
use super::{AccessError, Answer, Cluster, Metrics, Unreadable, access, secret};
use crate::credentials::Keyring;
use crate::mutation::{Account, AccountQuestion};

/// How long what is not used any more may stay in memory.
const TIDY: Duration = Duration::from_secs(10);

/// A cluster with an API server.
///
/// All `ServiceAccount`s are watched; one that the watch has not shown is asked for by name. Secrets are never listed or
/// watched, only read by name when a Pod names them.
pub struct Live {
    accounts: Arc<Accounts>,
    /// Those that the watch has not shown.
    looked_up: Memory<Account>,
    pull_secrets: Arc<Memory<Keyring>>,
    reader: Arc<Reader>,
    client: Client,
    metrics: Metrics,
    /// End with the cluster.
    _tasks: JoinSet<()>,
}

impl Live {
    /// The cluster of this kubeconfig; without one that of the Pod that this program runs in, or else that of the
    /// kubeconfig that kubectl would use.
    ///
    /// The API server need not be there: what matters is whether there is a way to ask it. Needs a runtime.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, AccessError> {
        Ok(Self::new(&access::client(kubeconfig).await?))
    }

    fn new(client: &Client) -> Self {
        let metrics = Metrics::default();
        let accounts = Arc::new(Accounts::default());
        let pull_secrets = Arc::new(Memory::new());
        let mut tasks = JoinSet::new();
        let (followed, counted, asked) = (accounts.clone(), metrics.clone(), client.clone());
        tasks.spawn(async move { followed.follow(asked, &counted).await });
        tasks.spawn(tidy(pull_secrets.clone()));
        Self {
            accounts,
            looked_up: Memory::new(),
            pull_secrets,
            reader: Arc::new(Reader::new(client.clone(), metrics.clone())),
            client: client.clone(),
            metrics,
            _tasks: tasks,
        }
    }

    /// Its connection, for other rooms.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Becomes true, and stays so, when look-ups have worked once: when all accounts have been listed.
    pub fn worked_once(&self) -> watch::Receiver<bool> {
        self.accounts.listed()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Drops secrets that have had their time, also when nobody asks for others.
async fn tidy(pull_secrets: Arc<Memory<Keyring>>) {
    let mut ticks = interval(TIDY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pull_secrets.tidy();
    }
}

impl Cluster for Live {
    fn account<'a>(&'a self, question: AccountQuestion<'a>) -> BoxFuture<'a, Answer<Account>> {
        let AccountQuestion { namespace, name } = question;
        if let Some(account) = self.accounts.get(namespace, name) {
            return Box::pin(ready(Ok(account)));
        }
        let ask = |object| look_up(self.reader.clone(), object);
        Box::pin(self.looked_up.get(namespace, name, ask))
    }

    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Answer<Keyring>> {
        let ask = |object| read(self.reader.clone(), object);
        Box::pin(self.pull_secrets.get(namespace, name, ask))
    }
}

async fn look_up(reader: Arc<Reader>, object: ObjectName) -> Answer<Account> {
    let json = reader.get(accounts::PLURAL, &object).await?;
    let account: ServiceAccount =
        serde_json::from_slice(&json).map_err(|_| Unreadable::Nonsense)?;
    Ok(Arc::new(account.into()))
}

async fn read(reader: Arc<Reader>, object: ObjectName) -> Answer<Keyring> {
    let json = reader.get("secrets", &object).await?;
    secret::decode(&object.namespace, &object.name, &json)
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
