//! An API server for the tests, in this process: `ServiceAccount`s to list, watch and get, whatever else it is told to
//! answer, and a log of what it was asked.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Response, StatusCode, Uri};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

/// Where all accounts are listed and watched.
pub const ACCOUNTS: &str = "/api/v1/serviceaccounts";

/// A running API server; it ends with the runtime.
#[derive(Clone)]
pub struct FakeApi {
    address: SocketAddr,
    state: Arc<Mutex<Store>>,
}

/// What is answered for a path.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This status and body.
    Is(u16, Value),
    /// Nothing, until it is told otherwise.
    Hang(Arc<Notify>),
}

#[derive(Default)]
struct Store {
    log: Vec<String>,
    replies: HashMap<String, Reply>,
    accounts: BTreeMap<(String, String), Value>,
    version: u64,
    /// Watch events with the version that they lead to.
    history: Vec<(u64, Value)>,
    watchers: Vec<mpsc::UnboundedSender<Bytes>>,
}

impl FakeApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let routes = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        api
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        kubeconfig(folder, self.address)
    }

    /// What it was asked so far: method, path and query.
    pub fn log(&self) -> Vec<String> {
        self.store().log.clone()
    }

    /// How often it was asked for exactly this path, without a query.
    pub fn gets(&self, path: &str) -> usize {
        let request = format!("GET {path}");
        self.log().iter().filter(|line| **line == request).count()
    }

    /// How often accounts were listed, and how often a watch was begun.
    pub fn lists_and_watches(&self) -> (usize, usize) {
        let log = self.log();
        let mut all = log
            .iter()
            .filter(|line| line.contains(&format!("{ACCOUNTS}?")));
        let all: Vec<_> = all.by_ref().collect();
        let watches = all.iter().filter(|line| line.contains("watch=")).count();
        (all.len() - watches, watches)
    }

    /// Answers this path so from now on, accounts and their list and watch included.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.store().replies.insert(path.to_owned(), reply);
    }

    /// Answers this path as usual again.
    pub fn forget(&self, path: &str) {
        self.store().replies.remove(path);
    }

    /// Creates an account, or changes it.
    pub fn set_account(&self, namespace: &str, name: &str, pull_secrets: &[&str]) {
        let secrets: Vec<Value> = pull_secrets
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        let mut store = self.store();
        let key = (namespace.to_owned(), name.to_owned());
        let kind = if store.accounts.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        store.version += 1;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": secrets,
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": store.version.to_string(),
                "managedFields": [{"manager": "kubectl"}]},
        });
        store.tell(kind, &account);
        store.accounts.insert(key, account);
    }

    pub fn delete_account(&self, namespace: &str, name: &str) {
        let mut store = self.store();
        let key = (namespace.to_owned(), name.to_owned());
        let mut account = store.accounts.remove(&key).expect("the account");
        store.version += 1;
        account["metadata"]["resourceVersion"] = store.version.to_string().into();
        store.tell("DELETED", &account);
    }

    /// Deletes an account in such a way that no watch hears of it.
    pub fn lose_account(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.store().accounts.remove(&key).expect("the account");
    }

    /// Ends the watches under way, as a restart would.
    pub fn break_watches(&self) {
        self.store().watchers.clear();
    }

    /// Tells the watches under way that they have to begin anew.
    pub fn expire_watches(&self) {
        let mut store = self.store();
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "too old resource version", "reason": "Expired", "code": 410});
        store.version += 1;
        store.tell("ERROR", &status);
        store.history.clear();
    }

    /// Secrets are read by name, and in no other way.
    pub fn assert_secrets_are_read_by_name(&self) {
        for line in self.log().iter().filter(|line| line.contains("secrets")) {
            let path = line.strip_prefix("GET /api/v1/namespaces/");
            let parts: Vec<_> = path.unwrap_or_default().split('/').collect();
            assert!(
                matches!(parts[..], [namespace, "secrets", name] if !namespace.is_empty() && !name.is_empty()),
                "{line}"
            );
            assert!(!line.contains('?'), "{line}");
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.state.lock().unwrap()
    }
}

impl Store {
    fn tell(&mut self, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        let line = Bytes::from(format!("{event}\n"));
        self.watchers
            .retain(|watcher| watcher.send(line.clone()).is_ok());
        self.history.push((self.version, event));
    }

    /// The events after a version, and those to come.
    fn watch(&mut self, query: &str) -> Body {
        let since = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: u64 = since.and_then(|version| version.parse().ok()).unwrap_or(0);
        let (watcher, events) = mpsc::unbounded_channel();
        for (_, event) in self.history.iter().filter(|(version, _)| *version > since) {
            let _ = watcher.send(Bytes::from(format!("{event}\n")));
        }
        self.watchers.push(watcher);
        Body::from_stream(stream::unfold(events, |mut events| async {
            let line = events.recv().await?;
            Some((Ok::<_, Infallible>(line), events))
        }))
    }
}

/// A kubeconfig that leads to an address, where there need not be anybody.
pub fn kubeconfig(folder: &Path, address: SocketAddr) -> PathBuf {
    let path = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {"token": "a-token"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// A pull secret as the API server shows it.
pub fn secret(secret_type: &str, data: &[(&str, &str)]) -> Reply {
    let data: BTreeMap<_, _> = data
        .iter()
        .map(|(key, value)| (*key, BASE64_STANDARD.encode(value)))
        .collect();
    Reply::Is(
        200,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": secret_type, "data": data}),
    )
}

/// A failure as the API server shows it.
pub fn failure(code: u16, message: &str) -> Reply {
    Reply::Is(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}),
    )
}

async fn answer(State(api): State<FakeApi>, method: Method, uri: Uri) -> Response<Body> {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let told = {
        let mut store = api.store();
        let question = uri.path_and_query().map_or("", |whole| whole.as_str());
        store.log.push(format!("{method} {question}"));
        store.replies.get(path).cloned()
    };
    let told = match told {
        Some(Reply::Hang(until)) => {
            until.notified().await;
            None
        }
        told => told,
    };
    let (status, body) = match told {
        Some(Reply::Is(status, body)) => (status, body.to_string().into()),
        _ => usual(&mut api.store(), path, query),
    };
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn usual(store: &mut Store, path: &str, query: &str) -> (u16, Body) {
    if path == ACCOUNTS && query.contains("watch=") {
        return (200, store.watch(query));
    }
    if path == ACCOUNTS {
        let items: Vec<_> = store.accounts.values().collect();
        let version = store.version.max(1).to_string();
        let list = json!({"kind": "ServiceAccountList", "apiVersion": "v1",
            "metadata": {"resourceVersion": version}, "items": items});
        return (200, list.to_string().into());
    }
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let account = match parts[..] {
        [
            "api",
            "v1",
            "namespaces",
            namespace,
            "serviceaccounts",
            name,
        ] => store.accounts.get(&(namespace.to_owned(), name.to_owned())),
        _ => None,
    };
    if let Some(account) = account {
        return (200, account.to_string().into());
    }
    let absent = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404});
    (404, absent.to_string().into())
}
