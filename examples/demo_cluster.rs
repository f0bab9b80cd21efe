//! `make demo-cluster`: the folders of `examples`, on a real API server, without the internet.
//!
//! etcd, kube-apiserver, controllers, scheduler and a fake node run on loopback, with a registry for each host that the
//! examples name. The READMEs are followed with the real `kubectl`, and each object that they apply is shown as it would
//! be stored without surepull and as it is. Then the cluster is yours, until Ctrl-C.
#![allow(clippy::print_stdout, reason = "it is there to be looked at")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::future::pending;

use common::assets;
use common::cluster::{Cluster, Kubectl};
use common::example::{EXAMPLES, Running, objects};
use common::show::{Style, diff};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// A user whose objects surepull is not asked about.
const WITHOUT: &str = "without-surepull";

#[tokio::main]
async fn main() {
    tokio::select! {
        () = show() => {}
        () = until_asked_to_stop() => {}
    }
    println!("\ntaking everything down");
}

/// Shows everything, and goes on for ever.
async fn show() {
    println!(
        "starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and a fake node ..."
    );
    let cluster = Cluster::start(&[])
        .with_controllers()
        .with_scheduler()
        .with_fake_node();
    let mut all = Vec::new();
    for example in &EXAMPLES {
        // The API server passes over surepull for one user.
        let others = format!(
            r#"webhook.matchConditions=[{{"name": "others", "expression": "request.userInfo.username != '{WITHOUT}'"}}]"#
        );
        let running = example.start(&cluster, &["--set-json", &others]).await;
        follow(&cluster.kubectl(), &running).await;
        all.push(running);
    }
    invite(&cluster);
    pending::<()>().await;
}

/// Follows a README.
async fn follow(kubectl: &Kubectl, running: &Running) {
    let (example, readme) = (running.example, running.example.readme());
    let mut paragraphs = readme.split("\n\n");
    println!("\n");
    Style::Title.say(paragraphs.next().unwrap_or_default());
    println!("\n{}", paragraphs.next().unwrap_or_default());
    println!(
        "(examples/{0}, with examples/{0}/values.yaml)",
        example.name
    );
    for step in example.steps() {
        // Between two commands somebody may ask to stop.
        tokio::task::yield_now().await;
        if !step.told.is_empty() {
            println!("\n{}", step.told);
        }
        println!();
        Style::Title.say(&format!("$ {}", step.command.replace('\n', "\n> ")));
        run(kubectl, running, &step.command).await;
    }
}

/// Runs a command, and shows what it says and what becomes of the objects that it applies.
async fn run(kubectl: &Kubectl, running: &Running, command: &str) {
    let applied: Vec<Value> = applied_file(command)
        .into_iter()
        .flat_map(objects)
        .collect();
    let earlier: Vec<(&str, Value)> = applied
        .iter()
        .map(|object| match stored(kubectl, object) {
            Some(stored) => ("before and after", stored),
            None => ("without surepull and with it", without(kubectl, object)),
        })
        .collect();
    for line in running.run(command).await.lines() {
        if line.starts_with("Warning: ") {
            Style::Warning.say(line);
        } else {
            println!("{line}");
        }
    }
    for (object, (words, earlier)) in applied.iter().zip(&earlier) {
        let now = stored(kubectl, object).expect("what was applied is there");
        Style::Faint.say(&format!("  {}, {words}:", title(object)));
        diff(earlier, &now);
    }
}

/// The file of workloads that a command applies, if it does.
fn applied_file(command: &str) -> Option<&str> {
    let file = command.strip_prefix("kubectl apply -f ")?;
    file.split_whitespace().next()
}

/// The object as it would be stored without surepull.
fn without(kubectl: &Kubectl, object: &Value) -> Value {
    let arguments = "create --dry-run=server -o json -f - --as-group system:masters --as";
    let arguments: Vec<&str> = arguments.split(' ').chain([WITHOUT]).collect();
    in_namespace(kubectl, object)
        .run_with(&arguments, &object.to_string())
        .json()
}

/// The object as it is stored, if it is.
fn stored(kubectl: &Kubectl, object: &Value) -> Option<Value> {
    let output = in_namespace(kubectl, object).run(&["get", &title(object), "-o", "json"]);
    output.ok.then(|| output.json())
}

fn in_namespace(kubectl: &Kubectl, object: &Value) -> Kubectl {
    let name = object["metadata"]["namespace"]
        .as_str()
        .expect("a namespace");
    kubectl.clone().namespace(name)
}

/// `KIND/NAME`
fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Says how to go on.
fn invite(cluster: &Cluster) {
    let kubeconfig = cluster.kubeconfig();
    let kubectl = assets::program("kubectl");
    let programs = kubectl.parent().expect("a folder");
    println!("\n");
    Style::Title.say("The cluster is yours. In another terminal:");
    println!(
        "\n  export KUBECONFIG={} PATH={}:$PATH",
        kubeconfig.display(),
        programs.display()
    );
    for command in [
        "kubectl get pods -A -o wide",
        "kubectl -n website create deployment mine --image=nginx:1.29",
        "kubectl -n website get deployment mine -o yaml",
        "kubectl -n finance run mine --image=vault.example.com/ledger:9.9",
        "kubectl -n globex run mine --image=acme.example.com/api:1.0",
        "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations",
    ] {
        println!("  {command}");
    }
    println!("\nCtrl-C ends it.");
}

/// Waits for Ctrl-C, or for another word to stop.
async fn until_asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
