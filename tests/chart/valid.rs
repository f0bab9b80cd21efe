//! All that the chart renders is what the API servers of the oldest and of the newest supported Kubernetes know, by the
//! schemas that these publish.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::assets::{folder, program};
use crate::helm::{documents, run, template};

/// The releases: the folder of their schemas, and what helm takes the cluster for.
const RELEASES: [(&str, &str); 2] = [("oldest", "1.28.0"), ("newest", "1.37.0")];

/// Values with their alternatives; all of these are combined with one another.
const STRUCTURE: [(&str, &[&str]); 4] = [
    (
        "certificates",
        &[
            "{mode: self}",
            "{mode: cert-manager}",
            "{mode: cert-manager, certManager: {issuer: {kind: ClusterIssuer, name: ca}}}",
            "{mode: secret, secret: {name: tls, caBundle: Q0E=}}",
        ],
    ),
    (
        "validation",
        &[
            "{type: none}",
            "{type: webhook}",
            "{type: policy}",
            "{type: policy, require: Always}",
        ],
    ),
    (
        "rbac",
        &[
            "{secrets: cluster}",
            "{secrets: none}",
            "{secrets: namespaces, secretNamespaces: [a, b]}",
        ],
    ),
    ("configIn", &["ConfigMap", "Secret"]),
];

/// Values that are switched on and off beside them.
const SWITCHES: [(&str, &str); 25] = [
    (
        "networkPolicy",
        "{enabled: true, metricsFrom: [{podSelector: {}}], egress: [{ports: [{port: 443}]}]}",
    ),
    (
        "serviceMonitor",
        "{enabled: true, labels: {release: prometheus}}",
    ),
    (
        "prometheusRule",
        "{enabled: true, labels: {release: prometheus}}",
    ),
    ("dashboard", "{enabled: true}"),
    ("podDisruptionBudget", "{enabled: false}"),
    ("topologySpread", "false"),
    (
        "image",
        "{repository: r.example/s, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}",
    ),
    ("imagePullSecrets", "[{name: own}]"),
    (
        "config",
        "{presets: [tekton, knative], customResources: [{group: g.example, kind: K, podSpecs: [/spec]}]}",
    ),
    ("configFiles", "{a.json: '{}'}"),
    ("serviceAccount", "{name: other, annotations: {a: b}}"),
    ("nameOverride", "other"),
    ("commonLabels", "{team: platform}"),
    (
        "extraObjects",
        "[{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-extra'}}]",
    ),
    ("hostNetwork", "true"),
    ("ports", "{https: 10250, ops: 10255}"),
    ("podSecurityContext", "{runAsUser: null, runAsGroup: null}"),
    ("securityContext", "{privileged: false}"),
    ("args", "[--drain=5s]"),
    ("log", "{format: text, filter: 'info,surepull=debug'}"),
    (
        "env",
        "[{name: HTTPS_PROXY, value: 'http://proxy.example:3128'}]",
    ),
    ("volumes", "[{name: ca, configMap: {name: ca}}]"),
    ("volumeMounts", "[{name: ca, mountPath: /ca}]"),
    ("tolerations", "[{operator: Exists}]"),
    ("affinity", "{nodeAffinity: {}}"),
];

/// Every combination of the structure; the switches change at different paces, so that each pair is met both ways.
fn matrix() -> Vec<String> {
    let sizes: Vec<usize> = STRUCTURE.iter().map(|(_, all)| all.len()).collect();
    let combinations: usize = sizes.iter().product();
    let mut matrix = vec!["{}".to_owned()];
    for index in 0..combinations {
        let (mut rest, mut values) = (index, Vec::new());
        for ((key, alternatives), size) in STRUCTURE.iter().zip(&sizes) {
            values.push(format!("{key}: {}", alternatives[rest % size]));
            rest /= size;
        }
        for (place, (key, value)) in SWITCHES.iter().enumerate() {
            // The bits of a product with an odd number are as good as thrown.
            if (index * 2_654_435_761) >> (place + 5) & 1 == 1 {
                values.push(format!("{key}: {value}"));
            }
        }
        values.push("webhook: {resources: {K.g.example: ks}}".to_owned());
        matrix.push(values.join("\n"));
    }
    matrix
}

#[test]
fn all_switches_render_what_api_servers_know() {
    let work = tempfile::tempdir().expect("a folder");
    for (name, release) in RELEASES {
        let (schemas, rendered) = (work.path().join(name), work.path().join("rendered"));
        fs::create_dir_all(&rendered).expect("a folder");
        let mut kinds = BTreeSet::new();
        for (index, values) in matrix().iter().enumerate() {
            let text = match template(values, &["--kube-version", release]) {
                Ok(text) => text,
                Err(error) if release == "1.28.0" && values.contains("{type: policy") => {
                    assert!(
                        error.contains("validation.type: policy needs Kubernetes 1.30"),
                        "{error}"
                    );
                    continue;
                }
                Err(error) => panic!("{values}\n{error}"),
            };
            let lines = text.lines().filter_map(|line| line.strip_prefix("kind: "));
            kinds.extend(lines.map(str::to_owned));
            fs::write(rendered.join(format!("{index}.yaml")), text).expect("a file");
        }
        assert!(kinds.len() > 15, "{kinds:?}");
        write_schemas(name, &schemas, &kinds);
        let location = format!(
            "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
            schemas.display()
        );
        let output = Command::new(program("kubeconform"))
            .args(["-strict", "-summary", "-schema-location", &location])
            .arg(&rendered)
            .output()
            .expect("kubeconform");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
        let [.., summary] = said.lines().collect::<Vec<_>>()[..] else {
            panic!("no summary: {said}");
        };
        assert!(
            summary.contains("Invalid: 0, Errors: 0, Skipped: 0"),
            "{summary}"
        );
        fs::remove_dir_all(rendered).expect("a folder");
    }
}

/// Writes a schema for each of these kinds as kubeconform looks for them, `KIND-GROUP-VERSION.json`.
fn write_schemas(release: &str, to: &Path, kinds: &BTreeSet<String>) {
    let is_wanted = |kind: &Value| {
        kind["kind"]
            .as_str()
            .is_some_and(|kind| kinds.contains(kind))
    };
    fs::create_dir(to).expect("a folder");
    for file in files(&folder("schemas").join(release)) {
        let text = fs::read_to_string(&file).expect("a schema");
        let mut document: Value = serde_json::from_str(&text).expect("JSON");
        let mut schemas = document["components"]["schemas"].take();
        close(&mut schemas);
        let all = json!({"components": {"schemas": schemas}});
        for (name, schema) in all["components"]["schemas"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let all_of = schema["x-kubernetes-group-version-kind"].as_array();
            // Some, such as DeleteOptions, are of every group.
            let Some([kind]) = all_of
                .map(Vec::as_slice)
                .filter(|kinds| is_wanted(&kinds[0]))
            else {
                continue;
            };
            let mut own = all.clone();
            own["$ref"] = format!("#/components/schemas/{name}").into();
            write_schema(to, kind, &own);
        }
    }
    for project in ["cert-manager", "prometheus-operator"] {
        for file in files(&folder("schemas").join(project)) {
            let text = fs::read_to_string(&file).expect("a definition");
            for definition in documents(&text) {
                let spec = &definition["spec"];
                for version in spec["versions"].as_array().into_iter().flatten() {
                    let mut schema = version["schema"]["openAPIV3Schema"].clone();
                    schema["properties"]["metadata"] = json!({"type": "object"});
                    close(&mut schema);
                    let kind = json!({"group": spec["group"], "version": version["name"], "kind": spec["names"]["kind"]});
                    if is_wanted(&kind) {
                        write_schema(to, &kind, &schema);
                    }
                }
            }
        }
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_data = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| ["json", "yaml", "tpl"].iter().any(|known| end == *known))
    };
    paths.filter(is_data).collect()
}

fn write_schema(to: &Path, kind: &Value, schema: &Value) {
    let text = |key: &str| kind[key].as_str().expect(key).to_lowercase();
    let group = text("group");
    let group = group.split('.').next().unwrap_or_default();
    let group = if group.is_empty() {
        String::new()
    } else {
        format!("-{group}")
    };
    let name = format!("{}{group}-{}.json", text("kind"), text("version"));
    fs::write(to.join(name), schema.to_string()).expect("a schema");
}

/// Takes it for a mistake where an object has a field that its schema does not name.
fn close(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        let open = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        if object.get("properties").is_some_and(Value::is_object)
            && object.get("type") == Some(&json!("object"))
            && !object.contains_key("additionalProperties")
            && !open
        {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
        object.values_mut().for_each(close);
    }
    if let Some(array) = schema.as_array_mut() {
        array.iter_mut().for_each(close);
    }
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let chart = crate::helm::path("charts/surepull");
    let output = run(&["lint", "--strict", chart.to_str().expect("a path")], "{}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // Not even that there should be an icon.
    assert!(!said.contains("[WARNING]"), "{said}");
}

#[test]
fn the_same_values_give_the_same_objects() {
    const OTHERS: [&str; 12] = [
        "lookup",
        "randAlpha",
        "randAlphaNum",
        "randNumeric",
        "randBytes",
        "randInt",
        "uuidv4",
        "now",
        "genCA",
        "genPrivateKey",
        "genSelfSignedCert",
        "genSignedCert",
    ];
    let mut calls = 0;
    for file in files(&crate::helm::path("charts/surepull/templates")) {
        let text = fs::read_to_string(&file).expect("a template");
        let actions = text
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split("}}").next());
        for word in actions.flat_map(|action| action.split(|c: char| !c.is_alphanumeric())) {
            assert!(!OTHERS.contains(&word), "{}: {word}", file.display());
            calls += 1;
        }
    }
    assert!(calls > 500, "{calls}");
    for values in matrix().iter().step_by(7) {
        let [first, second] = [(); 2].map(|()| template(values, &[]));
        assert_eq!(first.expect(values), second.expect(values));
    }
}
