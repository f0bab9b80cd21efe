//! A certificate authority: made here, or read from PEM and checked; and the certificates that it signs.
//!
//! Times are seconds of Unix time, and given: nothing here has a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use secrecy::zeroize::Zeroizing;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::server::{self, Certificates};

/// Certificates are valid from this long ago, for API servers whose clocks are late.
const BACKDATED: i64 = 3600;

/// The certificate of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    not_before: i64,
    not_after: i64,
}

/// A CA: its certificate, and the key that signs.
pub(super) struct Authority {
    certificate: Certificate,
    key: Zeroizing<KeyPair>,
}

/// What is wrong with a CA as it is stored. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Defect {
    #[error("there is none")]
    Absent,
    #[error("its certificate is not one certificate in PEM")]
    Certificate,
    #[error("its certificate is not that of a certificate authority")]
    NotAnAuthority,
    #[error("its key is not a private key in PEM that can be used")]
    Key,
    #[error("its key does not belong to its certificate")]
    Mismatch,
}

/// A certificate of this replica, with what decides when it has to be replaced.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) issuer: Certificate,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) pair: Certificates,
}

// === impl Certificate ===

impl Certificate {
    fn parse(der: CertificateDer<'static>) -> Result<Self, Defect> {
        let (rest, read) = X509Certificate::from_der(&der).map_err(|_| Defect::Certificate)?;
        if !rest.is_empty() {
            return Err(Defect::Certificate);
        }
        let usage = read.key_usage().map_err(|_| Defect::Certificate)?;
        let signs = usage.is_none_or(|usage| usage.value.key_cert_sign());
        if !(read.is_ca() && signs) {
            return Err(Defect::NotAnAuthority);
        }
        let validity = read.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        Ok(Self {
            der,
            not_before,
            not_after,
        })
    }

    /// All CA certificates in a PEM text; what else is there is passed over.
    pub(super) fn read_all(pem: &[u8]) -> Vec<Self> {
        let all = CertificateDer::pem_slice_iter(pem);
        all.filter_map(|der| Self::parse(der.ok()?).ok()).collect()
    }

    /// As PEM.
    pub(super) fn pem(&self) -> String {
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        let base64 = BASE64_STANDARD.encode(&self.der);
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.extend([line, "\n"]);
            rest = after;
        }
        pem + "-----END CERTIFICATE-----\n"
    }

    /// Whether it is valid at this time.
    pub(super) fn is_valid(&self, now: i64) -> bool {
        (self.not_before..self.not_after).contains(&now)
    }

    /// Since when it exists, if it was made here.
    pub(super) fn made(&self) -> i64 {
        self.not_before.saturating_add(BACKDATED)
    }

    /// When it expires.
    pub(super) fn not_after(&self) -> i64 {
        self.not_after
    }
}

// === impl Authority ===

impl Authority {
    /// Makes a new one, valid from now on for this long.
    pub(super) fn make(now: i64, validity: Duration) -> Result<Self, server::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = &mut params.distinguished_name;
        // Another for each, so that people can tell them apart.
        name.push(DnType::CommonName, format!("surepull-ca@{now}"));
        params.not_before = time(now - BACKDATED).into();
        params.not_after = time(now.saturating_add(seconds(validity))).into();
        let (not_before, not_after) = (
            params.not_before.unix_timestamp(),
            params.not_after.unix_timestamp(),
        );
        let der = params.self_signed(&key)?.der().clone();
        Ok(Self {
            certificate: Certificate {
                der,
                not_before,
                not_after,
            },
            key: Zeroizing::new(key),
        })
    }

    /// Reads certificate and key from PEM, and checks that they are those of a CA.
    pub(super) fn read(certificate: &[u8], key: &[u8]) -> Result<Self, Defect> {
        let mut all = CertificateDer::pem_slice_iter(certificate);
        let (Some(Ok(der)), None) = (all.next(), all.next()) else {
            return Err(Defect::Certificate);
        };
        let certificate = Certificate::parse(der)?;
        let key = std::str::from_utf8(key).map_err(|_| Defect::Key)?;
        let key = KeyPair::from_pem(key).map_err(|_| Defect::Key)?;
        let key = Zeroizing::new(key);
        let (_, read) =
            X509Certificate::from_der(&certificate.der).map_err(|_| Defect::Certificate)?;
        if *read.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(Defect::Mismatch);
        }
        // Whatever it signs has to name it.
        Issuer::from_ca_cert_der(&certificate.der, &*key).map_err(|_| Defect::Certificate)?;
        Ok(Self { certificate, key })
    }

    /// Its certificate.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key as PEM.
    pub(super) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// Mints a certificate for a server of these names, valid from now on for this long, but no longer than the CA.
    pub(super) fn mint(
        &self,
        names: &[String],
        now: i64,
        validity: Duration,
    ) -> Result<Leaf, server::Error> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der, &*self.key)?;
        let key = Zeroizing::new(KeyPair::generate()?);
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = names.first() {
            let subject = &mut params.distinguished_name;
            // A common name has at most 64 characters.
            subject.push(DnType::CommonName, name.get(..64).unwrap_or(name));
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let not_before = (now - BACKDATED).max(self.certificate.not_before);
        let not_after = self.leaf_end(now, validity);
        (params.not_before, params.not_after) = (time(not_before).into(), time(not_after).into());
        let leaf = params.signed_by(&*key, &issuer)?;
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        let chain = vec![leaf.der().clone()];
        Ok(Leaf {
            issuer: self.certificate.clone(),
            not_before,
            not_after,
            pair: Certificates::from_der(chain, secret.into())?,
        })
    }

    /// When a certificate ends that is minted now.
    pub(super) fn leaf_end(&self, now: i64, validity: Duration) -> i64 {
        let end = now.saturating_add(seconds(validity));
        end.min(self.certificate.not_after)
    }
}

/// Without the key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// The years that a certificate can name end after 9999.
fn time(unix: i64) -> SystemTime {
    let unix = u64::try_from(unix).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(unix.min(253_402_300_799))
}

/// A duration in whole seconds.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
