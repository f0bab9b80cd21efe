//! The certificate: from files or made here, behind a pointer that can be swapped while the server runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::Error;

/// The certificate that new connections see, with its chain and key.
#[derive(Debug)]
pub struct Certificates {
    pair: ArcSwap<CertifiedKey>,
    expiration: Gauge,
}

impl Certificates {
    fn new(pair: CertifiedKey) -> Self {
        let expiration = Gauge::default();
        expiration.set(self::expiration(&pair));
        Self {
            pair: ArcSwap::from_pointee(pair),
            expiration,
        }
    }

    /// Reads a certificate, followed by its chain, and its key from PEM files.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Error> {
        Ok(Self::new(read(certificate, key)?))
    }

    /// Takes a certificate, followed by its chain, and its key.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        Ok(Self::new(CertifiedKey::from_der(chain, key, &provider())?))
    }

    /// Makes a certificate in memory, for this machine's own names; nobody trusts it but who looks away.
    pub fn self_made() -> Result<Self, Error> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self::from_der(vec![made.cert.into()], key.into())
    }

    /// Takes over the certificate and key of another: new connections see these, running ones go on.
    pub fn replace(&self, other: &Self) {
        self.pair.store(other.pair.load_full());
        self.expiration.set(other.expiration.get());
    }

    /// The certificate, without its chain.
    #[cfg(test)]
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.pair.load().cert[0].clone()
    }

    /// When the certificate expires, as Unix time.
    pub fn expiration(&self) -> i64 {
        self.expiration.get()
    }

    /// Makes the time of expiration known to a registry of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "surepull_certificate_expiration_timestamp",
            "When the certificate that is served expires, as Unix time",
            Unit::Seconds,
            self.expiration.clone(),
        );
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load_full())
    }
}

/// TLS 1.2 and 1.3, HTTP/1.1 only.
pub(super) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// When a certificate expires, as Unix time. rustls says so when it is asked about the end of time; what else it finds
/// wrong, it finds later.
fn expiration(pair: &CertifiedKey) -> i64 {
    let end = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    let algorithms = provider().signature_verification_algorithms.all;
    let verify = |certificate: &CertificateDer<'_>| {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let nobody = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], end, algorithms)
    };
    match pair.end_entity_cert().and_then(verify) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX),
        // Valid at no time.
        _ => 0,
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let error = |path: &Path, message: String| Error::Certificate {
        path: path.to_owned(),
        message,
    };
    let bytes = |path: &Path| {
        fs::read(path).map_err(|reason| error(path, format!("cannot be read: {reason}")))
    };
    let chain = CertificateDer::pem_slice_iter(&bytes(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| error(certificate, format!("not a PEM file: {reason}")))?;
    if chain.is_empty() {
        let message = "no certificate in it; a PEM file with the server's certificate first, then \
                       its chain, belongs here";
        return Err(error(certificate, message.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|reason| {
        // The reasons quote the file, and this file is secret.
        let message = match reason {
            pem::Error::NoItemsFound => {
                "no private key in it; an unencrypted PEM key (PKCS#8, PKCS#1 or SEC1) belongs here"
            }
            _ => "not a PEM file",
        };
        error(key, message.to_owned())
    })?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|reason| match reason {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => error(
            key,
            format!(
                "this key does not belong to the first certificate of {}",
                certificate.display()
            ),
        ),
        rustls::Error::InvalidCertificate(reason) => error(
            certificate,
            format!("its first certificate is not valid: {reason}"),
        ),
        _ => error(
            key,
            "this kind of key cannot be used; make one of RSA, P-256 or Ed25519".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::SystemTime;

    use rcgen::{CertificateParams, CertifiedKey as Made, KeyPair, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    struct Files {
        folder: TempDir,
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            Self { folder }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        }
    }

    fn pair() -> (String, String) {
        let Made { cert, signing_key } =
            generate_simple_self_signed(["a.test".to_owned()]).expect("made");
        (cert.pem(), signing_key.serialize_pem())
    }

    fn refused(certificate: &Path, key: &Path) -> String {
        Certificates::from_files(certificate, key)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn chains_are_kept_whole() {
        let files = Files::new();
        let ((leaf, key), (above, _)) = (pair(), pair());
        let certificate = files.write("tls.crt", &format!("# leaf\n{leaf}\n{above}"));
        let key = files.write("tls.key", &key);
        let pair = read(&certificate, &key).expect("valid");
        assert_eq!(pair.cert.len(), 2);
    }

    #[test]
    fn errors_name_the_file_and_no_secret() {
        let files = Files::new();
        let ((certificate, key), (_, other)) = (pair(), pair());
        let good = files.write("tls.crt", &certificate);
        let good_key = files.write("tls.key", &key);
        let other = files.write("other.key", &other);
        let absent = files.folder.path().join("absent");
        let empty = files.write("empty", "");
        let broken = files.write("broken", &key.replacen("-----END", "-----EN", 1));
        let junk = files.write(
            "junk",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        for (certificate, key, file, part) in [
            (&absent, &good_key, &absent, "cannot be read"),
            (&good, &absent, &absent, "cannot be read"),
            (&empty, &good_key, &empty, "no certificate in it"),
            (&good_key, &good_key, &good_key, "no certificate in it"),
            (&good, &good, &good, "no private key in it"),
            (&good, &broken, &broken, "not a PEM file"),
            (&good, &other, &other, "does not belong to"),
            (&junk, &good_key, &junk, "is not valid"),
        ] {
            let message = refused(certificate, key);
            assert!(
                message.starts_with(&format!("{}: ", file.display())),
                "{message}"
            );
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn another_takes_the_place_of_one() {
        let ours = Certificates::self_made().expect("made");
        let other = Certificates::self_made().expect("made");
        ours.replace(&other);
        assert!(Arc::ptr_eq(&ours.pair.load(), &other.pair.load()));
    }

    #[test]
    fn expiration_is_that_of_the_first_certificate() {
        let files = Files::new();
        for seconds in [946_684_800, 1_893_456_000, 253_402_300_799] {
            let signing_key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(["a.test".to_owned()]).expect("a name");
            params.not_before = SystemTime::UNIX_EPOCH.into();
            params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).into();
            let leaf = params.self_signed(&signing_key).expect("signed").pem();
            let certificate = files.write("tls.crt", &(leaf + &pair().0));
            let key = files.write("tls.key", &signing_key.serialize_pem());
            let certificates = Certificates::from_files(&certificate, &key).expect("valid");
            assert_eq!(certificates.expiration().cast_unsigned(), seconds);
        }
    }

    #[test]
    fn one_can_be_made_here() {
        let certificates = Arc::new(Certificates::self_made().expect("made"));
        let config = server_config(certificates).expect("a configuration");
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    }
}
