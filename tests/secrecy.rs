//! Secrets wherever surepull reads any, and nowhere in what it says: log, metrics, answers, errors, audit annotations.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde_json::{Value, json};

use common::fake_api::{FakeApi, secret};
use common::serve::Served;
use common::wait_until;

const CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";
const OLD_TYPE: &str = "kubernetes.io/dockercfg";

/// What every secret of this test has in it; what follows says where it was planted.
const MARK: &str = "zqMARKqz";

fn marked(place: &str) -> String {
    format!("{MARK}{place}")
}

fn pair(place: &str) -> String {
    format!("{}:{}", marked(&format!("user{place}")), marked(place))
}

/// An entry, with a token for a user name, as some registries have it.
fn entry(place: &str) -> Value {
    json!({"auth": BASE64_STANDARD.encode(pair(place)), "identitytoken": marked("identity"), "registrytoken": marked("registry")})
}

/// The mark in all the forms in which it may come out: as it is, in base64, in hex, and as `Debug` of bytes.
fn forms() -> Vec<String> {
    let mut forms = vec![MARK.to_owned()];
    for offset in 0..3 {
        let padded = format!("{}{MARK}", &"???"[..offset]);
        let text = BASE64_STANDARD_NO_PAD.encode(padded);
        // Without the characters that depend on what stands before and after.
        let start = [0, 2, 3][offset];
        let end = text.len() - usize::from(!(offset + MARK.len()).is_multiple_of(3));
        forms.push(text[start..end].to_owned());
    }
    let debug = format!("{:?}", MARK.as_bytes());
    forms.push(debug.trim_matches(['[', ']']).to_owned());
    forms.push(hex(MARK));
    forms
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The lines of a text that have the mark, in whatever form.
fn leaks(text: &str) -> Vec<String> {
    let (text_forms, lower) = (forms(), text.to_lowercase());
    let has = |line: &str| {
        text_forms.iter().any(|form| line.contains(form)) || line.contains(&MARK.to_lowercase())
    };
    let lines = text.lines().chain(lower.lines()).filter(|line| has(line));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_mark_is_found_in_every_form() {
    for offset in 0..5 {
        let text = format!("{}{}", "u".repeat(offset), marked("x"));
        for form in [
            text.clone(),
            text.to_lowercase(),
            BASE64_STANDARD.encode(&text),
            format!("{:?}", text.as_bytes()),
            hex(&text),
        ] {
            assert!(!leaks(&format!("a\nb {form} c")).is_empty(), "{form}");
        }
    }
    assert!(leaks(&BASE64_STANDARD.encode("MARK my words")).is_empty());
}

/// A registry that does with secrets what it should not: it says them, and sends others. Notes what it is shown.
async fn registry() -> (String, Arc<Mutex<BTreeSet<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let shown = Arc::new(Mutex::new(BTreeSet::new()));
    let (own, seen) = (host.clone(), Arc::clone(&shown));
    let routes = axum::Router::new().fallback(move |request: Request| {
        let response = answer(&own, &request, &seen);
        async move { response }
    });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{host}"), shown)
}

fn answer(host: &str, request: &Request, seen: &Mutex<BTreeSet<String>>) -> Response {
    let header = request.headers().get("authorization");
    let sent = header.map(|value| value.to_str().unwrap().to_owned());
    let plain = sent.as_deref().and_then(|sent| sent.strip_prefix("Basic "));
    let plain =
        plain.map(|basic| String::from_utf8(BASE64_STANDARD.decode(basic).unwrap()).unwrap());
    seen.lock().unwrap().extend(plain.clone().or(sent.clone()));
    let path = request.uri().path();
    let challenge = |challenge: String| {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
    };
    let login = plain.as_deref().and_then(|pair| pair.split_once(':'));
    let username = login.map(|(username, _)| username.to_owned());
    let password = login.map(|(_, password)| password.to_owned());
    let words = |words: Option<String>| {
        json!({"errors": [{"code": "DENIED", "message": words}]}).to_string()
    };
    let find = |kind: &str| path.contains(&format!("/{kind}/"));
    let realm = |of: &str| {
        challenge(format!(
            r#"Bearer realm="http://{host}/token/{of}",service="s""#
        ))
    };
    match (&sent, path.strip_prefix("/token/")) {
        (_, Some("good")) => json!({"token": marked("token")})
            .to_string()
            .into_response(),
        (_, Some("newline")) => json!({"token": format!("{}\nx", marked("token"))})
            .to_string()
            .into_response(),
        (_, Some("text")) => marked("token").into_response(),
        (_, Some(_)) => (
            StatusCode::UNAUTHORIZED,
            json!({"details": sent}).to_string(),
        )
            .into_response(),
        (None, _) if find("bearer") || find("token") => realm("good"),
        (None, _) if find("newline") => realm("newline"),
        (None, _) if find("text") => realm("text"),
        (None, _) if find("refused") => realm("refused"),
        (None, _) if find("userinfo") => challenge(format!(
            r#"Bearer realm="http://u:{}@{host}/token/good""#,
            marked("realm")
        )),
        (_, _) if find("redirect") => {
            let location = format!(
                "http://u:{}@{host}/?token={}",
                marked("location"),
                marked("location")
            );
            (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response()
        }
        (None, _) => challenge("Basic realm=\"r\"".to_owned()),
        // Only an answer to GET has words.
        (Some(_), _) if find("header") => (StatusCode::NOT_FOUND, words(sent)).into_response(),
        (Some(_), _) if find("password") => {
            (StatusCode::NOT_FOUND, words(password)).into_response()
        }
        (Some(_), _) if find("shouted") => {
            let shouted = password.map(|password| password.to_uppercase());
            (StatusCode::FORBIDDEN, words(shouted)).into_response()
        }
        (Some(_), _) if find("username") => {
            (StatusCode::NOT_FOUND, words(username)).into_response()
        }
        (Some(_), _) if find("harmless") => {
            let harmless = Some("no such thing".to_owned());
            (StatusCode::NOT_FOUND, words(harmless)).into_response()
        }
        (Some(_), _) if find("token") => (StatusCode::UNAUTHORIZED, words(sent)).into_response(),
        (Some(_), _) => {
            let digest = format!("sha256:{}", "a".repeat(64));
            let media_type = "application/vnd.oci.image.index.v1+json".to_owned();
            (
                StatusCode::OK,
                [
                    ("docker-content-digest", digest),
                    ("content-type", media_type),
                ],
            )
                .into_response()
        }
    }
}

/// Pull secrets of both kinds, good and broken in every way, each with the mark, and the names of them all.
fn plant(api: &FakeApi) -> Vec<&'static str> {
    let config =
        |auths: Value| json!({"auths": auths, "credHelpers": {"x": marked("helper")}}).to_string();
    let secrets = [
        (
            "config",
            CONFIG_TYPE,
            config(json!({"registry.test": entry("config")})),
        ),
        (
            "old",
            OLD_TYPE,
            json!({"registry.test": {"username": marked("userold"), "password": marked("old")}})
                .to_string(),
        ),
        (
            "userinfo",
            CONFIG_TYPE,
            config(json!({format!("u:{}@*.tes?", marked("key")): entry("key")})),
        ),
        (
            "elsewhere",
            CONFIG_TYPE,
            config(json!({"other.test": entry("elsewhere")})),
        ),
        (
            "escaped",
            CONFIG_TYPE,
            config(
                json!({"registry.test": {"username": "u", "password": format!("\"\\é/{}", marked("escaped"))}}),
            ),
        ),
        (
            "slash",
            CONFIG_TYPE,
            config(
                json!({format!("https://u:1/{}@registry.test", marked("key")): {"auth": marked("-")}}),
            ),
        ),
        ("no-json", CONFIG_TYPE, marked("nojson")),
        (
            "no-type",
            CONFIG_TYPE,
            config(json!({"registry.test": marked("notype")})),
        ),
        (
            "no-base64",
            CONFIG_TYPE,
            config(json!({format!("u:{}@registry.test", marked("key")): {"auth": marked("-")}})),
        ),
        (
            "no-colon",
            OLD_TYPE,
            json!({"registry.test": {"auth": BASE64_STANDARD.encode(marked("nocolon"))}})
                .to_string(),
        ),
        ("opaque", "Opaque", marked("opaque")),
    ];
    for (name, kind, document) in &secrets {
        let key = if *kind == OLD_TYPE {
            ".dockercfg"
        } else {
            ".dockerconfigjson"
        };
        api.reply(
            &format!("/api/v1/namespaces/ns/secrets/{name}"),
            secret(kind, &[(key, document)]),
        );
    }
    let names: Vec<_> = secrets.iter().map(|(name, ..)| *name).collect();
    api.set_account("ns", "default", &names);
    names
}

/// Reviews of Pods with every kind of image, each pull secret alone and all together: the answers, decoded.
async fn reviews(served: &Served, names: &[&str]) -> String {
    let mut said = String::new();
    let mut lists: Vec<Vec<&str>> = names.iter().map(|name| vec![*name]).collect();
    lists.push(names.to_vec());
    lists.push(Vec::new());
    for list in lists {
        let secrets: Vec<_> = list.iter().map(|name| json!({"name": name})).collect();
        let kinds = [
            "good", "bearer", "newline", "text", "refused", "userinfo", "redirect", "header",
            "password", "token", "shouted", "username", "harmless",
        ];
        let containers: Vec<_> = kinds
            .iter()
            .map(|kind| json!({"name": kind, "image": format!("registry.test/{kind}/app:1")}))
            .collect();
        // Another Pod for each image: only so many warnings fit into one answer.
        for container in &containers {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"imagePullSecrets": secrets, "containers": [container]}});
            let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                "uid": "u", "operation": "CREATE", "namespace": "ns", "object": pod, "oldObject": null,
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
            }});
            for path in ["/mutate?timeout=30s", "/validate?timeout=30s"] {
                let (status, body) = served.post(path, review.to_string()).await;
                assert_eq!(status, 200);
                let answer: Value = serde_json::from_slice(&body).unwrap();
                let patch = answer["response"]["patch"].as_str().unwrap_or_default();
                let patch = BASE64_STANDARD.decode(patch).unwrap();
                writeln!(said, "{answer:#}\n{}", String::from_utf8(patch).unwrap()).unwrap();
            }
        }
    }
    said
}

/// Credential providers that say in every way what they should not; the value of the setting.
fn providers(folder: &Path) -> Value {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let answer = json!({
        "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Image",
        "auth": {"registry.test": {"username": "u", "password": marked("provider")}},
    });
    let scripts = [
        format!(
            "echo {} >&2; echo {}; exit 1",
            marked("stderr"),
            marked("stdout")
        ),
        format!("echo {}", marked("stdout")),
        format!("echo $SECRET >&2; echo '{answer}'"),
    ];
    for (index, script) in scripts.iter().enumerate() {
        let name = format!("provider{index}");
        let provider = json!({
            "name": name, "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["*.test"],
            "defaultCacheDuration": "0s", "args": ["-c", script], "env": [{"name": "SECRET", "value": marked("env")}],
        });
        symlink("/bin/sh", bin.join(&name)).unwrap();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [provider],
        });
        fs::write(bin.join(format!("{index}.json")), config.to_string()).unwrap();
    }
    json!({"config": bin, "binDir": bin})
}

fn configuration(endpoint: &str, file: &Path, more: &str) -> String {
    format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nregistries: [{{match: registry.test, endpoints: ['{endpoint}']}}]\n\
         extraPullSecrets: [config, elsewhere, no-json, missing]\ncache: {{ttl: 0s, negativeTtl: 0s}}\n\
         credentials: {{dockerConfig: ['{}']{more}\n",
        file.display()
    )
}

/// Has another configuration read.
async fn reload(served: &Served, configuration: &str, result: &str) {
    let name = format!("surepull_reloads_total{{what=\"configuration\",result=\"{result}\"}}");
    let before = served.metric(&name).await;
    fs::write(served.folder().join("surepull.yaml"), configuration).unwrap();
    served.hang_up();
    wait_until(async || served.metric(&name).await != before).await;
}

#[tokio::test]
async fn no_secret_is_ever_said() {
    let (endpoint, shown) = registry().await;
    let api = FakeApi::start().await;
    let names = plant(&api);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let document = json!({"auths": {"registry.test": entry("file"), "*.tes[t]": entry("file")}});
    fs::write(&file, document.to_string()).unwrap();
    let kubeconfig = api.kubeconfig(folder.path());
    let text = fs::read_to_string(&kubeconfig).unwrap();
    fs::write(&kubeconfig, text.replace("a-token", &marked("kubeconfig"))).unwrap();

    let first = configuration(&endpoint, &file, "}");
    let served = Served::start_tracing_in(&kubeconfig, &first);
    let mut said = reviews(&served, &names).await;
    // Other rules, and then what cannot be used.
    let url = format!("https://u:{}@registry.test", marked("endpoint"));
    for (more, result) in [
        (
            ", patterns: documented}\npullSecrets: matching\nmode: audit",
            "success",
        ),
        (
            ", anonymousFallback: false, skipBrokenPullSecrets: false}",
            "success",
        ),
        (", identityTokens: true}", "success"),
        (
            &*format!(", providers: {}}}", providers(folder.path())),
            "success",
        ),
        (&*format!(", patternz: {}}}", marked("value")), "failure"),
        (
            &*format!("}}\ncustomResources: [{{endpoints: ['{url}']}}]"),
            "failure",
        ),
    ] {
        let text = configuration(&endpoint, &file, more);
        reload(&served, &text, result).await;
        said += &reviews(&served, &names).await;
    }
    let text = configuration(&endpoint, &file, "}").replace(&endpoint, &url);
    reload(&served, &text, "failure").await;
    let broken = format!(r#"{{"auths": {{"registry.test": "{}"}}}}"#, marked("file"));
    fs::write(&file, broken).unwrap();
    reload(&served, &first, "failure").await;
    assert!(served.log().contains("is not a docker configuration"));
    said += &served.ops("/metrics").await.text();
    said += &served.ops("/readyz").await.text();
    let check = Command::new(env!("CARGO_BIN_EXE_surepull"))
        .args(["config", "check"])
        .arg(served.folder().join("surepull.yaml"))
        .output()
        .unwrap();
    writeln!(said, "{check:?}").unwrap();
    said += &served.log();

    // The secrets were where they should be.
    let shown = shown.lock().unwrap().clone();
    assert!(shown.contains(&format!("u:{}", marked("provider"))));
    for pair in ["config", "old", "file"].map(pair) {
        assert!(shown.contains(&pair), "{pair} of {shown:?}");
    }
    assert!(shown.contains(&format!("Bearer {}", marked("token"))));
    for part in [
        "TRACE",
        "is not pinned",
        "could not be read",
        "kubectl create secret",
        "would set",
        "(DENIED: no such thing)",
        "surepull_registry_lookups",
        // What the files' owner should know is in the log.
        "WARN surepull::cli::serve::configuration: entry \"*.tes[t]\" of file",
        "WARN surepull::pipeline::look_up: entry \"*.tes[t]\" of file",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert_eq!(leaks(&said), [""; 0]);
    let key = fs::read_to_string(&served.authority.key).unwrap();
    let key: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(!key.is_empty() && !key.iter().any(|line| said.contains(line)));
}
