//! Registry credentials, read and matched as the kubelet does (`pkg/credentialprovider` of Kubernetes).

use std::sync::Arc;

use secrecy::SecretSlice;

/// One user name and password that may be tried at a registry.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user name as stored; need not be UTF-8, may be empty.
    pub username: Vec<u8>,
    /// The password as stored; need not be UTF-8, may be empty. Redacted in `Debug`, zeroized on drop.
    pub password: SecretSlice<u8>,
    /// Where it was found, for messages: never a value, e.g. `file /etc/surepull/config.json`.
    pub source: Arc<str>,
}
