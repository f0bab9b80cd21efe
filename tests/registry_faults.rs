//! Look-ups at a registry that does everything wrong, one fault at a time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use surepull::config::Cache;
use surepull::credentials::Credential;
use surepull::image::Digest;
use surepull::registry::{Class, Error, Image, Resolver};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

mod common;

use common::{soon, wait_for};

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A server on loopback that answers every request with the same function, and notes what it was asked.
struct Faulty {
    endpoint: String,
    requests: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: HashMap<String, String>,
}

impl Faulty {
    async fn start(answer: impl Fn(Request) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let routes = Router::new().fallback(move |request: Request| {
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            });
            let line = format!("{} {}", request.method(), request.uri());
            seen.lock().unwrap().push(Seen {
                line,
                headers: headers.collect(),
            });
            answer(request)
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { endpoint, requests }
    }

    /// A server whose answers need no waiting.
    async fn answering(
        answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request| {
            let response = answer(&request);
            Box::pin(async move { response })
        })
        .await
    }

    fn lines(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.line.clone())
            .collect()
    }

    fn seen(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    fn resolver(&self) -> Resolver {
        trusting(&[&self.endpoint])
    }
}

/// A resolver that looks up `registry.test` at the first of these, and knows the others as endpoints too.
fn trusting(endpoints: &[&str]) -> Resolver {
    let entry = |(index, endpoint): (usize, &&str)| {
        let pattern = if index == 0 {
            "registry.test".to_owned()
        } else {
            format!("other{index}.test")
        };
        common::entry(&pattern, &[endpoint], None)
    };
    let registries: Vec<_> = endpoints.iter().enumerate().map(entry).collect();
    Resolver::new(&registries, &Cache::default()).unwrap()
}

fn image() -> Image<'static> {
    Image {
        registry: "registry.test".to_owned().into(),
        repository: "app".to_owned().into(),
        tag: "1".to_owned().into(),
    }
}

async fn ask(resolver: &Resolver) -> Result<Digest, Arc<Error>> {
    resolver.resolve(&image(), &[], false, soon()).await
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn digest() -> Digest {
    Digest::of(MANIFEST.as_bytes())
}

/// An honest answer to HEAD and GET.
fn good() -> Response {
    let digest = digest();
    reply(
        200,
        &[
            ("content-type", OCI_INDEX),
            ("docker-content-digest", digest.as_str()),
        ],
        MANIFEST,
    )
}

fn credential(password: &str) -> Credential {
    Credential::login("alice", password, "test".into())
}

/// The metrics as they are scraped.
fn metrics(resolver: &Resolver) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    resolver.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test]
async fn a_good_answer_is_one_request_with_all_four_media_types() {
    let server = Faulty::answering(|_| good()).await;
    assert_eq!(ask(&server.resolver()).await, Ok(digest()));
    let [seen] = &server.seen()[..] else {
        panic!("one request")
    };
    assert_eq!(seen.line, "HEAD /v2/app/manifests/1");
    let accept = &seen.headers["accept"];
    for media_type in [
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    ] {
        assert!(
            accept.contains(&format!("application/vnd.{media_type}+json")),
            "{accept}"
        );
    }
    assert!(!seen.headers.contains_key("authorization"));
}

#[tokio::test]
async fn every_status_has_its_class() {
    let words = r#"{"errors":[{"code":"CODE","message":"in\u001b words"}]}"#;
    for (status, class, requests) in [
        (400, Class::Invalid, 2),
        (401, Class::Unauthorized, 1),
        (403, Class::Forbidden, 1),
        (404, Class::NotFound, 2),
        (405, Class::Invalid, 2),
        (429, Class::RateLimited, 1),
        (500, Class::Unavailable, 1),
        (503, Class::Unavailable, 1),
    ] {
        let server =
            Faulty::answering(move |_| reply(status, &[("retry-after", "7")], words)).await;
        let error = ask(&server.resolver()).await.unwrap_err();
        assert_eq!(error.class(), class, "{status}: {error}");
        assert_eq!(server.lines().len(), requests, "{status}");
        let text = error.to_string();
        assert!(text.starts_with("registry.test: "), "{text}");
        // A registry that is out of order is so whatever the image.
        let names_image = class != Class::Unavailable;
        assert_eq!(text.contains("app:1"), names_image, "{text}");
        assert_eq!(text.contains("(CODE: in  words)"), requests == 2, "{text}");
        if let Error::RateLimited { retry_after, .. } = &*error {
            assert_eq!(*retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn where_head_does_not_suffice_the_bytes_of_get_are_hashed() {
    type Head = fn() -> Response;
    let heads: [(&str, Head); 7] = [
        ("no digest", || {
            reply(200, &[("content-type", OCI_INDEX)], "")
        }),
        ("malformed digest", || {
            reply(200, &[("docker-content-digest", "sha256:ABC")], "")
        }),
        ("unknown media type", || {
            reply(
                200,
                &[
                    ("content-type", "text/html"),
                    ("docker-content-digest", digest().as_str()),
                ],
                "",
            )
        }),
        ("400", || reply(400, &[], "")),
        ("404", || reply(404, &[], "")),
        ("405", || reply(405, &[], "")),
        ("501", || reply(501, &[], "")),
    ];
    for (name, head) in heads {
        let server = Faulty::answering(move |request| {
            if request.method() == "HEAD" {
                head()
            } else {
                reply(200, &[("docker-content-digest", "nonsense")], MANIFEST)
            }
        })
        .await;
        assert_eq!(ask(&server.resolver()).await, Ok(digest()), "{name}");
        assert_eq!(
            server.lines(),
            ["HEAD /v2/app/manifests/1", "GET /v2/app/manifests/1"],
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_not_a_manifest_is_not_pinned() {
    type Get = fn() -> Response;
    let bodies: [(&str, Get); 6] = [
        ("not a manifest", || {
            reply(200, &[("content-type", "text/html")], "<html>log in</html>")
        }),
        ("not a manifest", || reply(200, &[], "")),
        ("not that of the manifest", || {
            reply(
                200,
                &[(
                    "docker-content-digest",
                    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                )],
                MANIFEST,
            )
        }),
        ("schema 1", || {
            reply(
                200,
                &[(
                    "content-type",
                    "application/vnd.docker.distribution.manifest.v1+prettyjws",
                )],
                "{}",
            )
        }),
        ("schema 1", || {
            reply(
                200,
                &[],
                r#"{"schemaVersion":1,"name":"app","tag":"1","fsLayers":[]}"#,
            )
        }),
        ("longer than", || reply(200, &[], vec![b' '; (4 << 20) + 1])),
    ];
    for (words, get) in bodies {
        let server = Faulty::answering(move |request| {
            if request.method() == "HEAD" {
                reply(200, &[], "")
            } else {
                get()
            }
        })
        .await;
        let error = ask(&server.resolver()).await.unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{words}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_huge_body_is_not_read() {
    const CHUNK: usize = 64 << 10;
    let chunk = Bytes::from(vec![b' '; CHUNK]);
    let produced = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&produced);
    let server = Faulty::answering(move |request| {
        if request.method() == "HEAD" {
            return reply(405, &[], "");
        }
        let (count, chunk) = (Arc::clone(&count), chunk.clone());
        let chunks = stream::iter(0..(300 << 20) / CHUNK).map(move |_| {
            count.fetch_add(CHUNK, Ordering::SeqCst);
            Ok::<_, Infallible>(chunk.clone())
        });
        reply(200, &[], Body::from_stream(chunks))
    })
    .await;
    let error = ask(&server.resolver()).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
    // What the client takes is bounded; the sockets between may hold some more.
    let produced = produced.load(Ordering::SeqCst);
    assert!(produced < 64 << 20, "{produced}");
}

#[tokio::test]
async fn a_truncated_body_is_unavailability() {
    let server = Faulty::answering(|request| {
        if request.method() == "HEAD" {
            return reply(405, &[], "");
        }
        let pieces = [
            Ok(Bytes::from_static(&MANIFEST.as_bytes()[..20])),
            Err(io::Error::other("the end")),
        ];
        let length = MANIFEST.len().to_string();
        reply(
            200,
            &[("content-length", &length)],
            Body::from_stream(stream::iter(pieces)),
        )
    })
    .await;
    let error = ask(&server.resolver()).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
}

#[tokio::test]
async fn what_does_not_speak_http_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
        }
    });
    let error = ask(&trusting(&[&endpoint])).await.unwrap_err();
    assert!(
        matches!(error.class(), Class::Invalid | Class::Unavailable),
        "{error}"
    );
}

#[tokio::test]
async fn a_look_up_outlives_its_waiters_and_is_remembered() {
    for (finally, found) in [(200, true), (500, false)] {
        let gate = Arc::new(Semaphore::new(0));
        let closed = Arc::clone(&gate);
        let server = Faulty::start(move |_| {
            let gate = Arc::clone(&closed);
            Box::pin(async move {
                let _permit = gate.acquire().await;
                if finally == 200 {
                    good()
                } else {
                    reply(finally, &[], "")
                }
            })
        })
        .await;
        let resolver = server.resolver();
        let first = resolver
            .resolve(
                &image(),
                &[],
                false,
                Instant::now() + Duration::from_millis(50),
            )
            .await;
        assert_eq!(first.unwrap_err().class(), Class::TimedOut);
        assert_eq!(resolver.cached(&image(), &[]), None);
        gate.add_permits(100);
        wait_for(|| resolver.cached(&image(), &[]).is_some()).await;
        let second = ask(&resolver).await;
        assert_eq!(second.is_ok(), found);
        assert_eq!(
            second.map_err(|error| error.class()),
            if found {
                Ok(digest())
            } else {
                Err(Class::Unavailable)
            }
        );
        assert_eq!(server.lines().len(), 1);
    }
}

#[tokio::test]
async fn two_hundred_that_ask_for_one_image_make_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let server = Faulty::start(move |_| {
        let gate = Arc::clone(&closed);
        Box::pin(async move {
            let _permit = gate.acquire().await;
            good()
        })
    })
    .await;
    let resolver = server.resolver();
    let askers: Vec<_> = (0..200)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { ask(&resolver).await })
        })
        .collect();
    wait_for(|| !server.lines().is_empty()).await;
    gate.add_permits(1000);
    for asker in askers {
        assert_eq!(asker.await.unwrap(), Ok(digest()));
    }
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn fresh_askers_share_look_ups_that_begin_after_they_asked() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let server = Faulty::start(move |_| {
        let gate = Arc::clone(&closed);
        Box::pin(async move {
            let _permit = gate.acquire().await;
            good()
        })
    })
    .await;
    let resolver = server.resolver();
    let ask_fresh =
        |resolver: Resolver| async move { resolver.resolve(&image(), &[], true, soon()).await };
    let mut askers = vec![tokio::spawn(ask_fresh(resolver.clone()))];
    wait_for(|| server.lines().len() == 1).await;
    askers.extend((0..50).map(|_| tokio::spawn(ask_fresh(resolver.clone()))));
    // Each is counted when it has asked.
    let line = r#"surepull_registry_cache_requests_total{result="miss"} 51"#;
    wait_for(|| metrics(&resolver).contains(line)).await;
    gate.add_permits(1000);
    for asker in askers {
        assert_eq!(asker.await.unwrap(), Ok(digest()));
    }
    // One that began before the fifty asked, and one for all of them.
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn redirects_are_followed_three_times() {
    let server = Faulty::answering(|request| match request.uri().path() {
        "/v2/app/manifests/1" => reply(307, &[("location", "/a")], ""),
        "/a" => reply(302, &[("location", "b")], ""),
        "/b" => reply(301, &[("location", "/c")], ""),
        _ => good(),
    })
    .await;
    assert_eq!(ask(&server.resolver()).await, Ok(digest()));
    let server = Faulty::answering(|request| {
        let again = request.uri().path().to_owned();
        reply(307, &[("location", &again)], "")
    })
    .await;
    let error = ask(&server.resolver()).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn redirects_and_realms_do_not_lead_to_addresses_that_nobody_named() {
    let inside = Faulty::answering(|_| good()).await;
    for target in [
        inside.endpoint.clone(),
        "http://169.254.169.254/latest".to_owned(),
        "http://[::1]:1/".to_owned(),
        "http://localhost:1/".to_owned(),
    ] {
        let location = target.clone();
        let server = Faulty::answering(move |_| reply(307, &[("location", &location)], "")).await;
        let error = ask(&server.resolver()).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{target}: {error}");

        let challenge = format!(r#"Bearer realm="{target}",service="s""#);
        let server =
            Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
        let error = ask(&server.resolver()).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{target}: {error}");
    }
    assert!(inside.lines().is_empty(), "{:?}", inside.lines());
}

#[tokio::test]
async fn an_image_cannot_name_an_endpoint_by_its_address() {
    let server = Faulty::answering(|_| good()).await;
    let resolver = server.resolver();
    let hosts = [
        server.endpoint.trim_start_matches("http://"),
        "localhost:1",
        "[::1]:1",
        "169.254.169.254",
        "0.0.0.0:80",
    ];
    for host in hosts {
        let image = Image {
            registry: host.to_owned().into(),
            ..image()
        };
        let error = resolver
            .resolve(&image, &[], false, soon())
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{host}: {error}");
    }
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    // Its own challenge would send them to a token service of its choice.
    let other = Faulty::answering(|request| {
        let host = request.headers()["host"].to_str().unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token", Basic realm="gimme""#);
        reply(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    // Redirected once the endpoint has its credentials, or right away.
    for redirected_at_once in [false, true] {
        let location = format!("{}/v2/app/manifests/1", other.endpoint);
        let server = Faulty::answering(move |request| {
            if redirected_at_once || request.headers().contains_key("authorization") {
                reply(307, &[("location", &location)], "")
            } else {
                reply(401, &[("www-authenticate", "Basic realm=\"r\"")], "")
            }
        })
        .await;
        let resolver = trusting(&[&server.endpoint, &other.endpoint]);
        let credentials = [credential("swordfish")];
        let found = resolver
            .resolve(&image(), &credentials, false, soon())
            .await;
        assert_eq!(found.unwrap_err().class(), Class::Unauthorized);
    }
    let asked = |seen: &Seen| {
        seen.line == "HEAD /v2/app/manifests/1" && !seen.headers.contains_key("authorization")
    };
    let seen = other.seen();
    assert!(!seen.is_empty() && seen.iter().all(asked), "{seen:?}");
}

#[tokio::test]
async fn unusable_tokens_are_errors() {
    let tokens: [(&str, &str, Class); 6] = [
        ("200", r#"{"token":"a\nAuthorization: b"}"#, Class::Invalid),
        ("200", r#"{"token":"\u0000"}"#, Class::Invalid),
        ("200", "<html>", Class::Invalid),
        ("403", r#"{"details":"go away"}"#, Class::Forbidden),
        ("404", "", Class::Invalid),
        ("503", "", Class::Unavailable),
    ];
    for (status, body, class) in tokens {
        let service = Faulty::answering(move |_| reply(status.parse().unwrap(), &[], body)).await;
        let challenge = format!(r#"Bearer realm="{}/token",service="s""#, service.endpoint);
        let server =
            Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
        let resolver = trusting(&[&server.endpoint, &service.endpoint]);
        let error = ask(&resolver).await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {body}: {error}");
        assert_eq!(
            service.lines(),
            ["GET /token?service=s&scope=repository:app:pull"]
        );
    }
}

#[tokio::test]
async fn an_oversized_token_is_not_read() {
    let long = format!(r#"{{"token":"{}"}}"#, "a".repeat(64 << 10));
    let service = Faulty::answering(move |_| reply(200, &[], long.clone())).await;
    let challenge = format!(r#"Bearer realm="{}/token""#, service.endpoint);
    let server =
        Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
    let error = ask(&trusting(&[&server.endpoint, &service.endpoint]))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
}

#[tokio::test]
async fn every_credential_is_tried_in_turn() {
    // Wants a password, and then refuses whoever has one.
    let server = Faulty::answering(|request| match request.headers().get("authorization") {
        Some(_) => reply(403, &[], ""),
        None => reply(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    })
    .await;
    let credentials = [credential("one"), credential("two")];
    let error = server
        .resolver()
        .resolve(&image(), &credentials, false, soon())
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Forbidden, "{error}");
    let basic = |seen: &Seen| {
        seen.headers
            .get("authorization")
            .cloned()
            .unwrap_or_default()
    };
    let tried: Vec<String> = server.seen().iter().map(basic).collect();
    assert_eq!(tried, ["", "Basic YWxpY2U6b25l", "", "Basic YWxpY2U6dHdv"]);

    // An entry without user name and password finds a public image after an outdated one.
    let server = Faulty::answering(|request| match request.headers().get("authorization") {
        Some(value) if value.as_bytes().starts_with(b"Basic") => {
            reply(401, &[], r#"{"details":"wrong"}"#)
        }
        Some(_) => good(),
        None if request.uri().path() == "/token" => reply(200, &[], r#"{"token":"t"}"#),
        None => {
            let host = request.headers()["host"].to_str().unwrap();
            let challenge = format!(r#"Bearer realm="http://{host}/token""#);
            reply(401, &[("www-authenticate", &challenge)], "")
        }
    })
    .await;
    let nobody = Credential {
        username: "".into(),
        ..credential("")
    };
    for (credentials, found) in [
        (&[credential("one")][..], false),
        (&[credential("one"), nobody.clone()], true),
        (&[nobody], true),
        (&[], true),
    ] {
        let resolver = server.resolver();
        let answer = resolver.resolve(&image(), credentials, false, soon()).await;
        assert_eq!(answer.ok(), found.then(digest), "{credentials:?}");
    }
}

#[tokio::test]
async fn endpoints_are_tried_in_order_and_only_on_unavailability() {
    for (status, expected) in [(503, Ok(digest())), (404, Err(Class::NotFound))] {
        let first = Faulty::answering(move |_| reply(status, &[], "")).await;
        let second = Faulty::answering(|_| good()).await;
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let mirror = format!("{}/mirror/", second.endpoint);
        let endpoints = [&*format!("http://{closed}"), &*first.endpoint, &*mirror];
        let registries = [common::entry("*.test/app", &endpoints, None)];
        let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
        assert_eq!(
            ask(&resolver).await.map_err(|error| error.class()),
            expected
        );
        if status == 503 {
            assert_eq!(second.lines(), ["HEAD /mirror/v2/app/manifests/1"]);
        } else {
            assert!(second.lines().is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_counted_names_no_host_of_an_image() {
    let server = Faulty::answering(|_| good()).await;
    let resolver = server.resolver();
    ask(&resolver).await.unwrap();
    ask(&resolver).await.unwrap();
    let image = Image {
        registry: "127.0.0.1:1".to_owned().into(),
        ..image()
    };
    resolver
        .resolve(&image, &[], false, soon())
        .await
        .unwrap_err();
    let text = metrics(&resolver);
    for line in [
        r#"surepull_registry_lookups_total{registry="registry.test",outcome="found"} 1"#,
        r#"surepull_registry_lookups_total{registry="other",outcome="refused"} 1"#,
        r#"surepull_registry_cache_requests_total{result="hit"} 1"#,
        r#"surepull_registry_cache_requests_total{result="miss"} 2"#,
        r#"surepull_registry_lookup_duration_seconds_count{registry="registry.test"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("127.0.0.1"));
}

#[tokio::test]
async fn tls_is_checked_by_the_registrys_own_ca() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&key).unwrap();
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ndocker-content-digest: {}\r\nconnection: close\r\n\r\n",
                digest()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    let resolver = |host: &str, ca| {
        let endpoint = format!("https://{host}:{port}");
        Resolver::new(
            &[common::entry("registry.test", &[&endpoint], ca)],
            &Cache::default(),
        )
    };
    assert_eq!(
        ask(&resolver("localhost", Some(path.clone())).unwrap()).await,
        Ok(digest())
    );
    for (host, ca) in [("localhost", None), ("127.0.0.1", Some(path.clone()))] {
        let error = ask(&resolver(host, ca).unwrap()).await.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    std::fs::write(&path, "nothing").unwrap();
    for unusable in [path, folder.path().join("absent")] {
        let error = resolver("localhost", Some(unusable))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("registries: match `registry.test`: ca `"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_remembered_token_that_is_no_longer_good_is_replaced() {
    let generation = Arc::new(AtomicUsize::new(1));
    let current = Arc::clone(&generation);
    let server = Faulty::answering(move |request| {
        let token = format!("t{}", current.load(Ordering::SeqCst));
        if request.uri().path() == "/token" {
            return reply(200, &[], format!(r#"{{"access_token":"{token}"}}"#));
        }
        let authorization = request.headers().get("authorization");
        if authorization
            .is_some_and(|value| value.as_bytes() == format!("Bearer {token}").as_bytes())
        {
            return good();
        }
        let host = request.headers()["host"].to_str().unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token""#);
        reply(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    let resolver = server.resolver();
    for (round, requests) in [(1, 3), (1, 4), (2, 7), (2, 8)] {
        generation.store(round, Ordering::SeqCst);
        let found = resolver.resolve(&image(), &[], true, soon()).await;
        assert_eq!(found, Ok(digest()));
        assert_eq!(server.lines().len(), requests, "{:?}", server.lines());
    }
}
