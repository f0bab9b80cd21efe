//! Whom connections trust, and as whom they are made.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::SettingsError;
use crate::config::Registry;

/// The system's certificate authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), or where there are none, as in
/// an image from scratch, Mozilla's.
pub(super) fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(roots)
}

/// How connections for an entry of the configuration are made.
pub(super) struct Tls {
    /// To anybody.
    pub(super) any: ClientConfig,
    /// To the registries that the entry means, where that is another way.
    pub(super) own: Option<ClientConfig>,
}

impl Tls {
    /// With these certificate authorities, and nothing special.
    pub(super) fn plain(roots: Arc<RootCertStore>) -> Result<Self, Error> {
        let any = builder()?.with_root_certificates(roots);
        Ok(Self {
            any: any.with_no_client_auth(),
            own: None,
        })
    }

    /// As the entry says; the files that it names are read here.
    pub(super) fn of(
        registry: &Registry,
        roots: &Arc<RootCertStore>,
    ) -> Result<Self, SettingsError> {
        let unusable = |key, path: &Path, why| SettingsError::File {
            pattern: registry.pattern.clone(),
            key,
            path: path.to_owned(),
            why,
        };
        let roots = match &registry.ca {
            Some(path) => with_ca(roots, path).map_err(|why| unusable("ca", path, why))?,
            None => Arc::clone(roots),
        };
        let mut tls = Self::plain(Arc::clone(&roots))?;
        if !registry.insecure_skip_verify && registry.client_certificate.is_none() {
            return Ok(tls);
        }
        let own = builder()?;
        let own = if registry.insecure_skip_verify {
            let algorithms = provider().signature_verification_algorithms;
            let verifier = Arc::new(Unverified(algorithms));
            own.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            own.with_root_certificates(roots)
        };
        tls.own = Some(match &registry.client_certificate {
            None => own.with_no_client_auth(),
            Some(identity) => {
                let (certificate, key) = (&identity.certificate, &identity.key);
                let chain = certificates(certificate);
                let chain = chain
                    .map_err(|why| unusable("clientCertificate.certificate", certificate, why))?;
                let bad_key = |why| unusable("clientCertificate.key", key, why);
                let secret = PrivateKeyDer::from_pem_file(key);
                let secret = secret.map_err(|error| bad_key(error.to_string()))?;
                own.with_client_auth_cert(chain, secret)
                    .map_err(|error| bad_key(error.to_string()))?
            }
        });
        Ok(tls)
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()
}

/// These and the certificate authorities of a PEM file.
fn with_ca(roots: &RootCertStore, path: &Path) -> Result<Arc<RootCertStore>, String> {
    let mut roots = roots.clone();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

/// The certificates of a PEM file; there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(certificates)
}

/// Takes any certificate: `insecureSkipVerify`.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
