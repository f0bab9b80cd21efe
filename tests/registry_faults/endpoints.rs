//! Several endpoints, and TLS to them.

use super::*;

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
