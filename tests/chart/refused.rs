//! Wrong values: each is refused before anything is installed, by an error that names the place and what is wrong.

use crate::helm::template;

/// Values, and what the error has to say.
const WRONG: [(&str, &[&str]); 40] = [
    (
        "replica: 3",
        &["additional properties 'replica' not allowed"],
    ),
    ("replicas: two", &["'/replicas'", "want integer"]),
    ("replicas: -1", &["'/replicas'", "minimum"]),
    (
        "config: {always: sometimes}",
        &["'/config/always'", "'all'"],
    ),
    (
        "config: {pin: {targets: some}}",
        &["'/config/pin/targets'", "'templates'"],
    ),
    (
        "config: {excludeNamespaces: [a]}",
        &["'/config'", "'excludeNamespaces' not allowed"],
    ),
    (
        "config: {presets: [tectonic]}",
        &["'/config/presets/0'", "'tekton'"],
    ),
    ("config: {cache: {ttl: soon}}", &["'/config/cache/ttl'"]),
    (
        "config: {registries: [{endpoints: ['https://m.example']}]}",
        &["'/config/registries/0'", "'match'"],
    ),
    ("config: always", &["'/config'", "want object"]),
    (
        "config: {kind: Config}",
        &["'/config/kind'", "'Configuration'"],
    ),
    (
        "certificates: {mode: own}",
        &["'/certificates/mode'", "'cert-manager'"],
    ),
    (
        "certificates: {mode: secret, secret: {caBundle: Q0E=}}",
        &["certificates.secret.name", "tls.crt"],
    ),
    (
        "certificates: {mode: secret, secret: {name: tls}}",
        &["certificates.secret.caBundle", "PEM in base64"],
    ),
    (
        "certificates: {secret: {caBundle: '-----BEGIN CERTIFICATE-----'}}",
        &["'/certificates/secret/caBundle'", "pattern"],
    ),
    (
        "certificates: {certManager: {duration: 90d}}",
        &["'/certificates/certManager/duration'", "pattern"],
    ),
    (
        "webhook: {failurePolicy: ignore}",
        &["'/webhook/failurePolicy'", "'Ignore'"],
    ),
    (
        "webhook: {timeoutSeconds: 0}",
        &["'/webhook/timeoutSeconds'", "minimum"],
    ),
    (
        "webhook: {timeoutSeconds: 31}",
        &["'/webhook/timeoutSeconds'", "maximum"],
    ),
    (
        "webhook: {caBundle: Q0E=}",
        &["'/webhook'", "'caBundle' not allowed"],
    ),
    (
        "webhook: {excludedNamespaces: kube-public}",
        &["'/webhook/excludedNamespaces'", "want array"],
    ),
    (
        "webhook: {matchConditions: [{name: no-expression}]}",
        &["'/webhook/matchConditions/0'", "'expression'"],
    ),
    (
        "config: {customResources: [{group: g.example, kind: K, podSpecs: [/spec]}]}",
        &[
            "webhook.resources",
            "\"K.g.example\"",
            "kubectl api-resources",
        ],
    ),
    (
        "webhook: {resources: {K.g.example: K s}}",
        &["'/webhook/resources/K.g.example'", "pattern"],
    ),
    (
        "validation: {type: hook}",
        &["'/validation/type'", "'policy'"],
    ),
    (
        "validation: {require: tag}",
        &["'/validation/require'", "'digest'"],
    ),
    ("rbac: {secrets: all}", &["'/rbac/secrets'", "'namespaces'"]),
    (
        "rbac: {secrets: namespaces}",
        &["rbac.secretNamespaces", "cluster or none"],
    ),
    (
        "rbac: {secretNamespaces: ['Team A']}",
        &["'/rbac/secretNamespaces/0'", "pattern"],
    ),
    ("image: {digest: latest}", &["'/image/digest'", "sha256:"]),
    (
        "image: {pullPolicy: always}",
        &["'/image/pullPolicy'", "'Always'"],
    ),
    (
        "image: {repository: ''}",
        &["'/image/repository'", "pattern"],
    ),
    ("configIn: File", &["'/configIn'", "'Secret'"]),
    (
        "configFiles: {surepull.yaml: ''}",
        &["configFiles", "which config has"],
    ),
    (
        "podDisruptionBudget: {enabled: 'yes'}",
        &["'/podDisruptionBudget/enabled'", "want boolean"],
    ),
    (
        "serviceMonitor: {interval: soon}",
        &["'/serviceMonitor/interval'", "pattern"],
    ),
    ("env: {HTTPS_PROXY: here}", &["'/env'", "want array"]),
    (
        "extraObjects: [text]",
        &["'/extraObjects/0'", "want object"],
    ),
    ("nameOverride: Sure Pull", &["'/nameOverride'", "pattern"]),
    (
        "terminationGracePeriodSeconds: 5",
        &["'/terminationGracePeriodSeconds'", "minimum"],
    ),
];

#[test]
fn wrong_values_are_refused_with_place_and_remedy() {
    let mut other = Vec::new();
    for (values, words) in WRONG {
        match template(values, &[]) {
            Ok(_) => other.push(format!("{values}: taken")),
            Err(error) if words.iter().all(|word| error.contains(word)) => {}
            Err(error) => other.push(format!("{values}: {error}")),
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}
