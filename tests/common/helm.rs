//! The real `helm`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::assets::program;

/// A path below the root of the repository.
pub(crate) fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Runs helm with values on its standard input.
pub(crate) fn run(arguments: &[&str], values: &str) -> Output {
    let mut child = Command::new(program("helm"))
        .args(arguments)
        .args(["--values", "-"])
        .env("KUBECONFIG", "/dev/null")
        .current_dir(path("examples"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helm runs");
    let mut input = child.stdin.take().expect("standard input");
    input.write_all(values.as_bytes()).expect("helm reads");
    drop(input);
    child.wait_with_output().expect("helm ends")
}

/// What `helm template` prints for these values, or its error.
pub(crate) fn template(values: &str, arguments: &[&str]) -> Result<String, String> {
    render(
        "surepull",
        values,
        &[&["--namespace", "surepull"], arguments].concat(),
    )
}

/// The same for a release of this name.
pub(crate) fn render(release: &str, values: &str, arguments: &[&str]) -> Result<String, String> {
    let chart = path("charts/surepull");
    let chart = chart.to_str().expect("a path");
    let all = [&["template", release, chart], arguments].concat();
    let output = run(&all, values);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects of these values.
pub(crate) fn objects(values: &str) -> Vec<Value> {
    let text = template(values, &["--kube-version", "1.37.0"]).expect(values);
    documents(&text)
}

/// The objects of a text of YAML documents.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect(text);
    documents.into_iter().filter(|one| !one.is_null()).collect()
}

/// The objects of `deploy/surepull.yaml`.
pub(crate) fn deployed() -> Vec<Value> {
    let text = std::fs::read_to_string(path("deploy/surepull.yaml"));
    documents(&text.expect("deploy/surepull.yaml"))
}

/// The object of this kind; the first where there are several.
pub(crate) fn of<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let of_kind = |object: &&Value| object["kind"] == kind;
    objects.iter().find(of_kind).expect(kind)
}
