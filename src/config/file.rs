//! The file as it is written: the types that reading and the schema share.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::{Cache, Configuration, Credentials, CustomResource, Network, Registry, values};
use crate::mutation::{Always, Mode, Pin, PullSecrets, Settings};
use crate::workload::{Kinds, Preset};

/// The configuration of surepull. Whatever is left out has its default; an empty file is a useful configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "surepull configuration")]
pub(super) struct File {
    /// The version of this format.
    #[expect(dead_code, reason = "read to be checked, and to be in the schema")]
    api_version: ApiVersion,
    /// The kind of this file.
    #[expect(dead_code, reason = "read to be checked, and to be in the schema")]
    kind: Kind,
    /// Whether decisions are carried out (`enforce`), or only told (`audit`).
    #[serde(default)]
    #[schemars(extend("default" = "enforce"))]
    mode: Mode,
    /// Whether an absent `imagePullPolicy` is filled where the API server does not.
    #[serde(default)]
    #[schemars(extend("default" = "default"))]
    pull_policy: PullPolicy,
    /// Where the semantics of the `AlwaysPullImages` admission plugin are enforced.
    #[serde(default)]
    #[schemars(extend("default" = "none"))]
    always: Always,
    /// Pinning of tags to digests.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pin: Pin,
    /// How a Pod gets the `imagePullSecrets` of its `ServiceAccount`.
    #[serde(default)]
    #[schemars(extend("default" = "merge"))]
    pull_secrets: PullSecrets,
    /// Names of further pull secrets, which a Pod gets where its namespace has a Secret of this name that holds an entry
    /// for one of the Pod's images.
    #[serde(default, deserialize_with = "values::secrets")]
    #[schemars(inner(
        length(max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    ))]
    extra_pull_secrets: Vec<String>,
    /// Namespaces in which nothing is ever changed; what stands here replaces the default.
    #[serde(
        default = "excluded_namespaces",
        deserialize_with = "values::namespaces"
    )]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")))]
    excluded_namespaces: Vec<String>,
    /// Well-known projects whose custom resources are looked into.
    #[serde(default)]
    pub(super) presets: Vec<Preset>,
    /// Custom resources that hold pod templates, pod specs or containers; at most one entry for a group and kind, which
    /// replaces what a preset says of it.
    #[serde(default)]
    #[schemars(with = "Vec<CustomResource>")]
    pub(super) custom_resources: Entries<CustomResource>,
    /// How registries are reached; at most one entry for a `match`.
    #[serde(default)]
    #[schemars(with = "Vec<Registry>")]
    pub(super) registries: Entries<Registry>,
    /// Where look-ups may lead.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    network: Network,
    /// How long digests are remembered.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    cache: Cache,
    /// Credentials besides those of the cluster, and how all are used.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    credentials: Credentials,
}

/// Entries of a list with their places, for what is checked across them.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<Spanned<T>>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

impl<T> Entries<T> {
    fn into_values(self) -> Vec<T> {
        self.0.into_iter().map(|entry| entry.value).collect()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
enum ApiVersion {
    #[serde(rename = "surepull.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum Kind {
    Configuration,
}

/// Whether an absent `imagePullPolicy` is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum PullPolicy {
    /// By Kubernetes' own rule, wherever the API server does not do it.
    #[default]
    Default,
    /// Left to the API server.
    None,
}

fn excluded_namespaces() -> Vec<String> {
    Settings::default().excluded_namespaces
}

/// Who the file says it is; read before all else, so that a file for another program is told apart from a mistake.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Header {
    pub(super) api_version: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
}

impl File {
    /// The configuration, with these kinds.
    pub(super) fn into_configuration(self, kinds: Kinds) -> Configuration {
        let file = self;
        Configuration {
            settings: Settings {
                mode: file.mode,
                pull_policy: file.pull_policy == PullPolicy::Default,
                always: file.always,
                pin: file.pin,
                pull_secrets: file.pull_secrets,
                extra_pull_secrets: file.extra_pull_secrets,
                excluded_namespaces: file.excluded_namespaces,
            },
            kinds,
            registries: file.registries.into_values(),
            network: file.network,
            cache: file.cache,
            credentials: file.credentials,
        }
    }
}
