//! What the chart renders: exactly the rules, rights and names that it should, and configurations that surepull takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::helm::{objects, of, path};
use crate::presets::{names, projects};

/// No values.
const DEFAULTS: &str = "{}";

/// The one webhook of a configuration.
fn webhook(objects: &[Value]) -> Value {
    let configuration = of(objects, "MutatingWebhookConfiguration");
    let webhooks = configuration["webhooks"].as_array().expect("webhooks");
    assert_eq!(webhooks.len(), 1);
    webhooks[0].clone()
}

/// Resources by API group.
fn resources(webhook: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for rule in webhook["rules"].as_array().expect("rules") {
        assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]));
        let resources = rule["resources"].as_array().expect("resources");
        let group = text(&rule["apiGroups"][0]);
        all.entry(group)
            .or_default()
            .extend(resources.iter().map(text));
    }
    all
}

#[test]
fn the_webhook_is_asked_as_it_should_be_by_default() {
    let rendered = objects(DEFAULTS);
    let configuration = of(&rendered, "MutatingWebhookConfiguration");
    assert_eq!(configuration["metadata"]["name"], "zz-surepull");
    let mut webhook = webhook(&rendered);
    assert_eq!(webhook["rules"].take().as_array().map(Vec::len), Some(3));
    let conditions = webhook["matchConditions"].take();
    let names: Vec<_> = conditions
        .as_array()
        .expect("conditions")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(
        names,
        ["not-a-mirror-pod", "not-being-deleted", "not-by-surepull"]
    );
    let others = ["kube-system", "kube-node-lease", "surepull"];
    assert_eq!(
        webhook,
        json!({
            "name": "mutate.surepull.dev",
            "admissionReviewVersions": ["v1"],
            // Without caBundle: it is surepull's, and an upgrade must not take it away.
            "clientConfig": {"service": {"name": "surepull", "namespace": "surepull", "port": 443, "path": "/mutate"}},
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": others},
            ]},
            "rules": null,
            "matchConditions": null,
        })
    );
    assert!(
        rendered
            .iter()
            .all(|object| object["kind"] != "ValidatingWebhookConfiguration")
    );
}

#[test]
fn rules_are_those_of_the_presets() {
    let built_in = resources(&webhook(&objects(DEFAULTS)));
    let mut seen = 0;
    for project in projects() {
        let mut expected = built_in.clone();
        for definition in &project.definitions {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let spec = &definition["spec"];
            let resources = expected.entry(text(&spec["group"])).or_default();
            resources.insert(text(&spec["names"]["plural"]));
        }
        let values = json!({"config": {"presets": [project.name]}}).to_string();
        assert_eq!(
            resources(&webhook(&objects(&values))),
            expected,
            "{}",
            project.name
        );
        seen += 1;
    }
    assert_eq!(seen, names().len());
    let custom = json!({
        "config": {"presets": ["tekton"], "customResources": [
            {"group": "tekton.dev", "kind": "Own", "podSpecs": ["/spec"]},
            {"group": "rig.test", "kind": "Rig", "podSpecs": ["/spec"]},
        ]},
        "webhook": {"resources": {"Own.tekton.dev": "owns", "Rig.rig.test": "rigs"}},
    });
    let resources = resources(&webhook(&objects(&custom.to_string())));
    assert!(resources["tekton.dev"].contains("owns") && resources["tekton.dev"].contains("tasks"));
    assert_eq!(resources["rig.test"], BTreeSet::from(["rigs".to_owned()]));
}

/// Who may do what, as `ROLE RESOURCE[/NAME]: VERBS`.
fn rights(values: &str) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in objects(values) {
        let kind = role["kind"].as_str().unwrap_or_default();
        if kind != "Role" && kind != "ClusterRole" {
            continue;
        }
        let texts = |value: &Value| -> Vec<String> {
            let texts = value.as_array().into_iter().flatten();
            texts
                .map(|text| text.as_str().expect("text").to_owned())
                .collect()
        };
        let place = role["metadata"]["namespace"]
            .as_str()
            .unwrap_or("everywhere");
        for rule in role["rules"].as_array().expect("rules") {
            for resource in texts(&rule["resources"]) {
                let names = texts(&rule["resourceNames"]).join(",");
                let verbs = texts(&rule["verbs"]).join(",");
                rights.insert(format!("{place} {resource} {names}: {verbs}").replace(" :", ":"));
            }
        }
    }
    rights
}

#[test]
fn rights_are_the_least() {
    let accounts = "everywhere serviceaccounts: get,list,watch";
    let own = [
        "everywhere mutatingwebhookconfigurations zz-surepull: get,patch",
        "everywhere validatingwebhookconfigurations zz-surepull: get,patch",
        "surepull leases surepull-ca: get,update,patch",
        "surepull leases: create",
        "surepull secrets surepull-ca: get,update",
        "surepull secrets: create",
    ];
    let set = |rights: &[&[&str]]| -> BTreeSet<String> {
        rights.concat().iter().map(ToString::to_string).collect()
    };
    let everywhere = "everywhere secrets: get";
    assert_eq!(rights("{}"), set(&[&own, &[accounts, everywhere]]));
    let some = "rbac: {secrets: namespaces, secretNamespaces: [a, b]}";
    let namespaces = ["a secrets: get", "b secrets: get"];
    assert_eq!(rights(some), set(&[&own, &[accounts], &namespaces]));
    let given = "{rbac: {secrets: none}, certificates: {mode: cert-manager}}";
    assert_eq!(rights(given), set(&[&[accounts]]));
}

#[test]
fn certificates_come_in_three_ways() {
    let client = |values: &str| webhook(&objects(values))["clientConfig"].clone();
    let arguments = |values: &str| {
        of(&objects(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
            .clone()
    };
    let has = |values: &str, argument: &str| {
        arguments(values)
            .as_array()
            .expect("arguments")
            .contains(&argument.into())
    };
    assert!(
        has("{}", "--tls-self")
            && has("{}", "--webhook=zz-surepull")
            && !has("{}", "--tls-cert=/etc/surepull-tls/tls.crt")
    );

    let secret = "certificates: {mode: secret, secret: {name: mine, caBundle: Q0E=}}";
    assert_eq!(client(secret)["caBundle"], "Q0E=");
    assert!(has(secret, "--tls-cert=/etc/surepull-tls/tls.crt") && !has(secret, "--tls-self"));
    let volumes = of(&objects(secret), "Deployment")["spec"]["template"]["spec"]["volumes"].clone();
    assert_eq!(volumes[1]["secret"]["secretName"], "mine");

    let manager = "{certificates: {mode: cert-manager}, validation: {type: webhook}}";
    let rendered = objects(manager);
    for kind in [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        let annotations = &of(&rendered, kind)["metadata"]["annotations"];
        assert_eq!(
            annotations["cert-manager.io/inject-ca-from"],
            "surepull/surepull"
        );
    }
    assert!(client(manager)["caBundle"].is_null());
    let named = |rendered: &[Value], kind: &str, name: &str| {
        let mut all = rendered.iter();
        all.find(|one| one["kind"] == kind && one["metadata"]["name"] == name)
            .map(|one| one["spec"].clone())
    };
    // The authority stays when the certificate is renewed.
    let leaf = named(&rendered, "Certificate", "surepull").expect("a certificate");
    assert_eq!(leaf["dnsNames"][0], "surepull.surepull.svc");
    assert_eq!(
        leaf["issuerRef"],
        json!({"kind": "Issuer", "name": "surepull-root"})
    );
    let issuer = named(&rendered, "Issuer", "surepull-root").expect("an issuer");
    assert_eq!(issuer["ca"]["secretName"], "surepull-root");
    let root = named(&rendered, "Certificate", "surepull-root").expect("an authority");
    assert_eq!(
        (
            &root["isCA"],
            &root["secretName"],
            &root["issuerRef"]["name"]
        ),
        (&json!(true), &json!("surepull-root"), &json!("surepull"))
    );
    let own = named(&rendered, "Issuer", "surepull").expect("an issuer");
    assert_eq!(own, json!({"selfSigned": {}}));

    let other = "certificates: {mode: cert-manager, certManager: {issuer: {kind: ClusterIssuer, name: ca}}}";
    let rendered = objects(other);
    let leaf = named(&rendered, "Certificate", "surepull").expect("a certificate");
    assert_eq!(
        leaf["issuerRef"],
        json!({"kind": "ClusterIssuer", "name": "ca"})
    );
    assert_eq!(named(&rendered, "Certificate", "surepull-root"), None);
    assert!(rendered.iter().all(|one| one["kind"] != "Issuer"));
}

/// What is mounted as `surepull.yaml`.
fn configuration(values: &str) -> String {
    let rendered = objects(values);
    let mut files = rendered.iter().filter_map(|object| {
        let text = object["data"]["surepull.yaml"].as_str();
        text.or_else(|| object["stringData"]["surepull.yaml"].as_str())
    });
    files.next().expect("a configuration").to_owned()
}

#[test]
fn configurations_are_what_surepull_takes() {
    let mut all = vec![
        "{}".to_owned(),
        "config: {excludedNamespaces: [a]}".to_owned(),
    ];
    let folders = fs::read_dir(path("examples")).expect("examples");
    let files = folders.map(|folder| folder.expect("a folder").path().join("values.yaml"));
    all.extend(files.filter_map(|file| fs::read_to_string(file).ok()));
    assert!(all.len() > 5, "{all:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("surepull.yaml");
    for values in &all {
        let examples = path("examples/private-images-for-all")
            .display()
            .to_string();
        let text = configuration(values).replace("/etc/surepull", &examples);
        fs::write(&file, &text).expect("a file");
        let check = Command::new(env!("CARGO_BIN_EXE_surepull"))
            .args(["config", "check"])
            .arg(&file)
            .output();
        let check = check.expect("surepull");
        assert!(check.status.success(), "{text}\n{check:?}");
    }
    // Nothing is lost, and the release's namespace is always left alone.
    let config: Value = serde_saphyr::from_str(&configuration(&all[1])).expect("YAML");
    assert_eq!(config["excludedNamespaces"], json!(["a", "surepull"]));
}

#[test]
fn a_network_policy_limits_what_it_names() {
    let policy = |values: &str| of(&objects(values), "NetworkPolicy")["spec"].clone();
    let ingress = policy("networkPolicy: {enabled: true}");
    assert_eq!(ingress["policyTypes"], json!(["Ingress"]));
    assert_eq!(ingress["egress"], Value::Null);
    let both = policy("networkPolicy: {enabled: true, egress: [{ports: [{port: 443}]}]}");
    assert_eq!(both["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(both["egress"], json!([{"ports": [{"port": 443}]}]));
}

#[test]
fn labels_of_others_do_not_replace_those_of_the_chart() {
    let others = "{app.kubernetes.io/name: other, team: platform}";
    let rendered = objects(&format!(
        "{{commonLabels: {others}, podLabels: {others}, nameOverride: '1'}}"
    ));
    let deployment = of(&rendered, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "platform");
    assert_eq!(labels["app.kubernetes.io/name"], "1");
    let selectors = [
        &deployment["spec"]["selector"]["matchLabels"],
        &of(&rendered, "Service")["spec"]["selector"],
        &of(&rendered, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ];
    for selector in selectors {
        let selector = selector.as_object().expect("labels");
        assert_eq!(selector.len(), 2);
        assert!(selector.iter().all(|(key, value)| labels[key] == *value));
    }
}

#[test]
fn critical_pods_have_a_quota() {
    let quota = |values: &str| {
        let objects = objects(values);
        let quotas = objects.iter().filter(|one| one["kind"] == "ResourceQuota");
        quotas.map(|one| one["spec"].clone()).collect::<Vec<_>>()
    };
    let spec = json!({
        "hard": {"pods": "100"},
        "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]},
        ]},
    });
    assert_eq!(quota(DEFAULTS), [spec]);
    assert_eq!(quota("priorityClassName: mine"), [Value::Null; 0]);
    assert_eq!(quota("resourceQuota: false"), [Value::Null; 0]);
}

#[test]
fn further_objects_are_rendered() {
    let extra = "{apiVersion: v1, kind: LimitRange, metadata: {name: '{{ .Release.Name }}-extra'}}";
    let rendered = objects(&format!("extraObjects: [{extra}]"));
    let name = &of(&rendered, "LimitRange")["metadata"]["name"];
    assert_eq!(*name, "surepull-extra");
}

#[test]
fn every_value_is_in_some_template() {
    let mut templates = String::new();
    for file in crate::valid::files(&path("charts/surepull/templates")) {
        templates += &fs::read_to_string(file).expect("a template");
    }
    let values = fs::read_to_string(path("charts/surepull/values.yaml")).expect("values");
    let values: Value = serde_saphyr::from_str(&values).expect("YAML");
    for (key, value) in values.as_object().expect("an object") {
        let named = [format!(".Values.{key}"), format!("\"{key}\"")];
        assert!(named.iter().any(|name| templates.contains(name)), "{key}");
        for inner in value.as_object().into_iter().flat_map(|map| map.keys()) {
            let named = [format!(".{inner}"), format!("\"{inner}\"")];
            let whole = templates.contains(&format!("toYaml .Values.{key}"));
            assert!(
                whole || named.iter().any(|name| templates.contains(name)),
                "{key}.{inner}"
            );
        }
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = fs::read_to_string(path("charts/surepull/Chart.yaml")).expect("a chart");
    let chart: Value = serde_saphyr::from_str(&chart).expect("YAML");
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}
