//! What is taken for a digest, and what is not.

use std::fmt::Write as _;

use surepull::config::Configuration;

use super::*;

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
        (403, Class::Forbidden, 2),
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
    let bodies: [(&str, Get); 8] = [
        ("not a manifest", || {
            reply(200, &[("content-type", OCI_INDEX)], "<html>log in</html>")
        }),
        ("not a manifest", || {
            reply(200, &[("content-type", OCI_INDEX)], &MANIFEST[..20])
        }),
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
async fn schema_1_is_refused_by_the_first_answer() {
    let server = Faulty::answering(|_| {
        let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let digest = digest();
        reply(
            200,
            &[
                ("content-type", media_type),
                ("docker-content-digest", digest.as_str()),
            ],
            "",
        )
    })
    .await;
    let error = ask(&server.resolver()).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
    assert!(error.to_string().contains("schema 1"), "{error}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_registry_may_use_sha512() {
    let sha512 = sha512();
    for head_suffices in [true, false] {
        let named = sha512.clone();
        let server = Faulty::answering(move |request| {
            if request.method() == "HEAD" && !head_suffices {
                return reply(405, &[], "");
            }
            reply(200, &[("docker-content-digest", &named)], MANIFEST)
        })
        .await;
        let found = ask(&server.resolver()).await.unwrap();
        assert_eq!(found.as_str(), sha512);
    }
}

/// The digest of [`MANIFEST`] by SHA-512.
fn sha512() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA512, MANIFEST.as_bytes());
    let mut text = "sha512:".to_owned();
    for byte in hash.as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[tokio::test]
async fn a_digest_can_be_verified() {
    type ByDigest = fn() -> Response;
    let cases: [(Option<&str>, Class, ByDigest); 7] = [
        (None, Class::Invalid, || reply(200, &[], MANIFEST)),
        (Some("does not have it"), Class::Invalid, || {
            reply(404, &[], "")
        }),
        (Some("another digest"), Class::Invalid, || {
            reply(200, &[], r#"{"schemaVersion":2,"config":{},"layers":[]}"#)
        }),
        (Some("not a manifest"), Class::Invalid, || {
            reply(200, &[], "<html>")
        }),
        (Some("longer than"), Class::Invalid, || {
            reply(200, &[], vec![b' '; (4 << 20) + 1])
        }),
        (Some("too many"), Class::RateLimited, || reply(429, &[], "")),
        (Some("status 503"), Class::Unavailable, || {
            reply(503, &[], "")
        }),
    ];
    for named in [digest().to_string(), sha512()] {
        for (words, class, by_digest) in cases {
            let (path, header) = (format!("/v2/app/manifests/{named}"), named.clone());
            let server = Faulty::answering(move |request| {
                if request.uri().path() == path {
                    return by_digest();
                }
                reply(200, &[("docker-content-digest", &header)], MANIFEST)
            })
            .await;
            let answer = ask(&verifying(&server)).await;
            match words {
                None => assert_eq!(answer.unwrap().as_str(), named),
                Some(words) => {
                    let error = answer.unwrap_err();
                    assert_eq!(error.class(), class, "{error}");
                    assert!(error.to_string().contains(words), "{words}: {error}");
                }
            }
            let lines = server.lines();
            assert_eq!(lines[0], "HEAD /v2/app/manifests/1");
            assert_eq!(lines[1], format!("GET /v2/app/manifests/{named}"));
            // What may pass is tried again.
            let times = if class == Class::Unavailable { 3 } else { 1 };
            assert_eq!(lines.len(), 2 * times);
        }
    }
}

/// A resolver that verifies.
fn verifying(server: &Faulty) -> Resolver {
    let mut configuration = Configuration {
        registries: vec![common::entry("registry.test", &[&server.endpoint], None)],
        ..Configuration::default()
    };
    configuration.settings.pin.verify = true;
    common::configured(&configuration)
}
