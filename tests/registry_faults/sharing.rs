//! Look-ups that are shared and remembered, and how they are counted.

use common::client::Authority;

use super::*;

#[tokio::test]
async fn a_look_up_outlives_its_waiters_and_is_remembered() {
    for (finally, found) in [(200, true), (500, false)] {
        let (server, gate) = Faulty::gated(move || match finally {
            200 => good(),
            status => reply(status, &[], ""),
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
        // What may pass is tried again.
        assert_eq!(server.lines().len(), if found { 1 } else { 3 });
    }
}

#[tokio::test]
async fn fresh_askers_share_look_ups_that_begin_after_they_asked() {
    let (server, gate) = Faulty::gated(good).await;
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
async fn connections_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.ca).unwrap();
    let tls = authority.issue().server(None);
    let server = Faulty::start_tls(tls, |request| {
        // Errors with words, and what has to be read in full, too.
        let answer = match request.uri().path() {
            "/v2/app/manifests/1" => reply(405, &[], "not HEAD"),
            _ => good(),
        };
        Box::pin(async { answer })
    })
    .await;
    let entry = common::entry("registry.test", &[&server.endpoint], Some(ca));
    let resolver = Resolver::new(&[entry], &Cache::default()).unwrap();
    for tag in ["1", "2", "3"] {
        let image = Image {
            tag: tag.into(),
            ..image()
        };
        let answer = resolver.resolve(&image, &[], false, soon()).await;
        assert_eq!(answer.is_ok(), tag != "1");
    }
    assert_eq!(server.lines().len(), 4);
    assert_eq!(server.clients().len(), 1);
}

#[tokio::test]
async fn what_a_registry_says_of_its_limit_is_a_metric() {
    let digest = digest();
    let server = Faulty::answering(move |_| {
        let headers = [
            ("docker-content-digest", digest.as_str()),
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
        ];
        reply(200, &headers, "")
    })
    .await;
    let resolver = server.resolver();
    ask(&resolver).await.unwrap();
    let text = metrics(&resolver);
    for line in [
        r#"surepull_registry_ratelimit_limit{registry="registry.test"} 100"#,
        r#"surepull_registry_ratelimit_remaining{registry="registry.test"} 76"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
