//! Certificates and kubeconfigs of a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// A certificate authority, with what it signed, in one folder.
pub struct Pki {
    folder: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes the authority (`ca.crt`) and the key of service account tokens (`accounts.key`, `accounts.pub`).
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name("test-ca", None);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
        let accounts = key();
        let pki = Self { folder, ca };
        pki.write("ca.crt", &pki.ca.pem());
        pki.write("ca.key", &pki.ca.key().serialize_pem());
        pki.write("accounts.key", &accounts.serialize_pem());
        pki.write("accounts.pub", &accounts.public_key_pem());
        pki
    }

    /// Signs `NAME.crt` and `NAME.key`, good for a server at these names and for a client.
    pub fn sign(&self, file: &str, user: &str, group: Option<&str>, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = name(user, group);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = key();
        let signed = params.signed_by(&key, &self.ca).expect("a certificate");
        self.write(&format!("{file}.crt"), &signed.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// The path of a file.
    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Writes a kubeconfig with the certificate that was signed by this name.
    pub fn kubeconfig(&self, path: &Path, server: &str, name: &str) {
        let [ca, certificate, key] =
            ["ca.crt", &format!("{name}.crt"), &format!("{name}.key")].map(|file| self.path(file));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster: {{server: '{server}', certificate-authority: '{ca}'}}\n\
             users:\n- name: {name}\n  user: {{client-certificate: '{certificate}', client-key: '{key}'}}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: {name}}}\n"
        );
        fs::write(path, text).expect("a kubeconfig");
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).expect("a file");
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}
