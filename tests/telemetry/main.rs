//! What operators look at, with a real Prometheus: each metric is documented, and no query of the dashboard or of the
//! alert rules is empty.

#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod load;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use load::Loaded;
use prometheus::{Prometheus, promtool};

/// The rounds of load after which something that is not there will not come.
const ROUNDS: usize = 40;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// The alert rules.
fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read("charts/surepull/files/alerts.yaml")).unwrap();
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// The expressions of the dashboard, as Grafana would send them.
fn dashboard() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&read("charts/surepull/files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    expressions
        .map(|text| text.replace("$__rate_interval", "1m"))
        .collect()
}

/// The series of surepull that an expression names.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("surepull_"))
}

/// What an alert compares; nothing is left of one that asks whether something is absent, or that the API server counts.
fn compared(expression: &str) -> Option<String> {
    if named(expression).next().is_none() || expression.starts_with("absent(") {
        return None;
    }
    let (left, _) = [" > ", " < ", " == "]
        .iter()
        .find_map(|sign| expression.rsplit_once(sign))
        .unwrap_or_else(|| panic!("{expression} compares nothing"));
    Some(left.to_owned())
}

/// The queries of dashboard and alerts, and the series that they name.
fn queries() -> BTreeSet<String> {
    let alerts = alerts();
    let expressions: Vec<_> = alerts
        .iter()
        .map(|alert| alert["expr"].as_str().unwrap())
        .collect();
    let mut all: BTreeSet<String> = dashboard().into_iter().collect();
    all.extend(expressions.iter().filter_map(|text| compared(text)));
    all.extend(
        expressions
            .iter()
            .flat_map(|text| named(text))
            .map(str::to_owned),
    );
    all
}

/// A metric as the reference has it.
#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The metrics of an exposition, by their names as queries have them.
fn metrics(exposition: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    let (mut kinds, mut helps) = (BTreeMap::new(), BTreeMap::new());
    for line in exposition.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => drop(kinds.insert(name, kind)),
            (Some("#"), Some("HELP"), Some(name), Some(help)) => drop(helps.insert(name, help)),
            (Some("#"), ..) => {}
            _ => {
                let series = line.rsplit_once(' ').unwrap().0;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let (family, kind) = kinds
                    .iter()
                    .filter(|(family, _)| name.starts_with(**family))
                    .max_by_key(|(family, _)| family.len())
                    .unwrap();
                let name = if *kind == "histogram" { family } else { name };
                let metric = metrics.entry(name.to_owned()).or_default();
                (*kind).clone_into(&mut metric.kind);
                helps[family]
                    .trim_end_matches('.')
                    .clone_into(&mut metric.help);
                metric.labels.extend(label_names(labels));
            }
        }
    }
    metrics
}

fn label_names(labels: &str) -> impl Iterator<Item = String> {
    // A value ends with a quote, the next name with `=`.
    let names = labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""));
    names
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "le")
}

/// The table of the reference.
fn table(metrics: &BTreeMap<String, Metric>) -> String {
    let mut table = String::from("| metric | type | labels | says |\n|---|---|---|---|\n");
    for (name, Metric { kind, help, labels }) in metrics {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            table,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        )
        .unwrap();
    }
    table
}

/// The page with another table.
fn rewritten(page: &str, table: &str) -> String {
    let (before, rest) = page.split_once("| metric |").unwrap_or((page, ""));
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    format!("{before}{table}\n{after}").trim_end().to_owned() + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_no_query_is_empty() {
    let loaded = Loaded::start().await;
    let rules = file("charts/surepull/files/alerts.yaml");
    let prometheus = Prometheus::start([loaded.served.ops, loaded.own.ops], &rules);
    let mut empty = queries();
    let mut written = String::new();
    let reference = read("docs/metrics.md");
    for round in 0..ROUNDS {
        loaded.round(round).await;
        empty.retain(|query| prometheus.ask(query).is_none());
        let mut all = BTreeMap::new();
        for served in [&loaded.own, &loaded.served] {
            let exposition = served.ops("/metrics").await.text();
            assert!(!exposition.contains("chosen-by-an-author"), "{exposition}");
            all.extend(metrics(&exposition));
        }
        written = table(&all);
        if empty.is_empty() {
            if std::env::var_os("SUREPULL_WRITE").is_some() {
                fs::write(file("docs/metrics.md"), rewritten(&reference, &written)).unwrap();
                return;
            }
            if reference.contains(&written) {
                return;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(empty.is_empty(), "these give nothing:\n{empty:#?}");
    panic!("docs/metrics.md is not current, run `make metrics`; the table is:\n{written}");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("alerts.test.yaml");
    let cases = read("tests/telemetry/alerts.test.yaml");
    let rules = file("charts/surepull/files/alerts.yaml");
    for alert in alerts() {
        let fires = format!("alertname=\"{}\"", alert["alert"].as_str().unwrap());
        assert!(cases.contains(&fires), "{fires} is not tested");
    }
    fs::write(&test, cases.replace("ALERTS_FILE", rules.to_str().unwrap())).unwrap();
    let (passed, said) = promtool(&["test", "rules", test.to_str().unwrap()]);
    assert!(passed, "{said}");
}

#[test]
fn the_rules_are_valid_and_each_alert_has_a_runbook() {
    let rules = file("charts/surepull/files/alerts.yaml");
    let (valid, said) = promtool(&["check", "rules", rules.to_str().unwrap()]);
    assert!(valid, "{said}");
    let runbooks = read("docs/runbooks.md");
    let sections: BTreeSet<_> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let alerts = alerts();
    let names: BTreeSet<_> = alerts
        .iter()
        .map(|alert| alert["alert"].as_str().unwrap())
        .collect();
    assert_eq!(names, sections);
    for alert in &alerts {
        let (name, page) = (
            alert["alert"].as_str(),
            alert["annotations"]["runbook"].as_str(),
        );
        let anchor = format!("docs/runbooks.md#{}", name.unwrap().to_lowercase());
        assert_eq!(page, Some(&*anchor), "{alert}");
    }
}
