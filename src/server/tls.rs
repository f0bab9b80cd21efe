//! The certificate: from files or made here, behind a pointer that can be swapped while the server runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Error;

/// The certificate that new connections see, with its chain and key.
#[derive(Debug)]
pub struct Certificates(ArcSwap<CertifiedKey>);

impl Certificates {
    /// Reads a certificate, followed by its chain, and its key from PEM files.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, Error> {
        Ok(Self(ArcSwap::from_pointee(read(certificate, key)?)))
    }

    /// Makes a certificate in memory, for this machine's own names; nobody trusts it but who looks away.
    pub fn self_made() -> Result<Self, Error> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let pair = CertifiedKey::from_der(vec![made.cert.into()], key.into(), &provider())?;
        Ok(Self(ArcSwap::from_pointee(pair)))
    }

    /// Reads the files again: new connections see the new pair, running ones go on. On an error all stays as it was.
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        self.0.store(Arc::new(read(certificate, key)?));
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
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

    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
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
    fn a_failed_reload_changes_nothing() {
        let files = Files::new();
        let ((certificate, key), (_, other)) = (pair(), pair());
        let certificate = files.write("tls.crt", &certificate);
        let key = files.write("tls.key", &key);
        let other = files.write("other.key", &other);
        let certificates = Certificates::from_files(&certificate, &key).expect("valid");
        let before = certificates.0.load_full();
        assert!(certificates.reload(&certificate, &other).is_err());
        assert!(Arc::ptr_eq(&before, &certificates.0.load_full()));
        certificates.reload(&certificate, &key).expect("valid");
        assert!(!Arc::ptr_eq(&before, &certificates.0.load_full()));
    }

    #[test]
    fn one_can_be_made_here() {
        let certificates = Arc::new(Certificates::self_made().expect("made"));
        let config = server_config(certificates).expect("a configuration");
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    }
}
