//! A real registry for tests, demo and benchmark: the distribution project's, as `make assets` builds it, on loopback,
//! filled by `oci-client`. It ends when it is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http::HeaderValue;
use oci_client::client::{
    Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer,
};
use oci_client::manifest::{
    IMAGE_DOCKER_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry,
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex, OciImageManifest, Platform,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use rustls::ServerConfig;
use tempfile::TempDir;

use super::child;
use super::client::Authority;
use super::token_service::{ISSUER, SERVICE, TokenService};

/// The user that registries with authorization know.
pub const USERNAME: &str = "alice";
/// And the password.
pub const PASSWORD: &str = "correct horse";

/// `alice` and `correct horse`, bcrypt.
const HTPASSWD: &str = "alice:$2a$05$1K2DDx70JVRTcS481W268edEZB6TZkgoSWaDw.ue9yP.MSDdCGxEG\n";

/// How a registry is configured to want a user of the file `htpasswd`.
const BASIC_AUTH: &str = "auth:\n  htpasswd:\n    realm: tests\n    path: FOLDER/htpasswd\n";

/// The password of every user in `examples`, and its bcrypt.
const EXAMPLE_PASSWORD: (&str, &str) = (
    "change-me",
    "$2a$05$1K2DDx70JVRTcS481W268eMEtSDDJXDWJEqrzloPDytxrx1DE8Qm6",
);

/// How long a registry may take to answer for the first time; far more than it needs.
const START_LIMIT: Duration = Duration::from_mins(1);

/// The one layer of an image, and its configuration.
pub struct Image {
    pub layer: Vec<u8>,
    pub config: serde_json::Value,
}

/// A running registry.
pub struct TestRegistry {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    auth: RegistryAuth,
    tokens: Option<TokenService>,
    /// Who signed its certificate, where it has one.
    authority: Option<Authority>,
}

/// How a registry wants to be convinced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic,
    /// By a token service with TLS, where the registry has it.
    Token,
    /// By a token service without TLS.
    TokenInClear,
}

/// Where a registry keeps its files, and who signs its certificate, where it has one.
struct Home {
    folder: TempDir,
    authority: Option<Authority>,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority: None,
        }
    }

    fn with_tls() -> Self {
        let home = Self::new();
        Self {
            authority: Some(Authority::new(home.folder.path())),
            ..home
        }
    }
}

impl TestRegistry {
    /// A registry that is open to everybody.
    pub fn start() -> Self {
        Self::with_config("", RegistryAuth::Anonymous)
    }

    /// A registry that wants [`USERNAME`] and [`PASSWORD`] by Basic authentication.
    pub fn with_basic_auth() -> Self {
        Self::with_config(BASIC_AUTH, user())
    }

    /// A registry that wants this user by Basic authentication, with the password of the examples.
    pub fn with_user(username: &str) -> Self {
        let (password, hash) = EXAMPLE_PASSWORD;
        let auth = RegistryAuth::Basic(username.to_owned(), password.to_owned());
        let htpasswd = format!("{username}:{hash}\n");
        Self::with_files(BASIC_AUTH, auth, &[("htpasswd", &htpasswd)], Home::new())
    }

    /// A registry over HTTPS, with a certificate of an authority of its own.
    pub async fn with_tls(auth: Auth) -> Self {
        let home = Home::with_tls();
        match auth {
            Auth::None => Self::with_files("", RegistryAuth::Anonymous, &[], home),
            Auth::Basic => Self::with_files(BASIC_AUTH, user(), &[], home),
            Auth::Token => {
                let tls = home
                    .authority
                    .as_ref()
                    .map(|authority| authority.issue().server(None));
                Self::with_tokens(home, tls).await
            }
            Auth::TokenInClear => Self::with_tokens(home, None).await,
        }
    }

    /// A registry that wants a token of a token service that knows [`USERNAME`] and [`PASSWORD`]. The service runs on
    /// the current tokio runtime.
    pub async fn with_token_auth() -> Self {
        Self::with_tokens(Home::new(), None).await
    }

    async fn with_tokens(home: Home, tls: Option<ServerConfig>) -> Self {
        let tokens = TokenService::start(USERNAME, PASSWORD, tls).await;
        let (realm, service, issuer) = (&tokens.realm, SERVICE, ISSUER);
        let config = format!(
            "auth:\n  token:\n    realm: {realm}\n    service: {service}\n    issuer: {issuer}\n    jwks: FOLDER/jwks.json\n    signingalgorithms: [ES256]\n"
        );
        let jwks = tokens.jwks().to_string();
        let mut registry = Self::with_files(&config, user(), &[("jwks.json", &jwks)], home);
        registry.tokens = Some(tokens);
        registry
    }

    /// Lets one more user in, as in [`Self::with_user`].
    pub fn admit(&self, username: &str) {
        let path = self.folder.path().join("htpasswd");
        let known = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{known}{username}:{}\n", EXAMPLE_PASSWORD.1)).unwrap();
    }

    fn with_config(auth_config: &str, auth: RegistryAuth) -> Self {
        Self::with_files(auth_config, auth, &[], Home::new())
    }

    fn with_files(
        auth_config: &str,
        auth: RegistryAuth,
        files: &[(&str, &str)],
        home: Home,
    ) -> Self {
        let Home { folder, authority } = home;
        let binary = super::assets::program("registry");
        // oci-client's HTTP client wants a default; the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (name, text) in [("htpasswd", HTPASSWD)].iter().chain(files) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        // Nested below `http`, which comes last before this.
        let config = if authority.is_some() {
            format!(
                "  tls:\n    certificate: FOLDER/tls.crt\n    key: FOLDER/tls.key\n{auth_config}"
            )
        } else {
            auth_config.to_owned()
        };
        // The port is free when it is taken from the system, and may be gone when the registry wants it.
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let mut child = spawn(&binary, folder.path(), &config, address);
            if answers(&mut child, address) {
                return Self {
                    child,
                    address,
                    folder,
                    auth,
                    tokens: None,
                    authority,
                };
            }
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("the registry does not start:\n{log}");
    }

    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`, as the configuration names an endpoint.
    pub fn endpoint(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// A PEM file with the authority of its certificate, where it has one.
    pub fn ca(&self) -> Option<PathBuf> {
        let authority = self.authority.as_ref()?;
        let path = self.folder.path().join("ca.pem");
        fs::write(&path, &authority.ca).unwrap();
        Some(path)
    }

    /// `127.0.0.1:PORT`, as an image would name the registry.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The token service, where there is one.
    pub fn tokens(&self) -> Option<&TokenService> {
        self.tokens.as_ref()
    }

    /// What the registry has logged so far, one line a request among others.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How many requests for manifests of a repository the registry has logged so far. It logs a request after it has
    /// answered: wait for a number rather than expect it.
    pub fn manifest_requests(&self, method: &str, repository: &str) -> usize {
        let request = format!("\"{method} /v2/{repository}/manifests/");
        self.log()
            .lines()
            .filter(|line| line.contains(&request))
            .count()
    }

    /// Pushes an image for one platform; gives its digest. The same names make the same image.
    pub async fn push_manifest(&self, repository: &str, tag: &str) -> String {
        let image = Image::text(repository, tag, "amd64");
        let (digest, _) = self.push_platform(repository, tag, image).await;
        digest
    }

    /// Pushes an index of images for linux/amd64 and linux/arm64; gives the digest of the index.
    pub async fn push_index(&self, repository: &str, tag: &str) -> String {
        let image = |architecture: &_| Image::text(repository, tag, architecture);
        self.push_index_of(repository, tag, image).await
    }

    /// The same of other images, by their architecture.
    pub async fn push_index_of(
        &self,
        repository: &str,
        tag: &str,
        image: impl Fn(&str) -> Image,
    ) -> String {
        let mut manifests = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let platform_tag = format!("{tag}-{architecture}");
            let (digest, size) = self
                .push_platform(repository, &platform_tag, image(architecture))
                .await;
            manifests.push(ImageIndexEntry {
                media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
                digest,
                size,
                platform: Some(Platform {
                    architecture: architecture.into(),
                    os: "linux".into(),
                    os_version: None,
                    os_features: None,
                    variant: None,
                    features: None,
                }),
                annotations: None,
                artifact_type: None,
            });
        }
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests,
            artifact_type: None,
            annotations: None,
        };
        let (client, reference) = (self.client(), self.reference(repository, tag));
        client
            .auth(&reference, &self.auth, oci_client::RegistryOperation::Push)
            .await
            .unwrap();
        client
            .push_manifest_list(&reference, &self.auth, index)
            .await
            .unwrap();
        self.digest(repository, tag).await
    }

    /// Pushes the same as Docker's tools did before OCI: a manifest list of one schema 2 manifest, and that manifest
    /// under the tag with `-amd64` behind it; gives the digests of list and manifest.
    pub async fn push_docker(&self, repository: &str, tag: &str) -> (String, String) {
        let (list_type, manifest_type) =
            (IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE);
        let (client, single_tag) = (self.client(), format!("{tag}-amd64"));
        let image = Image::text(repository, tag, "amd64");
        self.push_platform(repository, &single_tag, image).await;
        let single = self.reference(repository, &single_tag);
        let (oci, _) = client
            .pull_manifest_raw(&single, &self.auth, &[OCI_IMAGE_MEDIA_TYPE])
            .await
            .unwrap();
        let mut manifest: serde_json::Value = serde_json::from_slice(&oci).unwrap();
        manifest["mediaType"] = manifest_type.into();
        manifest["config"]["mediaType"] = IMAGE_DOCKER_CONFIG_MEDIA_TYPE.into();
        manifest["layers"][0]["mediaType"] = IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE.into();
        let manifest = manifest.to_string();
        client
            .auth(&single, &self.auth, oci_client::RegistryOperation::Push)
            .await
            .unwrap();
        let size = manifest.len();
        let content_type = HeaderValue::from_static(manifest_type);
        client
            .push_manifest_raw(&single, manifest, content_type)
            .await
            .unwrap();
        let manifest_digest = self.digest(repository, &single_tag).await;
        let list = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": list_type,
            "manifests": [{
                "mediaType": manifest_type, "digest": manifest_digest, "size": size,
                "platform": {"architecture": "amd64", "os": "linux"},
            }],
        });
        let content_type = HeaderValue::from_static(list_type);
        client
            .push_manifest_raw(
                &self.reference(repository, tag),
                list.to_string(),
                content_type,
            )
            .await
            .unwrap();
        (self.digest(repository, tag).await, manifest_digest)
    }

    /// The digest that `oci-client`, an independent client, finds.
    pub async fn digest(&self, repository: &str, tag: &str) -> String {
        let reference = self.reference(repository, tag);
        self.client()
            .fetch_manifest_digest(&reference, &self.auth)
            .await
            .unwrap()
    }

    async fn push_platform(&self, repository: &str, tag: &str, image: Image) -> (String, i64) {
        let layer = ImageLayer::oci_v1(image.layer, None);
        let config = Config::oci_v1(image.config.to_string().into_bytes(), None);
        let manifest = OciImageManifest::build(std::slice::from_ref(&layer), &config, None);
        let (client, reference) = (self.client(), self.reference(repository, tag));
        client
            .push(&reference, &[layer], config, &self.auth, Some(manifest))
            .await
            .unwrap();
        let (raw, digest) = client
            .pull_manifest_raw(&reference, &self.auth, &[OCI_IMAGE_MEDIA_TYPE])
            .await
            .unwrap();
        (digest, i64::try_from(raw.len()).unwrap())
    }

    /// One for each use: `oci-client` keeps the first credentials of a host.
    fn client(&self) -> Client {
        let (protocol, roots) = match &self.authority {
            None => (ClientProtocol::Http, Vec::new()),
            Some(authority) => {
                let encoding = CertificateEncoding::Pem;
                let data = authority.ca.clone().into_bytes();
                (ClientProtocol::Https, vec![Certificate { encoding, data }])
            }
        };
        Client::try_from(ClientConfig {
            protocol,
            extra_root_certificates: roots,
            ..ClientConfig::default()
        })
        .unwrap()
    }

    fn reference(&self, repository: &str, tag: &str) -> Reference {
        Reference::with_tag(self.host(), repository.to_owned(), tag.to_owned())
    }
}

impl Image {
    /// One that holds only its name, and does not run.
    fn text(repository: &str, tag: &str, architecture: &str) -> Self {
        Self {
            layer: format!("{repository}:{tag} for {architecture}").into_bytes(),
            config: serde_json::json!({
                "architecture": architecture, "os": "linux", "config": {},
                "rootfs": {"type": "layers", "diff_ids": []},
            }),
        }
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user() -> RegistryAuth {
    RegistryAuth::Basic(USERNAME.to_owned(), PASSWORD.to_owned())
}

fn spawn(binary: &Path, folder: &Path, auth_config: &str, address: SocketAddr) -> Child {
    let config = format!(
        "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/data\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n{auth_config}"
    );
    let path = folder.join("config.yml");
    fs::write(&path, config.replace("FOLDER", folder.to_str().unwrap())).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = child::bound(binary);
    command
        .arg("serve")
        .arg(path)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    child::spawn(&mut command)
}

/// Waits until the registry answers on its port, or has ended.
fn answers(child: &mut Child, address: SocketAddr) -> bool {
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if is_registry(address).unwrap_or(false) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn is_registry(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.to_ascii_lowercase();
    // Over TLS it says no more than this to a plain request.
    Ok(["docker-distribution-api-version", "to an https server"]
        .iter()
        .any(|words| answer.contains(words)))
}
