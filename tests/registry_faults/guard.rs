//! Where no look-up leads.

use super::*;

#[tokio::test]
async fn redirects_are_followed_three_times() {
    let server = Faulty::answering(|request| match request.uri().path() {
        "/v2/app/manifests/1" => reply(307, &[("location", "/a")], ""),
        "/a" => reply(302, &[("location", "b")], ""),
        "/b" => reply(301, &[("location", "/c")], ""),
        _ => good(),
    })
    .await;
    assert_eq!(ask(&resolver(&server)).await, Ok(digest()));
    let server = Faulty::answering(|request| {
        let again = request.uri().path().to_owned();
        reply(307, &[("location", &again)], "")
    })
    .await;
    let error = ask(&resolver(&server)).await.unwrap_err();
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
        let error = ask(&resolver(&server)).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{target}: {error}");

        let challenge = format!(r#"Bearer realm="{target}",service="s""#);
        let server =
            Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
        let error = ask(&resolver(&server)).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{target}: {error}");
    }
    assert!(inside.lines().is_empty(), "{:?}", inside.lines());
}

#[tokio::test]
async fn an_image_cannot_name_an_endpoint_by_its_address() {
    let server = Faulty::answering(|_| good()).await;
    let resolver = super::resolver(&server);
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
