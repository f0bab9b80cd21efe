//! The folders of `examples` on a real API server: their READMEs are followed command by command, and keep what they
//! promise.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::lifecycle::pod;
use crate::common::cluster::Registration;
use crate::common::example::{EXAMPLES, Example, Running, folder, objects};
use crate::common::wait_for;
use crate::world::World;
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 7] = [
        ("public_images_only", public_images_only),
        ("private_images_for_all", private_images_for_all),
        ("private_images_stricter", private_images_stricter),
        ("multi_tenant", multi_tenant),
        ("the_webhook_is_registered_as_in_other_tests", registration),
        ("all_files_are_explained", all_files),
        ("the_deployment_is_restricted_and_understood", deployment),
    ];
    crate::named("examples", cases)
}

/// Sets an example up and follows its README; what each command said.
fn follow(world: &World, name: &str) -> (Running, Vec<String>) {
    let start = Example::named(name).start(&world.cluster, |_| ());
    let running = world.runtime.block_on(start);
    let (mut all, mut other) = (Vec::new(), String::new());
    for step in running.example.steps() {
        let said = world.runtime.block_on(running.run(&step.command));
        if words(&said) != words(&step.said) {
            let (command, expected) = (&step.command, &step.said);
            write!(other, "$ {command}\n{said}instead of\n{expected}\n").expect("memory");
        }
        all.push(said);
    }
    assert!(other.is_empty(), "{name}/README.md:\n{other}");
    (running, all)
}

/// The words of a text, with digests cut off as READMEs do.
fn words(text: &str) -> String {
    let digit = |c: char| c.is_ascii_hexdigit() || c == '…';
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.trim_start_matches(digit));
    let short = rest.fold(first, |text, part| text + "sha256:…" + part);
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn public_images_only(world: &World) {
    let (running, said) = follow(world, "public-images-only");
    let pinned = |repository: &str, tag: &str| {
        let pinned = running.pinned("docker.io", repository, tag);
        world.runtime.block_on(pinned)
    };
    let (busybox, moved) = (
        pinned("library/busybox", "latest").replace(":latest", ""),
        pinned("library/nginx", "1.29"),
    );
    // Two Pods with the same two images, before the tag moved and after.
    let pods: Vec<&str> = said[3].lines().collect();
    assert_eq!(pods, [pods[0]; 2]);
    assert!(pods[0].ends_with(&busybox), "{} {busybox}", pods[0]);
    assert!(!pods[0].contains(&moved), "{} {moved}", pods[0]);
    // Applied again after that.
    assert_eq!(said[5].trim(), pods[0].trim());
    assert_eq!(said.last().expect("the restarted one").trim(), moved);
}

fn private_images_for_all(world: &World) {
    let (running, said) = follow(world, "private-images-for-all");
    let said = said.concat();
    for (host, repository) in [
        ("registry.example.com", "shop"),
        ("registry.example.com", "report"),
        ("partner.example.com", "feed"),
    ] {
        let pinned = running.pinned(host, repository, "1.0");
        let pinned = world.runtime.block_on(pinned);
        assert!(said.contains(&pinned), "{pinned}: {said}");
    }
    // Where there is no pull secret the company's images are found, too, and the partner's are not.
    let company = running.try_out(&pod("p", "registry.example.com/shop:1.0"));
    assert_eq!(company.stderr, "");
    let partner = running.try_out(&pod("p", "partner.example.com/feed:1.0"));
    assert!(
        partner.stderr.contains("not authorized"),
        "{}",
        partner.stderr
    );
}

fn private_images_stricter(world: &World) {
    let (running, said) = follow(world, "private-images-stricter");
    let ledger = running.pinned("vault.example.com", "ledger", "1.0");
    let ledger = world.runtime.block_on(ledger);
    assert!(said.concat().contains(&ledger), "{said:?}");
    // What the office has for another registry was not sent to the vault.
    let vault = running.registry("vault.example.com").log();
    assert_eq!(asked(&vault, &[REFUSED]), 0, "{vault}");

    // Without the mutating webhook.
    let run = |command: &str| world.runtime.block_on(running.run(command));
    run("kubectl -n office delete pod curious");
    run("kubectl delete mutatingwebhookconfiguration example-private-images-stricter");
    let create = "kubectl create --dry-run=server -f private-images-stricter/curious.yaml";
    let refused = world.cluster.kubectl().until("the API server knows", || {
        Some(run(create)).filter(|said| said.contains("denied the request"))
    });
    let readme = words(&running.example.readme());
    assert!(readme.contains(&words(&refused)), "{refused}");

    // While surepull is away no Pod is created, but those that are there can be changed and removed.
    running.stop();
    world.cluster.kubectl().until("surepull is away", || {
        Some(run(create)).filter(|said| said.contains("failed calling webhook"))
    });
    for command in [
        "label pods --all still=changed",
        "patch pods -l app=ledger -p '{\"metadata\": {\"finalizers\": null}}'",
        "delete pods --all --wait=false",
    ] {
        let said = run(&format!("kubectl -n finance {command}"));
        assert!(!said.contains("failed calling"), "{command}: {said}");
    }
}

fn multi_tenant(world: &World) {
    let (running, said) = follow(world, "multi-tenant");
    let run = |command: &str| world.runtime.block_on(running.run(command));
    let pinned = |host: &str, repository: &str, tag: &str| {
        let pinned = running.pinned(host, repository, tag);
        world.runtime.block_on(pinned)
    };
    let (acme, globex) = (
        running.registry("acme.example.com"),
        running.registry("globex.example.com"),
    );
    for pinned in [
        pinned("acme.example.com", "api", "1.0"),
        pinned("acme.example.com", "api", "2.0"),
        pinned("globex.example.com", "site", "1.0"),
    ] {
        assert!(said.concat().contains(&pinned), "{pinned}: {said:?}");
    }
    // Credentials were sent for the attempt, and refused, also when GET asked for the words; none to whom they are not for.
    let (by_acme, by_globex) = ("auth.user.name=acme", "auth.user.name=globex");
    let log = acme.log();
    assert_eq!(
        asked(&log, &[REFUSED, "uri=/v2/api/manifests/1.0"]),
        2,
        "{log}"
    );
    assert_ne!(
        asked(&log, &[by_acme, "uri=/v2/api/manifests/1.0"]),
        0,
        "{log}"
    );
    assert_eq!(asked(&log, &[by_globex]), 0, "{log}");
    assert_eq!(asked(&globex.log(), &[REFUSED]), 0, "{}", globex.log());

    // They were those of Globex: once Acme's registry knows that user, it is who asks.
    acme.admit("globex");
    run("kubectl -n globex delete pod attempt");
    let attempt = "sed s/api:1.0/api:2.0/ multi-tenant/attempt.yaml | kubectl create --dry-run=server -o yaml -f -";
    let said = run(attempt);
    let pinned = pinned("acme.example.com", "api", "2.0");
    assert!(said.contains(&pinned), "{said}");
    let by_globex = [by_globex, "uri=/v2/api/manifests/2.0"];
    world
        .runtime
        .block_on(wait_for(|| asked(&acme.log(), &by_globex) > 0));
}

/// What a registry logs of credentials that it does not accept.
const REFUSED: &str = "authentication failure";

/// How many lines of a registry's log are about requests of surepull, and hold all of this.
fn asked(log: &str, parts: &[&str]) -> usize {
    log.lines()
        .filter(|line| line.contains("useragent=surepull/"))
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .count()
}

/// The file that users apply says the same as what all other tests register, but for what each has of its own.
fn registration(_: &World) {
    let mut ours = Registration::new("", "", "").mutating();
    let mut file = objects("install/mutating-webhook.yaml").remove(0);
    let same = |object: &mut Value| {
        let mut webhook = object["webhooks"][0].take();
        for own in [
            "name",
            "clientConfig",
            "failurePolicy",
            "timeoutSeconds",
            "namespaceSelector",
        ] {
            assert_ne!(webhook[own].take(), Value::Null, "{own}");
        }
        webhook
    };
    assert_eq!(same(&mut file), same(&mut ours));
    let validating = objects("install/validating-webhook.yaml").remove(0);
    let core = &validating["webhooks"][0]["rules"];
    assert_eq!(
        core[0]["resources"],
        json!(["pods", "pods/ephemeralcontainers"])
    );
}

/// The Deployment keeps to the strictest rules for Pods, and its arguments are what surepull takes.
fn deployment(world: &World) {
    let strict = ("pod-security.kubernetes.io/warn", "restricted");
    let space = world.cluster.namespace("strict", &[strict]);
    let mut object = objects("install/deployment.yaml").remove(0);
    object["metadata"]["namespace"] = space.name().into();
    let tried = space.run_with(
        &["create", "--dry-run=server", "-f", "-"],
        &object.to_string(),
    );
    assert_eq!(tried.stderr, "");

    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().expect("arguments");
    let arguments = arguments.iter().filter_map(Value::as_str);
    // An argument that is not known is an error also before this one.
    let mut surepull = Command::new(env!("CARGO_BIN_EXE_surepull"));
    let output = surepull.args(arguments).arg("--help").output();
    let output = output.expect("surepull");
    assert!(output.status.success(), "{output:?}");
}

/// Every folder is an example that is tested or `install`, and every file is named in a README.
fn all_files(_: &World) {
    let names = |folder: &Path, folders: bool| -> BTreeSet<String> {
        let entries = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry"));
        entries
            .filter(|entry| entry.path().is_dir() == folders)
            .map(|entry| entry.file_name().into_string().expect("text"))
            .collect()
    };
    let all = fs::read_to_string(folder().join("README.md")).expect("a README");
    let tested = EXAMPLES.iter().map(|example| example.name.to_owned());
    let mut folders: BTreeSet<String> = tested.collect();
    for example in &EXAMPLES {
        assert!(
            all.contains(&format!("({})", example.name)),
            "{}",
            example.name
        );
        let readme = example.readme();
        let files = names(&folder().join(example.name), false);
        let unnamed: Vec<_> = files
            .iter()
            .filter(|file| *file != "README.md" && !readme.contains(*file))
            .collect();
        assert!(unnamed.is_empty(), "{}: {unnamed:?}", example.name);
    }
    let install = names(&folder().join("install"), false);
    assert!(
        install
            .iter()
            .all(|file| all.contains(&format!("install/{file}"))),
        "{install:?}"
    );
    folders.insert("install".to_owned());
    assert_eq!(names(&folder(), true), folders);
}
