//! Real programs as providers: shells under other names, so that nothing has to be built or made executable.

mod mistakes;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rustix::process::{getpid, set_child_subreaper};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{advance, pause, resume, sleep};

use super::*;

const V1: &str = "credentialprovider.kubelet.k8s.io/v1";

/// Notes that it was run, and what it was asked; answers what is in the file `answer`.
const ANSWER: &str = "cat > $FOLDER/request; echo run >> $FOLDER/runs; cat $FOLDER/answer";

/// A folder with a configuration, and binaries.
struct World {
    folder: TempDir,
    metrics: ProviderMetrics,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        for name in ["ecr", "acr"] {
            symlink("/bin/sh", folder.path().join("bin").join(name)).unwrap();
        }
        let metrics = ProviderMetrics::default();
        Self { folder, metrics }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn settings(&self) -> crate::config::Providers {
        crate::config::Providers {
            config: self.path().join("config.yaml"),
            bin_dir: self.path().join("bin"),
        }
    }

    /// Loads a configuration text.
    fn load(&self, text: &str) -> Result<Providers, ProviderError> {
        fs::write(self.path().join("config.yaml"), text).unwrap();
        Providers::load(Some(&self.settings()), self.metrics.clone())
    }

    /// One entry of a configuration.
    fn entry(&self, name: &str, script: &str) -> Value {
        json!({
            "name": name, "apiVersion": V1, "matchImages": ["*.io"], "defaultCacheDuration": "10m",
            "args": ["-c", script], "env": [{"name": "FOLDER", "value": self.path()}],
        })
    }

    fn providers(&self, entries: &[Value]) -> Providers {
        let text = json!({"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": entries});
        self.load(&text.to_string()).unwrap()
    }

    /// The one provider that runs this.
    fn provider(&self, script: &str) -> Providers {
        self.providers(&[self.entry("ecr", script)])
    }

    fn answer(&self, answer: &Value) {
        fs::write(self.path().join("answer"), answer.to_string()).unwrap();
    }

    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.path().join("runs")).unwrap_or_default();
        runs.lines().count()
    }

    fn counted(&self, provider: &str, result: &str) -> bool {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let calls = "surepull_credential_provider_calls_total";
        text.contains(&format!(
            "{calls}{{provider=\"{provider}\",result=\"{result}\"}} 1\n"
        ))
    }
}

fn response(kind: &str, duration: Option<&str>) -> Value {
    json!({
        "kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": kind, "cacheDuration": duration,
        "auth": {"*.io": {"username": "AWS", "password": "hunter2"}},
    })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

/// User name and password.
fn exposed(credential: &Credential) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let password = credential.password.expose_secret();
    (text(credential.username.expose_secret()), text(password))
}

async fn found(providers: &Providers, repository: &str) -> Vec<(String, String)> {
    let credentials = providers.credentials(repository, soon()).await;
    credentials.iter().map(exposed).collect()
}

fn login(username: &str, password: &str) -> (String, String) {
    (username.to_owned(), password.to_owned())
}

async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("what was waited for did not happen");
}

#[tokio::test]
async fn a_provider_is_asked_as_by_the_kubelet() {
    let world = World::new();
    let providers = world.provider(ANSWER);
    world.answer(&response("Image", None));
    let credentials = providers.credentials("r.io/team/app", soon()).await;
    assert_eq!(exposed(&credentials[0]), login("AWS", "hunter2"));
    assert_eq!(&*credentials[0].source, "credential provider ecr");
    let request = fs::read_to_string(world.path().join("request")).unwrap();
    let expected = format!(
        r#"{{"kind":"CredentialProviderRequest","apiVersion":"{V1}","image":"r.io/team/app"}}"#
    );
    assert_eq!(request, expected);
    assert!(world.counted("ecr", "success"));
    assert!(found(&providers, "a.r.io/app").await.is_empty());
    assert_eq!(world.runs(), 1, "not about images of others");
    assert!(!format!("{providers:?} {credentials:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_an_answer_has_is_matched_as_pull_secrets_are() {
    let world = World::new();
    let mut entry = world.entry("ecr", ANSWER);
    for (version, auth, expected) in [
        ("v1beta1", json!(null), vec![]),
        ("v1alpha1", json!({}), vec![]),
        ("v1", json!({"other.io": {"username": "u"}}), vec![]),
        (
            "v1",
            json!({"https://r.io/v2/": {"username": "u", "password": "p", "more": 1}}),
            vec![login("u", "p")],
        ),
        (
            "v1",
            json!({"r.io": null, "r io": {"username": "u"}}),
            vec![login("", "")],
        ),
        (
            "v1",
            json!({"*.io": {"username": "a"}, "r.io/app": {"username": "b"}, "r.io": {"username": "c"}}),
            vec![login("b", ""), login("c", ""), login("a", "")],
        ),
    ] {
        let version = format!("credentialprovider.kubelet.k8s.io/{version}");
        entry["apiVersion"] = json!(version);
        let providers = world.providers(&[entry.clone()]);
        world.answer(&json!({
            "kind": "CredentialProviderResponse", "apiVersion": version, "cacheKeyType": "Global", "auth": auth,
        }));
        assert_eq!(found(&providers, "r.io/app").await, expected, "{auth}");
    }
}

#[tokio::test]
async fn the_answers_of_all_providers_are_one_keyring() {
    let world = World::new();
    let print = |key: &str, username: &str| {
        let answer = json!({
            "kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": "Image",
            "auth": {key: {"username": username, "password": "p"}},
        });
        format!("echo '{answer}'")
    };
    let entries = [
        world.entry("ecr", &print("*.io", "wide")),
        world.entry("acr", &print("r.io/app", "narrow")),
    ];
    let providers = world.providers(&entries);
    let expected = [login("narrow", "p"), login("wide", "p")];
    assert_eq!(found(&providers, "r.io/app").await, expected);
}

#[tokio::test]
async fn what_fails_has_no_credentials_and_is_counted() {
    let wrong = |name: &str, value: Value| {
        let mut answer = response("Image", None);
        answer[name] = value;
        format!("echo '{answer}'")
    };
    for (script, result) in [
        ("echo hunter2 >&2; exit 3".to_owned(), "failed"),
        ("kill -9 $$".to_owned(), "failed"),
        ("head -c 300000 /dev/zero".to_owned(), "failed"),
        ("yes".to_owned(), "failed"),
        (
            format!("echo '{}'; exit 1", response("Image", None)),
            "failed",
        ),
        (String::new(), "invalid"),
        ("echo hunter2".to_owned(), "invalid"),
        ("echo '[]'".to_owned(), "invalid"),
        (
            format!("echo '{} hunter2'", response("Image", None)),
            "invalid",
        ),
        (
            wrong(
                "apiVersion",
                json!("credentialprovider.kubelet.k8s.io/v1beta1"),
            ),
            "invalid",
        ),
        (wrong("apiVersion", json!(null)), "invalid"),
        (wrong("kind", json!("hunter2")), "invalid"),
        (wrong("cacheKeyType", json!("hunter2")), "invalid"),
        (wrong("cacheKeyType", json!(null)), "invalid"),
        (wrong("cacheDuration", json!("hunter2")), "invalid"),
        (wrong("cacheDuration", json!(5)), "invalid"),
        (wrong("auth", json!({"r.io": "hunter2"})), "invalid"),
        (
            wrong("auth", json!({"r.io": {"password": ["hunter2"]}})),
            "invalid",
        ),
    ] {
        let world = World::new();
        let providers = world.provider(&script);
        assert!(found(&providers, "r.io/app").await.is_empty(), "{script}");
        assert!(world.counted("ecr", result), "{script}");
        let error = providers.all[0].answer("r.io/app").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    // What is gone since the configuration was read.
    let world = World::new();
    let providers = world.provider(ANSWER);
    fs::remove_file(world.path().join("bin/ecr")).unwrap();
    assert!(found(&providers, "r.io/app").await.is_empty());
    assert!(world.counted("ecr", "failed"));
}

/// Starts another process, notes its number, and waits for it.
const HANG: &str = "sleep 1000 & echo $! > $FOLDER/new; mv $FOLDER/new $FOLDER/child; wait";

/// The process that [`HANG`] has started, as soon as there is one.
async fn child(world: &World) -> String {
    let file = world.path().join("child");
    wait_for(|| file.exists()).await;
    let number = fs::read_to_string(file).unwrap();
    let process = format!("/proc/{}", number.trim());
    assert!(Path::new(&process).exists());
    process
}

/// A process that has been killed may wait for somebody who takes notice.
fn is_gone(process: &str) -> bool {
    let status = fs::read_to_string(format!("{process}/stat"));
    status.map_or(true, |status| status.contains(") Z "))
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_that_it_started() {
    let world = World::new();
    let providers = world.provider(HANG);
    let process = async {
        let process = child(&world).await;
        // From here on time runs as fast as it can.
        pause();
        process
    };
    let (found, process) = tokio::join!(found(&providers, "r.io/app"), process);
    resume();
    assert!(found.is_empty());
    assert!(world.counted("ecr", "timedOut"));
    wait_for(|| is_gone(&process)).await;
}

#[tokio::test]
async fn one_that_nobody_waits_for_any_more_is_killed_and_leaves_no_zombie() {
    // As for the first process of a container, what has lost its parent is this one's.
    set_child_subreaper(Some(getpid())).unwrap();
    let world = World::new();
    let providers = world.provider(HANG);
    let process = tokio::select! {
        _ = found(&providers, "r.io/app") => panic!("it hangs"),
        process = child(&world) => process,
    };
    wait_for(|| !Path::new(&process).exists()).await;
}

#[tokio::test]
async fn what_one_that_has_ended_leaves_behind_is_killed_and_leaves_no_zombie() {
    set_child_subreaper(Some(getpid())).unwrap();
    for (end, result) in [
        ("cat $FOLDER/answer", "success"),
        ("cat $FOLDER/answer; exit 3", "failed"),
        ("kill -9 $$", "failed"),
        ("exec yes", "failed"),
    ] {
        let world = World::new();
        let leave = "sh -c 'sleep 1000 & echo $! > $FOLDER/child; wait' > /dev/null & ";
        let wait = "while [ ! -s $FOLDER/child ]; do sleep 0.01; done; ";
        let note = "echo $$ > $FOLDER/first; ";
        let providers = world.provider(&format!("{leave}{wait}{note}{end}"));
        world.answer(&response("Image", None));
        found(&providers, "r.io/app").await;
        assert!(world.counted("ecr", result), "{end}");
        for file in ["child", "first"] {
            let number = fs::read_to_string(world.path().join(file)).unwrap();
            let process = format!("/proc/{}", number.trim());
            wait_for(|| !Path::new(&process).exists()).await;
        }
    }
}

#[tokio::test]
async fn answers_are_kept_for_as_long_and_as_much_as_they_say() {
    for (kind, duration, kept, images) in [
        ("Image", Some("1h"), 3600, "a.io/app a.io/app"),
        ("Registry", Some("90s"), 90, "a.io/app a.io/other"),
        ("Global", None, 600, "a.io/app b.io/app"),
    ] {
        let world = World::new();
        let providers = world.provider(ANSWER);
        world.answer(&response(kind, duration));
        let (first, second) = images.split_once(' ').unwrap();
        assert_eq!(found(&providers, first).await.len(), 1);
        pause();
        advance(Duration::from_secs(kept / 2)).await;
        resume();
        assert_eq!(found(&providers, second).await.len(), 1);
        assert_eq!(world.runs(), 1, "{kind}");
        pause();
        advance(Duration::from_secs(kept / 2)).await;
        resume();
        assert_eq!(found(&providers, second).await.len(), 1);
        assert_eq!(world.runs(), 2, "{kind}");
    }
}

#[tokio::test]
async fn answers_are_not_kept_longer_or_for_more_than_they_say() {
    for (kind, duration, other) in [
        ("Image", "1h", "a.io/other"),
        ("Registry", "1h", "b.io/app"),
        ("Global", "0s", "a.io/app"),
        ("Image", "-1h", "a.io/app"),
    ] {
        let world = World::new();
        let providers = world.provider(ANSWER);
        world.answer(&response(kind, Some(duration)));
        assert_eq!(found(&providers, "a.io/app").await.len(), 1);
        assert_eq!(found(&providers, other).await.len(), 1);
        assert_eq!(world.runs(), 2, "{kind} {duration}");
    }
    let world = World::new();
    let mut entry = world.entry("ecr", ANSWER);
    entry["defaultCacheDuration"] = json!("0");
    let providers = world.providers(&[entry]);
    world.answer(&response("Global", None));
    for runs in 1..3 {
        assert_eq!(found(&providers, "a.io/app").await.len(), 1);
        assert_eq!(world.runs(), runs);
    }
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_run() {
    let world = World::new();
    let wait = "echo run >> $FOLDER/runs; while [ ! -e $FOLDER/go ]; do sleep 0.01; done; cat $FOLDER/answer";
    let providers = world.provider(wait);
    world.answer(&response("Image", Some("0s")));
    let go = async {
        wait_for(|| world.runs() > 0).await;
        fs::write(world.path().join("go"), "").unwrap();
    };
    let (first, second, ()) = tokio::join!(
        found(&providers, "r.io/app"),
        found(&providers, "r.io/app"),
        go
    );
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn many_images_of_one_registry_wait_for_the_first_answers() {
    let world = World::new();
    let providers = world.provider(ANSWER);
    world.answer(&response("Registry", None));
    let images: Vec<String> = (0..40).map(|number| format!("r.io/app{number}")).collect();
    let answers = join_all(images.iter().map(|image| found(&providers, image))).await;
    assert!(answers.iter().all(|answer| answer.len() == 1));
    assert!((1..=AT_ONCE).contains(&world.runs()), "{}", world.runs());
}

#[test]
fn memory_is_bounded() {
    let memory = Memory::default();
    let keyring = Arc::new(crate::credentials::Keyring::default());
    let keep = |number: u64| {
        let duration = Duration::from_secs(1000 + number);
        let kind = protocol::CacheKeyType::Image;
        memory.keep(kind, &number.to_string(), &keyring, duration);
    };
    (0..=1000).for_each(keep);
    assert!(memory.get("0").is_none(), "it would have ended first");
    assert!(memory.get("1").is_some() && memory.get("1000").is_some());

    // What needs no place takes none.
    keep(1000);
    let kind = protocol::CacheKeyType::Image;
    memory.keep(kind, "2000", &keyring, Duration::ZERO);
    assert!(memory.get("2000").is_none());
    assert!((1..=1000).all(|number| memory.get(&number.to_string()).is_some()));
}
