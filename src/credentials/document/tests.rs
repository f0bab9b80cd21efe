//! Documents that Go reads in its own way.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

/// `key=username:password` of each entry, in order.
fn entries(form: Form, document: &[u8]) -> Result<Vec<String>, Malformed> {
    let document = Document::decode(form, document)?;
    Ok(document
        .entries
        .iter()
        .map(|Entry { key, login }| {
            format!(
                "{key}={}:{}",
                String::from_utf8_lossy(login.username.expose_secret()),
                String::from_utf8_lossy(login.password.expose_secret())
            )
        })
        .collect())
}

#[test]
fn config_json() {
    for (document, expected) in [
        ("{}", &[][..]),
        ("null", &[]),
        (" {\"auths\": null}\r\n\t", &[]),
        (
            r#"{"auths": {"a": {"username": "u", "password": "p"}}}"#,
            &["a=u:p"],
        ),
        (
            r#"{"AUTHS": {"a": {"USERNAME": "u", "pa\u017f\u017fword": "p"}}}"#,
            &["a=u:p"],
        ),
        (r#"{"auth": {"a": {"username": 1}}}"#, &[]),
        (r#"{"auths": {"a": null, "b": {}}}"#, &["a=:", "b=:"]),
        (
            r#"{"auths": {"a": {"identitytoken": "t", "registrytoken": 5}}}"#,
            &["a=:"],
        ),
        (
            r#"{"auths": {"a": {"username": "u", "username": "v"}}}"#,
            &["a=v:"],
        ),
        (
            r#"{"auths": {"a": {"username": "u", "username": null}}}"#,
            &["a=u:"],
        ),
        (
            r#"{"auths": {"a": {"username": "u"}, "b": {}, "a": {"password": "p"}}}"#,
            &["a=:p", "b=:"],
        ),
        (
            r#"{"auths": {"a": {}}, "Auths": {"b": {}}}"#,
            &["a=:", "b=:"],
        ),
        (
            r#"{"auths": {"a": {}}, "auths": null, "auths": {"b": {}}}"#,
            &["b=:"],
        ),
        (
            r#"{"auths": {"a": {"username": "x", "auth": "dTpw"}}}"#,
            &["a=u:p"],
        ),
        (
            r#"{"auths": {"a": {"username": "x", "auth": ""}}}"#,
            &["a=x:"],
        ),
        (
            r#"{"auths": {"a": {"username": "x", "auth": "dTpw", "auth": ""}}}"#,
            &["a=x:"],
        ),
        (
            r#"{"auths": {"a": {"auth": "dTpw", "auth": null}}}"#,
            &["a=u:p"],
        ),
        (r#"{"auths": {"a b": {"username": "u"}}}"#, &[]),
        (
            r#"{"credsStore": 5, "credHelpers": [[[{}]]], "HttpHeaders": {"a": "b", "c": null}}"#,
            &[],
        ),
        (r#"{"auths": {"\ud800": {}}}"#, &["\u{fffd}=:"]),
    ] {
        let entries = entries(Form::ConfigJson, document.as_bytes());
        assert_eq!(entries.unwrap(), expected, "{document}");
    }
}

#[test]
fn malformed_config_json() {
    for document in [
        "",
        " ",
        "[]",
        "5",
        "true",
        r#""x""#,
        "{",
        "{}}",
        "{} x",
        "{},",
        "{'auths': {}}",
        "{\"auths\": {},}",
        "\u{feff}{}",
        "nul",
        "NULL",
        r#"{"auths": []}"#,
        r#"{"auths": "x"}"#,
        r#"{"auths": {"a": []}}"#,
        r#"{"auths": {"a": "x"}}"#,
        r#"{"auths": {"a": false}}"#,
        r#"{"auths": {"a": {"username": 1}}}"#,
        r#"{"auths": {"a": {"email": {}}}}"#,
        r#"{"auths": {"a": {"auth": []}}}"#,
        r#"{"HttpHeaders": 5}"#,
        r#"{"httpheaders": {"a": 5}}"#,
        r#"{"auths": {"a": {"auth": "dTpw "}}}"#,
        r#"{"credsStore": 01}"#,
        r#"{"auths": {"a": {"auth": "!"}, "a": {}}}"#,
        r#"{"auths": {"a": {"auth": "!"}}, "auths": null}"#,
        "{\"a\": \"\n\"}",
        "{\"a\": \"\\x\"}",
    ] {
        assert!(
            entries(Form::ConfigJson, document.as_bytes()).is_err(),
            "{document}"
        );
    }
    let deep = format!(
        "{{\"credHelpers\": {}{}}}",
        "[".repeat(9000),
        "]".repeat(9000)
    );
    assert!(entries(Form::ConfigJson, deep.as_bytes()).is_ok());
}

#[test]
fn dockercfg() {
    let dockercfg = |document: &str| entries(Form::Dockercfg, document.as_bytes());
    assert_eq!(dockercfg("null").unwrap(), [""; 0]);
    assert_eq!(dockercfg(r#"{"a": {"auth": "dTpw"}}"#).unwrap(), ["a=u:p"]);
    // The other form makes a key of no use.
    assert_eq!(
        dockercfg(r#"{"auths": {"a": {"auth": "dTpw"}}}"#).unwrap(),
        ["auths=:"]
    );
    assert!(dockercfg(r#"{"a": {}, "credsStore": "x"}"#).is_err());
}

#[test]
fn auth() {
    for (auth, expected) in [
        ("dTpw", Some("u:p")),
        ("dTpwcA==", Some("u:pp")),
        ("dTpwcA", Some("u:pp")),
        ("dTpwcB", Some("u:pp")),
        ("dTpwcB==", Some("u:pp")),
        ("dTpwcA=\\n=\\r\\n", Some("u:pp")),
        ("\\ndT\\r\\npw", Some("u:p")),
        ("dTpwOnE=", Some("u:p:q")),
        ("Og==", Some(":")),
        ("Og", Some(":")),
        ("dTo=", Some("u:")),
        ("OnA=", Some(":p")),
        ("dTrDvw==", Some("u:\u{ff}")),
        ("dTpwcA=", None),
        ("dTpwcA===", None),
        ("dTpw=", None),
        ("dTpwc", None),
        ("dTpw ", None),
        (" dTpw", None),
        ("dTpwcA== ", None),
        ("dT pw", None),
        ("dXU=", None),
        ("dTo_Pz8-", None),
        ("=", None),
        ("\\n", None),
        ("\u{a0}", None),
    ] {
        let document = format!(r#"{{"a": {{"auth": "{auth}"}}}}"#);
        let entries = entries(Form::Dockercfg, document.as_bytes()).ok();
        assert_eq!(
            entries,
            expected.map(|login| vec![format!("a={login}")]),
            "{auth}"
        );
    }
    let entry = Document::decode(Form::Dockercfg, br#"{"a": {"auth": "/zr+"}}"#).unwrap();
    assert_eq!(entry.entries[0].login.username.expose_secret(), b"\xff");
    assert_eq!(entry.entries[0].login.password.expose_secret(), b"\xfe");
}

#[test]
fn secrets() {
    let document: &[u8] = br#"{"auths": {"a": {}}}"#;
    let read = |secret_type, key: &str, document| {
        Document::from_secret(secret_type, |asked| (asked == key).then_some(document))
            .map(|document| document.map(|document| document.entries.len()))
    };
    assert_eq!(
        read(
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            document
        ),
        Ok(Some(1))
    );
    assert_eq!(
        read("kubernetes.io/dockercfg", ".dockercfg", document),
        Ok(Some(1))
    );
    assert_eq!(
        read("kubernetes.io/dockercfg", ".dockerconfigjson", document),
        Ok(None)
    );
    assert_eq!(
        read("kubernetes.io/dockerconfigjson", ".dockercfg", document),
        Ok(None)
    );
    assert_eq!(
        read("kubernetes.io/dockerconfigjson", ".dockerconfigjson", b""),
        Ok(None)
    );
    assert_eq!(read("Opaque", ".dockerconfigjson", document), Ok(None));
    assert!(read("kubernetes.io/dockercfg", ".dockercfg", b" ").is_err());
}

#[test]
fn values_are_not_shown() {
    let document = br#"{"a": {"username": "u", "password": "hunter2"}}"#;
    let document = Document::decode(Form::Dockercfg, document).unwrap();
    let bytes = format!("{:?}", b"hunter2");
    let shown = format!("{document:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains(&bytes),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(document: Vec<u8>) {
        let _ = Document::decode(Form::ConfigJson, &document);
        let _ = Document::decode(Form::Dockercfg, &document);
    }

    #[test]
    fn any_entry_is_read_or_refused(key in "\\PC{0,20}|[a-z%/:@\\[\\].#?*0-9\\x00-\\x1f]{0,20}", auth in "[a-zA-Z0-9+/=\\r\\n :]{0,12}") {
        let document = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
        let _ = Document::decode(Form::ConfigJson, document.as_bytes());
    }
}
