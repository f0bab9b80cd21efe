//! How registries are treated, and what is done while they fail: by the counts of a registry that does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use surepull::cluster::Given;
use surepull::config::Cache;
use surepull::credentials::Keyring;
use surepull::image::Digest;
use surepull::mutation::Settings;
use surepull::pipeline::Pipeline;
use surepull::registry::{Class, Error, Image, Resolver};
use surepull::workload::Kinds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Semaphore};
use tokio::time::{Instant, sleep};

mod common;

use common::faulty::{Faulty, credential, digest, good, image, metrics, reply, trusting};
use common::mutate::{self, Change};
use common::serve::Served;
use common::{soon, wait_for, wait_until};

/// A registry whose answers have a status that can be changed; 200 is a good answer.
async fn changeable(headers: &'static [(&'static str, &'static str)]) -> (Faulty, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let current = Arc::clone(&status);
    let server = Faulty::answering(move |_| match current.load(Ordering::SeqCst) {
        200 => good(),
        status => reply(status, headers, ""),
    })
    .await;
    (server, status)
}

fn resolver(server: &Faulty, cache: &Cache) -> Resolver {
    let registries = [common::entry("registry.test", &[&server.endpoint], None)];
    Resolver::new(&registries, cache).unwrap()
}

/// A cache that does not spare the registry a question.
fn forgetful() -> Cache {
    Cache {
        ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        ..Cache::default()
    }
}

/// A served surepull that asks this registry, with these further lines in its configuration.
fn served(server: &Faulty, more: &str) -> Served {
    let endpoint = &server.endpoint;
    Served::start(&format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\n{more}"
    ))
}

/// The same, waiting for the registry for as long as may be.
fn served_patiently(server: &Faulty) -> Served {
    let endpoint = &server.endpoint;
    Served::start(&format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries: [{{match: registry.test, endpoints: [\"{endpoint}\"], timeouts: {{request: 30s}}}}]\n"
    ))
}

/// A Pod with these images.
fn pod(images: &[String]) -> Value {
    let container =
        |(index, image): (usize, &String)| json!({"name": format!("c{index}"), "image": image});
    let containers: Vec<_> = images.iter().enumerate().map(container).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
}

/// The answer to a review of a Pod that is created with these images.
async fn review(served: &Served, images: &[String]) -> Value {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "default",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": pod(images),
        },
    });
    let (status, body) = served.post("/mutate?timeout=30s", review.to_string()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    answer["response"].clone()
}

/// The patch of an answer, as text.
fn patch(answer: &Value) -> String {
    let patch = BASE64_STANDARD.decode(answer["patch"].as_str().unwrap());
    String::from_utf8(patch.unwrap()).unwrap()
}

#[tokio::test]
async fn while_a_registry_fails_its_last_good_answer_counts_with_a_warning() {
    let (server, status) = changeable(&[]).await;
    let webhook = served(&server, "cache: {ttl: 0s, negativeTtl: 0s}\n");
    let images = ["registry.test/app:1".to_owned()];
    let good = review(&webhook, &images).await;
    assert!(patch(&good).contains(digest().as_str()), "{good}");
    assert!(good["warnings"].is_null(), "{good}");
    status.store(503, Ordering::SeqCst);
    let stale = review(&webhook, &images).await;
    assert_eq!(stale["patch"], good["patch"]);
    let warning = stale["warnings"][0].as_str().unwrap();
    for part in [
        "surepull: image registry.test/app:1 gets the digest that it had ",
        " s ago: registry.test: ",
        "503",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    let name = r#"surepull_registry_stale_answers_total{registry="registry.test"}"#;
    assert_eq!(webhook.metric(name).await, Some(1));
    // What says something about the image is an answer, and ends what was known.
    status.store(404, Ordering::SeqCst);
    let gone = review(&webhook, &images).await;
    assert!(gone["warnings"][0].as_str().unwrap().contains("not found"));
    status.store(503, Ordering::SeqCst);
    let unknown = review(&webhook, &images).await;
    assert!(!patch(&unknown).contains("sha256:"), "{unknown}");
    assert_eq!(webhook.metric(name).await, Some(1));
}

#[tokio::test]
async fn a_silent_registry_is_not_waited_for_to_the_end_where_a_digest_is_known() {
    let silent = Arc::new(AtomicBool::new(false));
    let current = Arc::clone(&silent);
    let server = Faulty::start(move |_| {
        let silent = current.load(Ordering::SeqCst);
        Box::pin(async move {
            if silent {
                std::future::pending::<()>().await;
            }
            good()
        })
    })
    .await;
    let resolver = resolver(&server, &forgetful());
    assert_eq!(ask_for(&resolver, 1).await, Ok(digest()));
    silent.store(true, Ordering::SeqCst);
    // From here on the clock is the test's: it goes to the next moment that somebody waits for.
    tokio::time::pause();
    let began = Instant::now();
    let deadline = began + Duration::from_secs(12);
    let answer = resolver.resolve(&image(), &[], false, deadline).await;
    let error = answer.unwrap_err();
    assert_eq!(error.class(), Class::TimedOut, "{error}");
    assert_eq!(began.elapsed().as_secs(), 4);
    assert!(resolver.last_good(&image(), &[], &error).is_some());
}

#[tokio::test]
async fn a_stale_digest_is_for_those_who_asked_with_the_same_credentials() {
    let (server, status) = changeable(&[]).await;
    let resolver = resolver(&server, &forgetful());
    let alice = [credential("a")];
    let found = resolver.resolve(&image(), &alice, false, soon()).await;
    assert_eq!(found, Ok(digest()));
    status.store(503, Ordering::SeqCst);
    for (credentials, known) in [
        (&alice[..], true),
        (&[credential("b")], false),
        (&[], false),
    ] {
        let found = resolver.resolve(&image(), credentials, false, soon()).await;
        let error = found.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{error}");
        let stale = resolver.last_good(&image(), credentials, &error);
        assert_eq!(stale.is_some_and(|stale| stale.digest == digest()), known);
    }
}

/// A pipeline without a cluster.
fn pipeline(resolver: &Resolver) -> Pipeline {
    let cluster = Arc::new(Given::default());
    let keyring = Keyring::default();
    Pipeline::new(Settings::default(), resolver.clone(), keyring, cluster)
}

/// The patch and the warnings that come of a change.
async fn decide(pipeline: &Pipeline, change: &Change<'_>) -> (String, Vec<String>) {
    let kinds = Kinds::default();
    let review = mutate::review(&kinds, change).unwrap();
    let outcome = pipeline.decide(&review, soon()).await.unwrap();
    let patch = outcome.patch().unwrap_or_default();
    (String::from_utf8(patch).unwrap(), outcome.warnings.clone())
}

#[tokio::test]
async fn who_has_just_changed_the_tag_gets_no_digest_of_before() {
    let (server, status) = changeable(&[]).await;
    let pipeline = pipeline(&resolver(&server, &forgetful()));
    let [old, new] = ["0", "1"].map(|tag| pod(&[format!("registry.test/app:{tag}")]));
    let (patch, warnings) = decide(&pipeline, &Change::create(&new)).await;
    assert!(patch.contains("@sha256:") && warnings.is_empty(), "{patch}");
    status.store(503, Ordering::SeqCst);
    let (patch, warnings) = decide(&pipeline, &Change::create(&new)).await;
    assert!(patch.contains("@sha256:"), "{patch}");
    assert!(warnings[0].contains("that it had"), "{warnings:?}");
    let (patch, warnings) = decide(&pipeline, &Change::update(&old, &new)).await;
    assert!(!patch.contains("@sha256:"), "{patch}");
    assert!(warnings[0].contains("is not pinned"), "{warnings:?}");
}

/// Another image of the same registry.
fn tagged(tag: u32) -> Image<'static> {
    Image {
        tag: tag.to_string().into(),
        ..image()
    }
}

async fn ask_for(resolver: &Resolver, tag: u32) -> Result<Digest, Arc<Error>> {
    resolver.resolve(&tagged(tag), &[], false, soon()).await
}

#[tokio::test]
async fn a_digest_in_use_is_refreshed_and_one_that_is_not_is_not() {
    const USED: u32 = 1;
    const UNUSED: u32 = 2;
    let (server, _) = changeable(&[]).await;
    let cache = Cache {
        ttl: Duration::from_secs(1),
        ..Cache::default()
    };
    let resolver = resolver(&server, &cache);
    let asked = |tag: u32| {
        let line = format!("HEAD /v2/app/manifests/{tag}");
        server.lines().iter().filter(|seen| **seen == line).count()
    };
    assert_eq!(ask_for(&resolver, UNUSED).await, Ok(digest()));
    for times in 1..4 {
        // From memory, or where this test was too slow for that, from the registry; then, at the latest, from memory.
        assert_eq!(ask_for(&resolver, USED).await, Ok(digest()));
        assert_eq!(ask_for(&resolver, USED).await, Ok(digest()));
        wait_for(|| asked(USED) > times).await;
    }
    assert_eq!(asked(UNUSED), 1);
    let text = metrics(&resolver);
    let none = "surepull_registry_background_refreshes_total 0";
    assert!(!text.contains(none), "{text}");
}

#[tokio::test]
async fn five_hundred_reviews_of_a_cold_image_make_one_request() {
    let (server, gate) = Faulty::gated(good).await;
    let webhook = served_patiently(&server);
    let images = ["registry.test/app:1".to_owned()];
    // Fifty more at a time, so that so many connections are not made at once.
    let start = Semaphore::new(0);
    let all_wait = async {
        let waiting = r#"surepull_registry_cache_requests_total{result="miss"}"#;
        for count in (50..=500).step_by(50) {
            start.add_permits(50);
            wait_until(async || webhook.metric(waiting).await == Some(count)).await;
        }
        gate.add_permits(500);
    };
    let reviews = (0..500).map(async |_| {
        start.acquire().await.unwrap().forget();
        review(&webhook, &images).await
    });
    let (answers, ()) = tokio::join!(join_all(reviews), all_wait);
    for answer in answers {
        assert!(patch(&answer).contains(digest().as_str()), "{answer}");
    }
    assert_eq!(server.lines(), ["HEAD /v2/app/manifests/1"]);
}

#[tokio::test]
async fn ten_images_of_a_review_are_asked_for_at_once() {
    let all = Arc::new(Barrier::new(10));
    // Nobody has an answer before all ten have asked.
    let server = Faulty::start(move |_| {
        let all = Arc::clone(&all);
        Box::pin(async move {
            all.wait().await;
            good()
        })
    })
    .await;
    let images: Vec<_> = (0..10)
        .map(|tag| format!("registry.test/app:{tag}"))
        .collect();
    let answer = review(&served(&server, ""), &images).await;
    assert_eq!(patch(&answer).matches(digest().as_str()).count(), 20);
    assert_eq!(server.lines().len(), 10);
}

#[tokio::test]
async fn no_more_are_asked_at_once_than_is_configured() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (Arc::clone(&under_way), Arc::clone(&most));
    let server = Faulty::start(move |_| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        Box::pin(async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            good()
        })
    })
    .await;
    let mut entry = common::entry("registry.test", &[&server.endpoint], None);
    entry.max_concurrent = 3;
    let resolver = Resolver::new(&[entry], &Cache::default()).unwrap();
    let answers = join_all((0..20).map(|tag| ask_for(&resolver, tag))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert_eq!(server.lines().len(), 20);
}

#[tokio::test]
async fn look_ups_are_bounded_for_each_host_and_in_all() {
    let (server, gate) = Faulty::gated(good).await;
    let entry = |name: &str, path: &str| {
        let endpoint = server.endpoint.replace("127.0.0.1", name);
        common::entry(&format!("registry.test/{path}"), &[&endpoint], None)
    };
    // Three hosts, though two of them are the same.
    let registries = [
        entry("127.0.0.1", "a"),
        entry("localhost", "b"),
        entry("127.0.0.2", "c"),
    ];
    let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
    let ask = |repository: &'static str, tag: u32| {
        let resolver = resolver.clone();
        let image = Image {
            repository: repository.into(),
            ..tagged(tag)
        };
        tokio::spawn(async move { resolver.resolve(&image, &[], false, soon()).await })
    };
    let mut waiting = Vec::new();
    for (repository, asked) in [("a/x", 513), ("b/x", 1025)] {
        waiting.extend((0..512).map(|tag| ask(repository, tag)));
        // One too many for its host.
        let error = ask(repository, 512).await.unwrap().unwrap_err();
        assert_eq!(error.class(), Class::Unavailable);
        let text = error.to_string();
        let expected = if asked == 513 {
            "512 look-ups wait for it already"
        } else {
            "1024 look-ups are under way already"
        };
        assert!(text.contains(expected), "{text}");
    }
    // One too many in all, whatever its host.
    let error = ask("c/x", 0).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("1024 look-ups"), "{error}");
    let text = metrics(&resolver);
    for line in [
        r#"surepull_registry_withheld_requests_total{registry="registry.test/a",reason="full"} 1"#,
        r#"surepull_registry_withheld_requests_total{registry="registry.test/c",reason="overload"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    gate.add_permits(10_000);
    for found in waiting {
        assert_eq!(found.await.unwrap(), Ok(digest()));
    }
    // That there was no room is not remembered.
    assert_eq!(ask("a/x", 512).await.unwrap(), Ok(digest()));
}

#[tokio::test]
async fn after_429_nobody_asks_again_before_the_time() {
    for (headers, limits) in [
        (&[("retry-after", "3600")][..], 3000..=3600),
        (&[][..], 1..=10),
    ] {
        let (server, status) = changeable(headers).await;
        let resolver = resolver(&server, &forgetful());
        assert_eq!(ask_for(&resolver, 1).await, Ok(digest()));
        status.store(429, Ordering::SeqCst);
        let error = ask_for(&resolver, 2).await.unwrap_err();
        assert_eq!(error.class(), Class::RateLimited, "{error}");
        assert_eq!(server.lines().len(), 2);
        // Whatever the image; and what was known before still counts.
        let error = ask_for(&resolver, 1).await.unwrap_err();
        assert_eq!(error.class(), Class::RateLimited, "{error}");
        let text = error.to_string();
        let (why, again) = text.split_once(", again in ").unwrap();
        assert!(why.contains("not asked about app:1"), "{text}");
        let seconds: u32 = again.trim_end_matches(" s").parse().unwrap();
        assert!(limits.contains(&seconds), "{text}");
        let stale = resolver.last_good(&tagged(1), &[], &error);
        assert_eq!(stale.map(|stale| stale.digest), Some(digest()));
        assert_eq!(server.lines().len(), 2);
        // Limits are for accounts: whoever has one is asked for, but not for nobody's sake after that.
        let alice = [credential("a")];
        let found = resolver.resolve(&image(), &alice, false, soon()).await;
        assert_eq!(found.unwrap_err().class(), Class::RateLimited);
        assert_eq!(server.lines().len(), 3);
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_not_noticed() {
    for failure in [500, 502, 503, 504] {
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Faulty::answering(move |_| {
            if asked.fetch_add(1, Ordering::SeqCst) < 2 {
                reply(failure, &[], "")
            } else {
                good()
            }
        })
        .await;
        assert_eq!(ask_for(&server.resolver(), 1).await, Ok(digest()));
        assert_eq!(server.lines().len(), 3, "{failure}");
    }
    // The same where the connection breaks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ndocker-content-digest: {}\r\n\r\n",
            digest()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    });
    assert_eq!(ask_for(&trusting(&[&endpoint]), 1).await, Ok(digest()));
    drop(serving.await.unwrap());
}

#[tokio::test]
async fn a_registry_that_fails_is_left_alone() {
    for (headers, asked) in [(&[][..], 15), (&[("retry-after", "60")][..], 2)] {
        let (server, status) = changeable(headers).await;
        status.store(503, Ordering::SeqCst);
        let resolver = resolver(&server, &forgetful());
        let ask = async |repository: u32| {
            let repository = format!("app{repository}").into();
            let image = Image {
                repository,
                ..image()
            };
            let answer = resolver.resolve(&image, &[], false, soon()).await;
            answer.unwrap_err()
        };
        for repository in 0..8 {
            let error = ask(repository).await;
            assert_eq!(error.class(), Class::Unavailable, "{error}");
        }
        let error = ask(0).await.to_string();
        let not_asked = "not asked about app0:1: it has been failing, again in ";
        assert!(error.contains(not_asked), "{error}");
        // Five look-ups of three attempts; or two that were told to wait.
        assert_eq!(server.lines().len(), asked);
    }
}

#[tokio::test]
async fn a_repository_that_fails_leaves_the_others_alone() {
    for (status, more) in [(503, "300"), (429, "3000"), (502, "0")] {
        let server = Faulty::answering(move |request| {
            if request.uri().path().starts_with("/v2/app/") {
                return good();
            }
            reply(status, &[("retry-after", more)], "")
        })
        .await;
        let resolver = resolver(&server, &forgetful());
        for tag in 0..8 {
            let repository = "evil".into();
            let image = Image {
                repository,
                ..tagged(tag)
            };
            assert!(resolver.resolve(&image, &[], false, soon()).await.is_err());
        }
        assert_eq!(ask_for(&resolver, 1).await, Ok(digest()), "{status}");
    }
}
