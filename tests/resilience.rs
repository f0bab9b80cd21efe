//! Replicas under a steady load of reviews, while what is around them fails in turn: none stays without an answer.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::Request;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use common::client::{Authority, BoxError, Client};
use common::fake_api::{ACCOUNTS, FakeApi, Reply};
use common::faulty::{Faulty, good, reply};
use common::serve::Served;
use common::wait_until;

/// How many reviews are under way at a time.
const AT_ONCE: usize = 8;

/// A status of the registry that stands for none: it does not answer.
const SILENCE: u16 = 0;

/// What stands before the replicas as kube-proxy does: a new connection leads to one of the endpoints in turn, and a
/// connection stays where it is.
struct Service {
    address: SocketAddr,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoints: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let current = Arc::clone(&endpoints);
        tokio::spawn(async move {
            for turn in 0.. {
                let (mut client, _) = listener.accept().await.unwrap();
                let endpoints = current.lock().unwrap().clone();
                tokio::spawn(async move {
                    let endpoint = endpoints[turn % endpoints.len()];
                    if let Ok(mut server) = TcpStream::connect(endpoint).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, endpoints }
    }

    fn add(&self, replica: &Served) {
        self.endpoints.lock().unwrap().push(replica.addr);
    }

    fn remove(&self, replica: &Served) {
        let mut endpoints = self.endpoints.lock().unwrap();
        endpoints.retain(|endpoint| *endpoint != replica.addr);
    }
}

/// Reviews without end, as an API server sends them: connections are kept for as long as the other side keeps them.
struct Load {
    answered: Arc<AtomicUsize>,
    unanswered: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(service: &Service, authority: &Authority) -> Self {
        let mut load = Self {
            answered: Arc::default(),
            unanswered: Arc::default(),
            ended: Arc::default(),
            workers: Vec::new(),
        };
        let url = format!("https://{}/mutate?timeout=3s", service.address);
        for worker in 0..AT_ONCE {
            let client = Client::new(authority.trust(&[&TLS13]));
            let (answered, unanswered) = (Arc::clone(&load.answered), Arc::clone(&load.unanswered));
            let (ended, url) = (Arc::clone(&load.ended), url.clone());
            load.workers.push(tokio::spawn(async move {
                for number in 0.. {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    match review(&client, &url, &format!("{worker}-{number}")).await {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => unanswered.lock().unwrap().push(format!("{error:?}")),
                    }
                }
            }));
        }
        load
    }

    /// Waits until some more have been answered.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        wait_until(async || self.answered.load(Ordering::SeqCst) >= before + 10 * AT_ONCE).await;
    }

    fn unanswered(&self) -> Vec<String> {
        self.unanswered.lock().unwrap().clone()
    }
}

/// Asks for one review. It counts as answered if the object is allowed by what is an answer to just this review.
async fn review(client: &Client, url: &str, uid: &str) -> Result<(), BoxError> {
    let tag = uid.len() + usize::from(uid.as_bytes()[uid.len() - 1]);
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": uid, "operation": "CREATE", "namespace": "default",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "image": format!("registry.test/app:{tag}")}]},
            },
        },
    });
    let request = Request::post(url).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(review.to_string())))?;
    let answer = client.try_send(request).await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    let response = &body["response"];
    if answer.status != 200 || response["uid"] != uid || response["allowed"] != true {
        return Err(format!("{} {body}", answer.status).into());
    }
    Ok(())
}

/// A registry whose answers have this status.
async fn registry(status: &Arc<AtomicU16>) -> Faulty {
    let status = Arc::clone(status);
    Faulty::start(move |_| {
        let status = status.load(Ordering::SeqCst);
        Box::pin(async move {
            match status {
                200 => good(),
                SILENCE => std::future::pending().await,
                status => reply(status, &[], ""),
            }
        })
    })
    .await
}

fn configuration(registry: &Faulty, more: &str) -> String {
    let endpoint = &registry.endpoint;
    format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\n\
         cache: {{ttl: 300ms, negativeTtl: 100ms}}\n{more}"
    )
}

async fn is_ready(replica: &Served) -> bool {
    let request = Request::get(format!("http://{}/readyz", replica.ops));
    let request = request.body(Full::default()).unwrap();
    let answer = replica.client.try_send(request).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

async fn reloads(replicas: &[Served], what: &str, result: &str, times: u64) {
    let metric = format!("surepull_reloads_total{{what=\"{what}\",result=\"{result}\"}}");
    for replica in replicas {
        wait_until(async || replica.metric(&metric).await >= Some(times)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_review_is_answered_while_one_replica_is_up() {
    let status = Arc::new(AtomicU16::new(200));
    let registry = registry(&status).await;
    let api = FakeApi::start().await;
    api.set_account("default", "default", &["s"]);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = api.kubeconfig(folder.path());
    let authority = Authority::new(folder.path());
    let start =
        |more: &str| Served::start_beside(&authority, &kubeconfig, &configuration(&registry, more));
    let mut replicas = vec![start(""), start("")];
    let service = Service::start().await;
    for replica in &replicas {
        wait_until(async || is_ready(replica).await).await;
        service.add(replica);
    }
    let load = Load::start(&service, &authority);
    load.goes_on().await;

    // A roll-out to another configuration, and back.
    for more in ["pullPolicy: none\n", "pullSecrets: none\n", "", ""] {
        let replica = start(more);
        wait_until(async || is_ready(&replica).await).await;
        service.add(&replica);
        load.goes_on().await;
        replicas.push(replica);
        let mut old = replicas.remove(0);
        old.terminate();
        // The endpoint goes some time after the signal, as in a cluster.
        wait_until(async || !is_ready(&old).await).await;
        service.remove(&old);
        assert!(old.wait().success(), "{}", old.log());
    }
    assert_eq!(load.unanswered(), [""; 0], "while replicas were replaced");

    // New certificates and configurations, one of them broken.
    for replica in &replicas {
        replica.authority.renew();
    }
    reloads(&replicas, "certificate", "success", 1).await;
    for (times, (text, result)) in (1..).zip([
        ("pin: {targets: none}\n", "success"),
        ("pin: {\n", "failure"),
    ]) {
        for replica in &replicas {
            let file = replica.folder().join("surepull.yaml");
            fs::write(file, configuration(&registry, text)).unwrap();
        }
        reloads(&replicas, "configuration", result, 1.min(times)).await;
        load.goes_on().await;
    }
    for replica in &replicas {
        fs::write(
            replica.folder().join("surepull.yaml"),
            configuration(&registry, ""),
        )
        .unwrap();
    }
    reloads(&replicas, "configuration", "success", 2).await;
    assert_eq!(load.unanswered(), [""; 0], "while files changed");

    // A registry that fails, hangs, and comes back.
    for failure in [SILENCE, 503, 429, 200] {
        status.store(failure, Ordering::SeqCst);
        load.goes_on().await;
    }
    assert_eq!(load.unanswered(), [""; 0], "while the registry failed");

    // An API server that restarts, that is silent, and comes back.
    api.break_watches();
    load.goes_on().await;
    api.reply(ACCOUNTS, Reply::Hang(Arc::default()));
    api.break_watches();
    load.goes_on().await;
    api.forget(ACCOUNTS);
    load.goes_on().await;
    for replica in &replicas {
        assert!(is_ready(replica).await, "{}", replica.log());
    }
    assert_eq!(load.unanswered(), [""; 0], "while the API server was away");

    // A replica that is killed takes with it only what it was asked before the endpoint is gone.
    service.remove(&replicas[0]);
    replicas[0].kill();
    load.goes_on().await;
    assert!(
        load.unanswered().len() <= AT_ONCE,
        "{:?}",
        load.unanswered()
    );
    load.ended.store(true, Ordering::SeqCst);
    join_all(load.workers).await;
}
