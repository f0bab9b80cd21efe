//! A load that makes every metric of surepull appear: the real binary, its registries and its API server.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::fake_api::{ACCOUNTS, FakeApi, failure, secret};
use crate::common::faulty::{Faulty, good, reply};
use crate::common::review::{pod, reviewed};
use crate::common::serve::Served;

/// A running surepull, and what it asks.
pub struct Loaded {
    pub served: Served,
    /// One more, which manages its certificates itself as far as it can.
    pub own: Served,
    api: FakeApi,
    _registries: [Faulty; 3],
    down: Arc<AtomicBool>,
    folder: tempfile::TempDir,
}

impl Loaded {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let down = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&down);
        let registries = [
            Faulty::answering(open).await,
            Faulty::answering(|_| reply(429, &[("retry-after", "1")], "")).await,
            Faulty::answering(move |_| {
                if fails.load(Ordering::Relaxed) {
                    reply(503, &[], "")
                } else {
                    good()
                }
            })
            .await,
        ];
        let api = FakeApi::start().await;
        api.set_account("ns", "default", &["good", "absent", "forbidden"]);
        let auths =
            json!({"auths": {"good.test": {"auth": BASE64_STANDARD.encode("alice:wrong")}}});
        let at = |name| format!("/api/v1/namespaces/ns/secrets/{name}");
        let data = [(".dockerconfigjson", &*auths.to_string())];
        api.reply(&at("good"), secret("kubernetes.io/dockerconfigjson", &data));
        api.reply(&at("forbidden"), failure(403, "no"));
        let configuration = configuration(folder.path(), &registries);
        let kubeconfig = api.kubeconfig(folder.path());
        let arguments = [
            "--reload-interval",
            "20ms",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
        ];
        let served = Served::start_bare(&configuration, &arguments);
        let by_itself = ["--tls-self", "--namespace", "ns"];
        let own = Served::start_bare(&configuration, &[&arguments[..], &by_itself].concat());
        Self {
            served,
            own,
            api,
            _registries: registries,
            down,
            folder,
        }
    }

    /// Does everything once. Each round counts, so that rates are more than nothing.
    pub async fn round(&self, round: usize) {
        let served = &self.served;
        self.down.store(round > 0, Ordering::Relaxed);
        let fresh = format!("good.test/app:{round}");
        let of_a_provider = format!("good.test/private:{round}");
        let chosen = format!("chosen-by-an-author-{round}.invalid/app:1");
        // One repository does not speak for its whole host.
        let limited = ["limited.test/a:1", "limited.test/b:1", "limited.test/c:1"];
        let failing = (0..6).map(|repository| format!("failing.test/{repository}:1"));
        let failing: Vec<_> = failing.collect();
        let others = [
            &*fresh,
            "good.test/app:1",
            &of_a_provider,
            "127.0.0.1:1/app:1",
            &chosen,
        ];
        let images = others.into_iter().chain(limited);
        for image in images.chain(failing.iter().map(String::as_str)) {
            reviewed(served, &of_the_account(image), None, false).await;
        }
        let review = json!({"not": "a review"}).to_string();
        served.post("/mutate", review.clone()).await;
        served.post("/validate", review.clone()).await;
        served.post("/elsewhere", review).await;
        self.shake_hands_badly().await;
        self.reload(round);
        self.api.expire_watches();
        if round.is_multiple_of(2) {
            self.api.reply(ACCOUNTS, failure(500, "not now"));
        } else {
            self.api.forget(ACCOUNTS);
        }
    }

    async fn shake_hands_badly(&self) {
        let mut stream = TcpStream::connect(self.served.addr).await.unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    }

    /// Changes the configuration, to one that is of no use every other time.
    fn reload(&self, round: usize) {
        let file = self.served.folder().join("surepull.yaml");
        let good = fs::read_to_string(self.folder.path().join("surepull.yaml")).unwrap();
        let mistake = if round.is_multiple_of(2) {
            ""
        } else {
            "mistake: yes\n"
        };
        let new = file.with_extension("new");
        fs::write(&new, format!("{good}# {round}\n{mistake}")).unwrap();
        fs::rename(new, file).unwrap();
    }
}

/// A registry with a limit that wants to know who asks for `private`.
fn open(request: &Request) -> Response {
    let mut answer = good();
    if request.uri().path().contains("/private/") {
        let challenge = [("www-authenticate", "Basic realm=\"test\"")];
        answer = reply(401, &challenge, "");
    }
    for (name, value) in [
        ("ratelimit-limit", "100;w=60"),
        ("ratelimit-remaining", "99;w=60"),
    ] {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

fn of_the_account(image: &str) -> Value {
    let mut pod = pod(&[image]);
    pod["spec"]["serviceAccountName"] = "default".into();
    pod["metadata"]["name"] = "loaded".into();
    pod
}

/// The configuration, which is kept in the folder, too.
fn configuration(folder: &Path, registries: &[Faulty; 3]) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/false", bin.join("refusing")).unwrap();
    let providers = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [{
            "name": "refusing", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["good.test/private"],
            "defaultCacheDuration": "0s",
        }],
    });
    fs::write(folder.join("providers.json"), providers.to_string()).unwrap();
    let [good, limited, failing] = registries.each_ref().map(|registry| &registry.endpoint);
    let folder_name = folder.display();
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1
kind: Configuration
pin: {{errors: {{refused: deny}}, skip: {{registries: []}}}}
cache: {{ttl: 1s, negativeTtl: 0s, staleIfError: 1h}}
registries:
- {{match: good.test, endpoints: ['{good}']}}
- {{match: limited.test, endpoints: ['{limited}']}}
- {{match: failing.test, endpoints: ['{failing}']}}
credentials: {{providers: {{config: '{folder_name}/providers.json', binDir: '{folder_name}/bin'}}}}
"
    );
    fs::write(folder.join("surepull.yaml"), &configuration).unwrap();
    configuration
}
