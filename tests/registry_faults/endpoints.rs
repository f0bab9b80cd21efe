//! Mirrors and endpoints in their order.

use surepull::config::Registry;

use super::*;

#[tokio::test]
async fn endpoints_are_tried_in_order_whatever_goes_wrong_at_one() {
    // Taken, so that no other test gets it, and yet nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = socket.local_addr().unwrap();
    for status in [401, 403, 404, 418, 429, 500, 503] {
        let first = Faulty::answering(move |_| reply(status, &[], "")).await;
        let second = Faulty::answering(|_| good()).await;
        let last = Faulty::answering(|_| good()).await;
        let mirror = format!("{}/mirror/", second.endpoint);
        let closed = format!("http://{closed}");
        let endpoints = [&*closed, &*first.endpoint, &*mirror, &*last.endpoint];
        let registries = [common::entry("*.test/app", &endpoints, None)];
        let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
        assert_eq!(ask(&resolver).await, Ok(digest()), "{status}");
        assert!(!first.lines().is_empty(), "{status}");
        assert_eq!(second.lines(), ["HEAD /mirror/v2/app/manifests/1"]);
        assert!(last.lines().is_empty());
    }
}

#[tokio::test]
async fn mirrors_come_before_the_endpoints_and_the_last_one_says_what_is_wrong() {
    for (mirror, origin, class) in [
        (404, 503, Class::Unavailable),
        (503, 404, Class::NotFound),
        (404, 404, Class::NotFound),
        (500, 401, Class::Unauthorized),
    ] {
        let mirror = Faulty::answering(move |_| reply(mirror, &[], "")).await;
        let origin = Faulty::answering(move |_| reply(origin, &[], "")).await;
        let registry = Registry {
            mirrors: common::urls(&[&mirror.endpoint]),
            ..common::entry("registry.test", &[&origin.endpoint], None)
        };
        let resolver = Resolver::new(&[registry], &Cache::default()).unwrap();
        let error = ask(&resolver).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(!mirror.lines().is_empty() && !origin.lines().is_empty());
    }
}

#[tokio::test]
async fn in_the_end_the_images_own_host_is_asked_and_nothing_more_is_trusted_there() {
    let mirror = Faulty::answering(|_| reply(404, &[], "")).await;
    let registry = Registry {
        pattern: "localhost:1".to_owned(),
        mirrors: common::urls(&[&mirror.endpoint]),
        ..Registry::default()
    };
    let resolver = Resolver::new(&[registry], &Cache::default()).unwrap();
    let image = Image {
        registry: "localhost:1".into(),
        ..image()
    };
    let answer = resolver.resolve(&image, &[], false, soon()).await;
    let error = answer.unwrap_err();
    // The mirror is on loopback and was asked; the origin is, too, and must be named to be asked.
    assert_eq!(error.class(), Class::Refused, "{error}");
    assert_eq!(
        mirror.lines(),
        [
            "HEAD /v2/app/manifests/1?ns=localhost:1",
            "GET /v2/app/manifests/1?ns=localhost:1"
        ]
    );
}
