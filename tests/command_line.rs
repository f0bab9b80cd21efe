//! What the binary says of its arguments and files.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_surepull"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    for (arguments, parts) in [
        (
            &["serve", "--kubeconfig", "/absent"][..],
            &["/absent", "--kubeconfig", "--standalone"][..],
        ),
        (
            &["serve", "--standalone", "--kubeconfig", "a"],
            &["--standalone", "--kubeconfig"],
        ),
        (
            &["serve", "--standalone", "--tls-cert", "a"],
            &["--tls-cert", "--tls-key"],
        ),
        (
            &["serve", "--standalone", "--tls-key", "a"],
            &["--tls-cert", "--tls-key"],
        ),
        (
            &["serve", "--standalone", "--config", "/absent"],
            &["/absent"],
        ),
        (
            &["serve", "--standalone", "--listen", "localhost"],
            &["--listen"],
        ),
        (
            &["serve", "--standalone", "--drain", "5"],
            &["--drain", "not a duration"],
        ),
        (
            &["serve", "--standalone", "--tls-self"],
            &["--tls-self", "--standalone"],
        ),
        (
            &["serve", "--tls-self", "--tls-cert", "a", "--tls-key", "b"],
            &["--tls-self", "--tls-cert"],
        ),
        (
            &["serve", "--tls-self", "--tls-leaf-validity", "14s"],
            &["--tls-leaf-validity", "at least `15s`"],
        ),
        (
            &["serve", "--tls-self", "--namespace", "a/../b"],
            &["--namespace", "lower case letters"],
        ),
        (&["config", "check", "/absent"], &["/absent"]),
        (&["nonsense"], &["nonsense"]),
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn certificates_have_to_end_before_their_authority() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = common::fake_api::kubeconfig(folder.path(), ([127, 0, 0, 1], 1).into());
    let kubeconfig = kubeconfig.to_str().unwrap();
    let lives = ["--tls-ca-validity", "1439h"];
    let output = run(&[
        &["serve", "--tls-self", "--kubeconfig", kubeconfig][..],
        &lives,
    ]
    .concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--tls-ca-validity is less than twice --tls-leaf-validity"),
        "{said}"
    );
}

#[test]
fn a_port_in_use_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let output = run(&[
        "serve",
        "--standalone",
        "--ops-listen",
        "127.0.0.1:0",
        "--listen",
        &taken,
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("cannot listen on {taken}")),
        "{said}"
    );
}

/// What is said of a configuration that is valid.
fn checked(file: &Path, credentials: &str) -> String {
    let header = "apiVersion: surepull.dev/v1alpha1\nkind: Configuration";
    std::fs::write(file, format!("{header}\ncredentials: {{{credentials}}}\n")).unwrap();
    let output = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn configurations_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("surepull.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "").unwrap();
    let output = run(&["config", "check", path]);
    assert_eq!(output.status.code(), Some(0));

    let entries = folder.path().join("docker.json");
    let document = r#"{"auths": {"r[0-9].test": {"auth": "dTpodW50ZXIy"}, "*-r.test": {}}}"#;
    std::fs::write(&entries, document).unwrap();
    for (patterns, source, warning) in [
        (
            "kubelet",
            &*entries,
            Some(r#"entry "r[0-9].test" of file "#),
        ),
        ("documented", &entries, Some(r#"entry "*-r.test" of file "#)),
        (
            "kubelet",
            Path::new("/absent"),
            Some("cannot read the credentials file /absent"),
        ),
        ("kubelet", Path::new("[]"), None),
    ] {
        let files = format!("[{}]", source.display()).replace("[[]]", "[]");
        let said = checked(
            &file,
            &format!("patterns: {patterns}, dockerConfig: {files}"),
        );
        let lines: Vec<_> = said.lines().collect();
        let (valid, warnings) = lines.split_last().unwrap();
        assert_eq!(*valid, format!("{path}: valid"));
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{said}");
        let expected = warning.map(|warning| format!("{path}: warning: {warning}"));
        assert!(said.starts_with(&expected.unwrap_or_default()), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    std::fs::write(
        &file,
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\npinn: {}\n",
    )
    .unwrap();
    let output = run(&["config", "check", path]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        format!("{path}:3:1: pinn: unknown key; did you mean `pin`?\n")
    );
    let schema = run(&["config", "schema"]);
    assert_eq!(schema.status.code(), Some(0));
    assert_eq!(schema.stdout, surepull::config::schema().into_bytes());
}

#[test]
fn folders_of_credentials_are_checked_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("surepull.yaml");
    let path = file.display();
    let [empty, full] = ["empty", "full"].map(|name| folder.path().join(name));
    for folder in [&empty, &full] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(full.join("config.json"), "{}").unwrap();
    let shown = |folders: &[&Path]| {
        let folders = folders.iter().map(|folder| folder.display().to_string());
        folders.collect::<Vec<_>>().join(", ")
    };
    let said = checked(
        &file,
        &format!("dockerConfig: [{}]", shown(&[&empty, &full])),
    );
    assert_eq!(said, format!("{path}: valid\n"));
    let said = checked(
        &file,
        &format!("dockerConfig: [{}, /absent]", shown(&[&empty])),
    );
    assert!(said.contains(&format!("no credentials in {}: ", empty.display())));
    assert!(said.contains("cannot read the credentials file /absent; "));
}

#[test]
fn credential_providers_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("surepull.yaml");
    let path = file.display();
    let bin_dir = folder.path();
    // Of providers is said what surepull would not start with.
    let providers = folder.path().join("providers.yaml");
    let entry = "{name: ecr, apiVersion: credentialprovider.kubelet.k8s.io/v1, matchImages: ['*.io'], defaultCacheDuration: 1h, env: [{name: A, value: hunter2}]}";
    let good = format!(
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders: [{entry}]\n"
    );
    let check = || {
        let config = providers.display();
        let bin_dir = bin_dir.display();
        checked(
            &file,
            &format!("providers: {{config: {config}, binDir: {bin_dir}}}"),
        )
    };
    let warning = |place: &str| format!("{path}: warning: credentials.providers.{place}");
    let at = |place: &str| warning(&format!("config: {}{place}", providers.display()));
    for (text, expected) in [
        (None, warning("config: `")),
        (
            Some("hunter2: hunter2".to_owned()),
            at(":1:1: hunter2: unknown key; "),
        ),
        (Some(good.replace("hunter2", "[hunter2]")), at(":3:")),
        (
            Some(good.replace("[{name: A, value: hunter2}]", "hunter2")),
            at(":3:"),
        ),
        (Some(good.clone()), warning("binDir: there is no program `")),
    ] {
        if let Some(text) = &text {
            std::fs::write(&providers, text).unwrap();
        }
        let said = check();
        assert!(said.starts_with(&expected), "{said}\n{expected}");
        assert!(
            said.contains("; ") && said.ends_with(&format!("\n{path}: valid\n")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(
            !said.replace("hunter2: unknown", "").contains("hunter2"),
            "{said}"
        );
    }
    symlink("/bin/sh", bin_dir.join("ecr")).unwrap();
    assert_eq!(check(), format!("{path}: valid\n"));
}
