//! The configuration file: what may stand in it, its defaults, and errors that name line, column and remedy.
//!
//! Reading is strict and in two steps: first who the file says it is (`apiVersion`, `kind`), then all of it along the
//! types in `file`. What those types cannot say by themselves (two entries for one kind) is checked afterwards, with
//! the place of the entry.

mod changes;
mod duration;
mod error;
mod file;
mod network;
mod read;
mod values;

pub use duration::{InvalidDuration, parse_duration};
pub use error::Error;
pub use network::{ClientCertificate, Network, Timeouts};
pub use read::{MAX_BYTES, load, parse};
pub use values::{Cidr, Endpoint, Pointer};

pub(crate) use duration::deserialize as deserialize_duration;
pub(crate) use read::load_as;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::mutation::Settings;
use crate::workload::Kinds;

/// The `apiVersion` of the file.
pub const API_VERSION: &str = "surepull.dev/v1alpha1";
/// The `kind` of the file.
pub const KIND: &str = "Configuration";

/// A configuration, checked. The default is what an empty file means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What the mutation room is told.
    pub settings: Settings,
    /// The kinds that are looked into: the built-in ones, and the custom resources and presets of the file.
    pub kinds: Kinds,
    /// How registries are reached; the order is that of the file.
    pub registries: Vec<Registry>,
    /// Where look-ups may lead.
    pub network: Network,
    /// How long digests are remembered.
    pub cache: Cache,
    /// Credentials besides those of the cluster.
    pub credentials: Credentials,
}

/// Where one kind of custom resource holds its pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["templates"]}, {"required": ["podSpecs"]}, {"required": ["containers"]}]))]
pub struct CustomResource {
    /// The API group, without a version: `argoproj.io`.
    #[serde(deserialize_with = "values::group")]
    #[schemars(length(min = 1), regex(pattern = r"^[^/\s]+$"))]
    pub group: String,
    /// The kind: `Rollout`.
    #[serde(deserialize_with = "values::kind")]
    #[schemars(length(min = 1), regex(pattern = r"^[^/\s]+$"))]
    pub kind: String,
    /// JSON pointers to its pod templates (objects with `metadata` and `spec`).
    #[serde(default)]
    pub templates: Vec<Pointer>,
    /// JSON pointers to its bare pod specs (objects with `containers`).
    #[serde(default)]
    pub pod_specs: Vec<Pointer>,
    /// JSON pointers to single containers outside of pod specs (objects with `image` and `imagePullPolicy`); to each of
    /// a list with `*`: `/spec/steps/*`.
    #[serde(default)]
    pub containers: Vec<Pointer>,
}

/// How the images of some registries are looked up. The first entry whose `match` fits counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Which images: a host, with its port if the image has one, and optionally a path that ends at a `/` of the
    /// image's name. `*` stands for any text within one label of the host: `*.example.com/team`.
    #[serde(rename = "match", deserialize_with = "values::registry_match")]
    #[schemars(length(min = 1), regex(pattern = r"^[^\s]+$"))]
    pub pattern: String,
    /// Where they are looked up first, in this order. Whatever goes wrong at one, and if it is only that it has no such
    /// image, the next one is asked, and in the end the `endpoints`.
    #[serde(default)]
    pub mirrors: Vec<Endpoint>,
    /// Where they really are, tried in this order in the same way; by default the image's own host over HTTPS. `http://`
    /// means plain HTTP, which is never used otherwise. An address named here or as a mirror is trusted, loopback
    /// included.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// A PEM file with certificate authorities to trust there besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How many look-ups may be under way at once at one host of these; others wait.
    #[serde(
        default = "values::default_max_concurrent",
        deserialize_with = "values::max_concurrent"
    )]
    #[schemars(range(min = 1, max = 512))]
    pub max_concurrent: u32,
    /// The certificate that surepull shows to these registries, and to nobody else.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// Whether these registries may show any certificate at all: whoever is on the way can then read the credentials and
    /// choose the digests. `ca` is the better way.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: bool,
    /// Networks whose addresses these registries may have, besides those of `network.allowAddresses`.
    #[serde(default)]
    pub allow_addresses: Vec<Cidr>,
    /// How long they may take.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub timeouts: Timeouts,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            pattern: String::new(),
            mirrors: Vec::new(),
            endpoints: Vec::new(),
            ca: None,
            max_concurrent: MAX_CONCURRENT,
            client_certificate: None,
            insecure_skip_verify: false,
            allow_addresses: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }
}

/// The default of [`Registry::max_concurrent`], which also holds for registries without an entry.
pub const MAX_CONCURRENT: u32 = 32;

/// How long digests are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cache {
    /// How long a digest is used without asking the registry again: `5m`, `1h30m`; `0s` is always to ask.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schemars(with = "String", regex(pattern = duration::PATTERN), extend("default" = "5m"))]
    pub ttl: Duration,
    /// How long a failed look-up is not repeated.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schemars(with = "String", regex(pattern = duration::PATTERN), extend("default" = "10s"))]
    pub negative_ttl: Duration,
    /// For how long after `ttl` a digest is still used, with a warning, while its registry cannot be asked; `0s` is
    /// never.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schemars(with = "String", regex(pattern = duration::PATTERN), extend("default" = "1h"))]
    pub stale_if_error: Duration,
    /// How many answers are kept at most.
    pub max_entries: u64,
    /// How many bytes of memory the answers take at most.
    pub max_bytes: u32,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(5),
            negative_ttl: Duration::from_secs(10),
            stale_if_error: Duration::from_hours(1),
            max_entries: 10_000,
            max_bytes: 16 << 20,
        }
    }
}

/// Credentials besides those of the cluster, and how all are used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Credentials {
    /// Docker configuration files, for all namespaces. A file named `.dockercfg` has the old form, `{KEY: ENTRY}`; any
    /// other has that of `config.json`, `{"auths": {KEY: ENTRY}}`. Folders are searched as by a kubelet: for
    /// `config.json` in all of them, then for `.dockercfg`, until one can be used.
    pub docker_config: Vec<PathBuf>,
    /// Credential providers of the kubelet, for all namespaces; they are run where they are needed.
    pub providers: Option<Providers>,
    /// Whether the `identitytoken` of an entry, in pull secrets too, is used where user names and passwords have failed.
    /// `false`: as the kubelet, which does not read it.
    pub identity_tokens: bool,
    /// How the keys of entries with patterns are matched against images, here and in pull secrets.
    #[schemars(extend("default" = "kubelet"))]
    pub patterns: Patterns,
    /// Whether an image is looked up without credentials when those that match it have failed. `false`: as the kubelet.
    pub anonymous_fallback: bool,
    /// Whether a pull secret that is no docker configuration is passed over. `false`: the look-up fails, as every pull
    /// of the kubelet does.
    pub skip_broken_pull_secrets: bool,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            docker_config: Vec::new(),
            providers: None,
            identity_tokens: false,
            patterns: Patterns::default(),
            anonymous_fallback: true,
            skip_broken_pull_secrets: true,
        }
    }
}

/// The grammar of patterns in the keys of credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Patterns {
    /// As the kubelet: `*` stands for any text within one label of the host, and there are as many labels.
    #[default]
    Kubelet,
    /// As the Kubernetes page on images said until 2024, in host and port: `*` is any run of characters, dots included,
    /// `?` any one, `[…]` and `[^…]` one of a class, `\` takes the next one as it is. The kubelet does not pull with such
    /// an entry unless it matches for it, too.
    Documented,
}

/// Credential providers, as a kubelet is told of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Providers {
    /// A `CredentialProviderConfig` (`kubelet.config.k8s.io/v1`, `v1beta1`, `v1alpha1`), or a folder of them: all
    /// `*.json`, `*.yaml` and `*.yml` in it (`--image-credential-provider-config` of the kubelet).
    pub config: PathBuf,
    /// The folder with their binaries (`--image-credential-provider-bin-dir`).
    pub bin_dir: PathBuf,
}

/// The JSON schema of the file, as `docs/configuration.schema.json` has it: indented, with a final newline.
pub fn schema() -> String {
    // Infallible: a schema is a JSON value with string keys.
    let text = serde_json::to_string_pretty(&schemars::schema_for!(file::File));
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests;
