//! Where no look-up leads.

use common::client::Authority;
use surepull::config::{Cidr, Configuration, Network, Registry};

use super::*;

fn networks(networks: &[&str]) -> Vec<Cidr> {
    let network = |text: &&str| Cidr::try_from((*text).to_owned()).unwrap();
    networks.iter().map(network).collect()
}

fn configured(registries: &[Registry], network: Network) -> Resolver {
    let configuration = Configuration {
        registries: registries.to_vec(),
        network,
        ..Configuration::default()
    };
    common::configured(&configuration)
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
async fn an_allowed_network_may_be_led_to() {
    let inside = Faulty::answering(|_| good()).await;
    let location = format!("{}/v2/app/manifests/1", inside.endpoint);
    let server = Faulty::answering(move |_| reply(307, &[("location", &location)], "")).await;
    let entry = common::entry("registry.test", &[&server.endpoint], None);
    for (allowed, class) in [
        (&["10.0.0.0/8", "::1"][..], Some(Class::Refused)),
        (&["127.0.0.0/8"], None),
    ] {
        let network = Network {
            allow_addresses: networks(allowed),
            ..Network::default()
        };
        let answer = ask(&configured(std::slice::from_ref(&entry), network)).await;
        assert_eq!(
            answer.err().map(|error| error.class()),
            class,
            "{allowed:?}"
        );
    }
    assert_eq!(inside.lines(), ["HEAD /v2/app/manifests/1"]);
}

#[tokio::test]
async fn what_is_allowed_by_a_registrys_pattern_is_not_for_where_it_leads() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.ca).unwrap();
    let tls = authority.issue().server(None);
    let server = Faulty::start_tls(tls, |_| Box::pin(async { good() })).await;
    let location = server.endpoint.replace("localhost", "127.0.0.1");
    let leading = Faulty::start_tls(authority.issue().server(None), move |_| {
        let answer = reply(307, &[("location", &location)], "");
        Box::pin(async { answer })
    })
    .await;
    for (server, allowed, class) in [
        (&server, &["127.0.0.1", "::1"][..], None),
        (&server, &[], Some(Class::Refused)),
        (&leading, &["127.0.0.1", "::1"], Some(Class::Refused)),
    ] {
        let host = server.endpoint.trim_start_matches("https://");
        let registry = Registry {
            pattern: host.to_owned(),
            ca: Some(ca.clone()),
            allow_addresses: networks(allowed),
            ..Registry::default()
        };
        let image = Image {
            registry: host.to_owned().into(),
            ..image()
        };
        let resolver = configured(&[registry], Network::default());
        let answer = resolver.resolve(&image, &[], false, soon()).await;
        let found = answer.as_ref().err().map(|error| error.class());
        assert_eq!(found, class, "{allowed:?} {answer:?}");
    }
    assert_eq!((leading.lines().len(), server.lines().len()), (1, 1));
}

#[tokio::test]
async fn a_registry_that_is_not_allowed_is_not_asked() {
    let server = Faulty::answering(|_| good()).await;
    let entry = common::entry("registry.test", &[&server.endpoint], None);
    let list = |pattern: &str| vec![pattern.to_owned()];
    for (allow, deny, words) in [
        (
            vec![],
            list("registry.test"),
            "denyRegistries has `registry.test`",
        ),
        (
            list("registry.test"),
            list("registry.test/app"),
            "denyRegistries has `registry.test/app`",
        ),
        (
            list("registry.test/other"),
            vec![],
            "allowRegistries does not have it",
        ),
    ] {
        let network = Network {
            allow_registries: allow,
            deny_registries: deny,
            ..Network::default()
        };
        let resolver = configured(std::slice::from_ref(&entry), network);
        let credentials = [credential("swordfish")];
        let answer = resolver
            .resolve(&image(), &credentials, false, soon())
            .await;
        let error = answer.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    assert!(server.lines().is_empty());
}
