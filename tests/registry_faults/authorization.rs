//! Credentials and tokens.

use surepull::credentials::Credential;

use super::*;

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
        let is_manifest = ["HEAD", "GET"].map(|method| format!("{method} /v2/app/manifests/1"));
        is_manifest.contains(&seen.line) && !seen.headers.contains_key("authorization")
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
        let asked = "GET /token?service=s&scope=repository:app:pull";
        // What may pass is tried again.
        let times = if status == "503" { 3 } else { 1 };
        assert_eq!(service.lines(), vec![asked; times]);
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
    // By HEAD, and for the registry's words once more.
    let (one, two) = ("Basic YWxpY2U6b25l", "Basic YWxpY2U6dHdv");
    assert_eq!(tried, ["", one, one, "", two, two]);

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
    let nobody = Credential::login("", "", "test".into());
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

#[tokio::test]
async fn a_token_service_elsewhere_gets_the_password_and_the_registry_the_token() {
    let service = Faulty::answering(|_| reply(200, &[], r#"{"token":"t"}"#)).await;
    let challenge = format!(r#"Bearer realm="{}/token""#, service.endpoint);
    let server = Faulty::answering(move |request| {
        if request.headers().contains_key("authorization") {
            good()
        } else {
            reply(401, &[("www-authenticate", &challenge)], "")
        }
    })
    .await;
    let resolver = trusting(&[&server.endpoint, &service.endpoint]);
    let credentials = [credential("swordfish")];
    let found = resolver
        .resolve(&image(), &credentials, false, soon())
        .await;
    assert_eq!(found, Ok(digest()));
    let sent = |server: &Faulty| -> Vec<Option<String>> {
        let seen = server.seen();
        let sent = seen.iter();
        sent.map(|seen| seen.headers.get("authorization").cloned())
            .collect()
    };
    let basic = "Basic YWxpY2U6c3dvcmRmaXNo".to_owned();
    assert_eq!(sent(&service), [Some(basic)]);
    assert_eq!(sent(&server), [None, Some("Bearer t".to_owned())]);
}

#[tokio::test]
async fn a_realm_that_is_no_url_for_a_token_service_is_not_asked() {
    let service = Faulty::answering(|_| reply(200, &[], r#"{"token":"t"}"#)).await;
    let host = service.endpoint.trim_start_matches("http://");
    for realm in [
        format!("http://user:password@{host}/token"),
        format!("http://user@{host}/token"),
        "/token".to_owned(),
        format!("//{host}/token"),
        "file:///etc/passwd".to_owned(),
        "gopher://a/".to_owned(),
        "http://".to_owned(),
        "not a url".to_owned(),
    ] {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let server =
            Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
        let resolver = trusting(&[&server.endpoint, &service.endpoint]);
        let credentials = [credential("swordfish")];
        let answer = resolver
            .resolve(&image(), &credentials, false, soon())
            .await;
        let error = answer.unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{realm}: {error}");
        let text = error.to_string();
        assert!(text.contains("without a usable URL"), "{realm}: {text}");
        assert!(!text.contains("password"), "{text}");
    }
    assert!(service.lines().is_empty());
}
