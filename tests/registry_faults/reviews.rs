//! Reviews over HTTPS, by the real binary, while registries do what they should not.

use std::fmt::Write as _;

use common::review::{pod, reviewed};
use common::serve::Served;
use serde_json::Value;
use tokio::net::TcpStream;

use super::hangs::{endless_headers, raw};
use super::*;

/// surepull, knowing these registries.
fn serve(registries: &[(&str, &str)]) -> Served {
    let mut text =
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nregistries:\n".to_owned();
    for (host, endpoint) in registries {
        writeln!(text, "- {{match: {host}, endpoints: ['{endpoint}']}}").unwrap();
    }
    Served::start(&text)
}

/// A body that comes without end.
fn endless(pause: Option<Duration>, chunk: usize) -> Response {
    let chunk = Bytes::from(vec![b' '; chunk]);
    let bytes = stream::repeat(chunk).then(move |chunk| async move {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => tokio::task::yield_now().await,
        }
        Ok::<_, Infallible>(chunk)
    });
    reply(200, &[], Body::from_stream(bytes))
}

#[tokio::test]
async fn a_review_is_answered_whatever_hangs() {
    let silent = raw(|stream: TcpStream| async { stream }).await;
    let challenge = format!(r#"Bearer realm="http://{silent}/token""#);
    let upstream = Faulty::answering(move |request| {
        let path = request.uri().path();
        if path.starts_with("/realm/") {
            return reply(401, &[("www-authenticate", &challenge)], "");
        }
        if request.method() == "HEAD" {
            return reply(405, &[], "");
        }
        let pause = if path.starts_with("/trickle/") {
            10
        } else {
            1_000_000_000
        };
        endless(Some(Duration::from_millis(pause)), 1)
    })
    .await;
    let at = |path: &str| format!("{}/{path}", upstream.endpoint);
    let registries = [
        ("tls.test", format!("https://{silent}")),
        ("headers.test", format!("http://{silent}")),
        ("body.test", at("body")),
        ("trickle.test", at("trickle")),
        ("realm.test", at("realm")),
    ];
    let entries: Vec<(&str, &str)> = registries
        .iter()
        .map(|(host, url)| (*host, &**url))
        .collect();
    let served = serve(&entries);
    let images: Vec<String> = entries
        .iter()
        .map(|(host, _)| format!("{host}/app:1"))
        .collect();
    let images: Vec<&str> = images.iter().map(|image| &**image).collect();
    let answer = reviewed(&served, &pod(&images), None, false).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), images.len(), "{answer}");
    let in_time = |warning: &Value| {
        let text = warning.as_str().unwrap_or_default();
        text.contains("in time (the look-up goes on in the background)")
    };
    assert!(warnings.iter().all(in_time), "{answer}");
}

#[tokio::test]
async fn what_has_no_end_takes_no_memory() {
    let headers = endless_headers().await;
    let upstream = Faulty::answering(|request| {
        let host = request.headers()["host"].to_str().unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token""#);
        match request.uri().path() {
            path if path.starts_with("/realm/") => {
                reply(401, &[("www-authenticate", &challenge)], "")
            }
            _ if request.method() == "HEAD" => reply(405, &[], ""),
            _ => endless(None, 64 << 10),
        }
    })
    .await;
    let served = serve(&[
        ("headers.test", &format!("http://{headers}")),
        ("body.test", &format!("{}/body", upstream.endpoint)),
        ("realm.test", &format!("{}/realm", upstream.endpoint)),
    ]);
    let before = peak(&served);
    let images: Vec<String> = ["headers", "body", "realm"]
        .iter()
        .flat_map(|name| (0..5).map(move |tag| format!("{name}.test/app:{tag}")))
        .collect();
    let images: Vec<&str> = images.iter().map(|image| &**image).collect();
    let unusable = |warning: &Value| {
        let text = warning.as_str().unwrap_or_default();
        ["longer than", "does not speak HTTP"]
            .iter()
            .any(|words| text.contains(words))
    };
    // The first reviews may be out of time; the look-ups go on.
    let mut answer = Value::Null;
    for _ in 0..60 {
        answer = reviewed(&served, &pod(&images), None, false).await;
        let warnings = answer["warnings"].as_array().unwrap();
        if warnings.len() == images.len() && warnings.iter().all(unusable) {
            break;
        }
    }
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(warnings.iter().all(unusable), "{answer}");
    // Fifteen bodies of at most 4 MiB, and what the allocator keeps.
    let grown = peak(&served).saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB");
    assert!(!served.log().contains("panicked"), "{}", served.log());
}

/// The most memory that the process has had, in KiB.
fn peak(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().trim().parse().unwrap()
}
