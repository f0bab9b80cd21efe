//! The objects that make an API server ask surepull.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::helm::deployed;

/// The label by which a namespace chooses its surepull.
pub const LABEL: &str = "surepull";

/// The name of the role that the tests give surepull.
const ROLE: &str = "surepull-in-tests";

/// One rule of a webhook: API group, versions and resources.
#[derive(Clone, Debug)]
pub struct Rule {
    pub group: String,
    pub versions: Vec<String>,
    pub resources: Vec<String>,
}

impl Rule {
    pub fn new(group: &str, versions: &[&str], resources: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Self {
            group: group.to_owned(),
            versions: texts(versions),
            resources: texts(resources),
        }
    }

    /// Every built-in kind with a pod template, and ephemeral containers.
    pub fn built_in() -> Vec<Self> {
        vec![
            Self::new(
                "",
                &["v1"],
                &[
                    "pods",
                    "pods/ephemeralcontainers",
                    "podtemplates",
                    "replicationcontrollers",
                ],
            ),
            Self::new(
                "apps",
                &["v1"],
                &["deployments", "replicasets", "statefulsets", "daemonsets"],
            ),
            Self::new("batch", &["v1"], &["jobs", "cronjobs"]),
        ]
    }
}

/// How one webhook is registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name, and the value of [`LABEL`] in the namespaces that it is asked for.
    pub name: String,
    /// Where it is: `url` or `service`, as in `clientConfig`.
    pub client: Value,
    /// Who signed its certificate, in PEM.
    pub ca: String,
    /// What it is asked about.
    pub rules: Vec<Rule>,
    /// How long the API server waits.
    pub timeout_seconds: u8,
}

impl Registration {
    /// By URL, for the built-in kinds.
    pub fn new(name: &str, url: &str, ca: &str) -> Self {
        Self {
            name: name.to_owned(),
            client: json!({"url": url}),
            ca: ca.to_owned(),
            rules: Rule::built_in(),
            timeout_seconds: 30,
        }
    }

    /// The `MutatingWebhookConfiguration`.
    pub fn mutating(&self) -> Value {
        let mut object = self.configuration("MutatingWebhookConfiguration");
        object["webhooks"][0]["reinvocationPolicy"] = "IfNeeded".into();
        object
    }

    /// The `ValidatingWebhookConfiguration`.
    pub fn validating(&self) -> Value {
        self.configuration("ValidatingWebhookConfiguration")
    }

    fn configuration(&self, kind: &str) -> Value {
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|rule| {
                json!({
                    "apiGroups": [rule.group], "apiVersions": rule.versions, "resources": rule.resources,
                    "operations": ["CREATE", "UPDATE"], "scope": "*",
                })
            })
            .collect();
        let mut client = self.client.clone();
        client["caBundle"] = STANDARD.encode(&self.ca).into();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": self.name},
            "webhooks": [{
                "name": format!("{}.surepull.dev", self.name),
                "admissionReviewVersions": ["v1"],
                "clientConfig": client,
                // Where surepull does not answer, a test fails.
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": self.timeout_seconds,
                "namespaceSelector": {"matchLabels": {LABEL: self.name}},
                "rules": rules,
            }],
        })
    }
}

/// What the chart lets surepull do in the cluster, for whoever it runs as.
pub fn access(subject: &Value) -> Value {
    let items: Vec<_> = deployed()
        .into_iter()
        .filter(|object| {
            ["ClusterRole", "ClusterRoleBinding"]
                .map(Value::from)
                .contains(&object["kind"])
        })
        .map(|mut object| {
            object["metadata"]["name"] = ROLE.into();
            if object["kind"] == "ClusterRoleBinding" {
                object["roleRef"]["name"] = ROLE.into();
                object["subjects"] = json!([subject]);
            }
            object
        })
        .collect();
    assert_eq!(items.len(), 2, "a role and its binding");
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
