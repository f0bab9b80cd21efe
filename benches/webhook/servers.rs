//! The servers beside surepull: a bare echo, and a registry that knows every image.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{any, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::common::client::Authority;

/// The echo in a process of its own; it ends with this value.
pub(crate) struct Echo {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Echo {
    pub(crate) fn start(authority: &Authority) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .arg("echo")
            .arg(&authority.certificate)
            .arg(&authority.key);
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the echo says where it listens");
        Self {
            process,
            address: line.trim().parse().expect("an address"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Serves a bare axum echo over TLS until it is killed.
pub(crate) fn echo(certificate: &str, key: &str) {
    let chain = CertificateDer::pem_file_iter(certificate)
        .expect("certificates")
        .collect::<Result<_, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS");
    let acceptor = TlsAcceptor::from(Arc::new(
        builder
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair"),
    ));
    let router: Router = Router::new().route("/mutate", post(|body: Bytes| async { body }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).ok();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
}

/// A registry in this process, over plain HTTP, in which every tag has the same digest.
pub(crate) struct StubRegistry {
    port: u16,
}

impl StubRegistry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a socket");
        let digest = format!("sha256:{}", "2d711642b726b044".repeat(4));
        let answer = move || async move {
            [
                ("docker-content-digest", digest),
                (
                    "content-type",
                    "application/vnd.oci.image.index.v1+json".to_owned(),
                ),
            ]
        };
        let router: Router = Router::new().fallback(any(answer));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, router).await.expect("a server");
            });
        });
        Self { port }
    }

    /// The default configuration, with this registry.
    pub(crate) fn configuration(&self) -> String {
        let port = self.port;
        format!(
            "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
             registries: [{{match: registry.test, endpoints: [\"http://127.0.0.1:{port}\"]}}]\n"
        )
    }
}
