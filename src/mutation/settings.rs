//! What the configuration decides for the pure rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Patch the object.
    #[default]
    Enforce,
    /// Change nothing; say in warnings and audit annotations what would change.
    Audit,
}

/// Where the semantics of the `AlwaysPullImages` admission plugin are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Always {
    /// Nowhere.
    #[default]
    None,
    /// On Pods, as the plugin does, ephemeral containers included.
    Pods,
    /// On Pods and pod templates.
    All,
}

/// Which objects get digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = "all"))]
pub enum Targets {
    /// No object: nothing new is pinned. Digests that surepull set earlier stay.
    None,
    /// Pods and pod templates.
    #[default]
    All,
    /// Pod templates only.
    Templates,
    /// Pods only.
    Pods,
}

/// How a Pod gets the `imagePullSecrets` of its `ServiceAccount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PullSecrets {
    /// Not by surepull.
    None,
    /// As the in-tree `ServiceAccount` plugin does: the account's list, when the Pod has none.
    Fill,
    /// What is missing is appended; the Pod's own entries and their order stay.
    #[default]
    Merge,
    /// The same, but only of the Secrets that hold an entry for one of the Pod's images.
    Matching,
}

/// Images that are not pinned by default: no look-up, no warning.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Skip {
    /// Skip images whose pull policy is `Never`: they were loaded onto the node from the side.
    pub never: bool,
    /// Skip images of loopback hosts (`localhost`, `127.0.0.0/8`, `[::1]`), which mean another machine on each node.
    pub loopback: bool,
    /// Skip images of these registry hosts, each as it stands in image names, with its port; `docker.io` for images
    /// without one.
    #[serde(deserialize_with = "hosts")]
    #[schemars(inner(length(min = 1), regex(pattern = r"^[^/*\s]+$")))]
    pub registries: Vec<String>,
}

impl Default for Skip {
    fn default() -> Self {
        Self {
            never: true,
            loopback: true,
            registries: ["ko.local", "kind.local", "dev.local"]
                .map(String::from)
                .to_vec(),
        }
    }
}

/// Refuses what can never be the host of an image, and would skip nothing.
fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(from)?;
    let no_host = |c: char| c == '/' || c == '*' || c.is_whitespace();
    match hosts
        .iter()
        .find(|host| host.is_empty() || host.contains(no_host) || *host == "index.docker.io")
    {
        Some(host) => Err(de::Error::custom(format!(
            "`{host}` is not the host of an image; write it in full, such as `registry.example:5000` or `docker.io`"
        ))),
        None => Ok(hosts),
    }
}

/// What becomes of a review when the digest of an image could not be looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = "warn"))]
pub enum Action {
    /// The image stays as it is, and only the audit log is told.
    Allow,
    /// The image stays as it is, and the user is warned.
    #[default]
    Warn,
    /// The review is refused, and nothing is changed. An image that keeps the digest it has is only warned of.
    Deny,
}

/// The action for each class of failed look-ups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Errors {
    /// The registry has no such repository or tag.
    pub not_found: Action,
    /// The registry wants credentials, or none of those tried was accepted.
    pub unauthorized: Action,
    /// The registry knows who asks, and refuses.
    pub forbidden: Action,
    /// The registry has been asked too often.
    pub rate_limited: Action,
    /// The registry cannot be reached, or is out of order.
    pub unavailable: Action,
    /// There was no answer in time.
    pub timed_out: Action,
    /// surepull itself refuses to ask there.
    pub refused: Action,
    /// The answer cannot be trusted to be that of a registry.
    pub invalid: Action,
}

/// Pinning of tags to digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pin {
    /// Which objects get digests.
    pub targets: Targets,
    /// Which images are left as they are.
    pub skip: Skip,
    /// Whether each digest that a registry names is checked by a second request, for the manifest of that digest: whether
    /// it is there, and its bytes are what the digest says.
    #[schemars(extend("default" = false))]
    pub verify: bool,
    /// What is done when a look-up fails.
    pub errors: Errors,
}

/// All that the mutation room is told by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Whether an absent `imagePullPolicy` is filled by Kubernetes' rule where the API server does not.
    pub pull_policy: bool,
    /// Where `Always` is enforced.
    pub always: Always,
    /// Pinning.
    pub pin: Pin,
    /// Pull secrets.
    pub pull_secrets: PullSecrets,
    /// Names of further pull secrets, which a Pod gets where its namespace has them and they hold an entry for one of
    /// its images.
    pub extra_pull_secrets: Vec<String>,
    /// Namespaces in which nothing is ever changed.
    pub excluded_namespaces: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            pull_policy: true,
            always: Always::default(),
            pin: Pin::default(),
            pull_secrets: PullSecrets::default(),
            extra_pull_secrets: Vec::new(),
            excluded_namespaces: ["kube-system", "kube-node-lease"]
                .map(String::from)
                .to_vec(),
        }
    }
}
