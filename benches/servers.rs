//! The servers of the benchmark: surepull, the bare echo beside it, and a registry that knows every image.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{any, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost`, in files.
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub(crate) fn new(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let this = Self { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        fs::write(&this.certificate, made.cert.pem()).expect("a file");
        fs::write(&this.key, made.signing_key.serialize_pem()).expect("a file");
        this
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A server in a process of its own, on a processor of its own, that dies with this value.
pub(crate) struct Child {
    process: std::process::Child,
    address: String,
}

impl Child {
    pub(crate) fn echo(certificate: &Certificate) -> Self {
        let mut command = pinned(&std::env::current_exe().expect("this program"));
        command.arg("echo").arg(&certificate.certificate).arg(&certificate.key);
        Self::start(command)
    }

    pub(crate) fn surepull(certificate: &Certificate, config: &Path) -> Self {
        let mut command = pinned(Path::new(env!("CARGO_BIN_EXE_surepull")));
        command.args(["serve", "--standalone", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]);
        command.arg("--config").arg(config);
        command.arg("--tls-cert").arg(&certificate.certificate).arg("--tls-key").arg(&certificate.key);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("taskset: apt-get install util-linux");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening on https://").map(str::to_owned)
        });
        let address = listening.expect("the server says where it listens");
        // Reads on, so that the server never waits for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(program);
    command
}

/// Serves a bare axum echo over TLS until it is killed.
pub(crate) fn echo(certificate: &str, key: &str) {
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair")));
    let router: Router = Router::new().route("/mutate", post(|body: Bytes| async { body }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        println!("listening on https://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).ok();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
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
            [("docker-content-digest", digest), ("content-type", "application/vnd.oci.image.index.v1+json".to_owned())]
        };
        let router: Router = Router::new().fallback(any(answer));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, router).await.expect("a server");
            });
        });
        Self { port }
    }

    /// With `always`, so that every container gets two changes.
    pub(crate) fn configuration(&self) -> String {
        let port = self.port;
        format!(
            "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nalways: pods\n\
             registries: [{{match: registry.test, endpoints: [\"http://127.0.0.1:{port}\"]}}]\n"
        )
    }
}
