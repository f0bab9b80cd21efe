//! What the pages in `docs` say of `kubectl`, done on a real API server.

use serde_json::{Value, json};

use super::lifecycle::pod;
use crate::common::cluster::{Kubectl, Registration};
use crate::common::example::objects;
use crate::common::page::Page;
use crate::world::World;
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 4] = [
        ("all_commands_are_known", known),
        ("break_glass_and_uninstall", break_glass),
        ("pull_secrets_are_made", pull_secrets),
        ("rights_for_one_namespace", rights),
    ];
    crate::named("pages", cases)
}

/// The `sh` blocks of a section of a page.
fn commands(page: &str, section: &str) -> Vec<String> {
    Page::read(page).section(section).blocks("sh")
}

/// Every `kubectl` in the pages is a command with flags that `kubectl` has.
fn known(world: &World) {
    let pages = Page::all().into_iter();
    let mut tried = 0;
    for page in pages.filter(|page| page.path.starts_with("docs/")) {
        let blocks = ["sh", "console"].map(|kind| page.blocks(kind)).concat();
        let lines = blocks.iter().flat_map(|block| block.lines());
        let lines = lines.map(|line| line.strip_prefix("$ ").unwrap_or(line).to_owned());
        let commands = lines
            .chain(page.spans())
            .filter(|line| line.starts_with("kubectl "));
        for command in commands {
            // With it nothing is done, but a mistake before it is one all the same.
            let alone = command.split(" | ").next().unwrap_or_default();
            let alone = alone.trim_end_matches(['&', ' ', '\\', '…']);
            let help = world
                .cluster
                .kubectl()
                .shell(&format!("{alone} --help"))
                .success();
            let mut words = alone.split(' ').skip(1);
            let verb = match words.next() {
                Some("-n") => words.nth(1),
                verb => verb,
            };
            let usage = format!("kubectl {}", verb.unwrap_or_default());
            assert!(help.contains(&usage), "{}: {command}", page.path);
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} commands are found");
}

/// A surepull that nobody reaches stands in the way; each block of commands clears it.
fn break_glass(world: &World) {
    const NAME: &str = "break-glass";
    let space = world.cluster.namespace(NAME, &[("surepull", NAME)]);
    let registration = Registration::new(NAME, "https://127.0.0.1:1/mutate", "");
    let (mut mutating, mut validating) = (registration.mutating(), registration.validating());
    for object in [&mut mutating, &mut validating] {
        object["webhooks"][0]["clientConfig"] = json!({"url": "https://127.0.0.1:1/"});
    }
    let tried = pod("p", "registry.test/app:1.0");
    let stand_in_the_way = || {
        space.apply(&mutating).success();
        space.apply(&validating).success();
        for webhook in ["mutating", "validating"] {
            // Both are called, one after the other: each is seen alone.
            let other = if webhook == "mutating" {
                "validating"
            } else {
                "mutating"
            };
            policy(&space, other, "Ignore");
            space.until("the webhook stands in the way", || {
                let refused = space.try_out(&tried).stderr;
                refused.contains("failed calling webhook").then_some(())
            });
            policy(&space, other, "Fail");
        }
    };
    let until_clear = |what: &str| {
        space.until(what, || space.try_out(&tried).ok.then_some(()));
    };
    // In this cluster the installation has another name.
    let run = |block: &str| {
        let block = block.replace("configuration surepull", &format!("configuration {NAME}"));
        space.shell(&block).success()
    };

    let blocks = commands("docs/operations.md", "Break glass");
    let [list, ignore, delete] = &blocks[..] else {
        panic!("three blocks: {blocks:?}");
    };
    stand_in_the_way();
    let listed = run(list);
    let ours = listed
        .lines()
        .filter(|line| line.contains(NAME) && line.ends_with("Fail"));
    assert_eq!(ours.count(), 2, "{listed}");
    first_look(&space, &tried);
    run(ignore);
    until_clear("objects pass");
    let uninstall = &commands("docs/operations.md", "Uninstalling")[0];
    for block in [delete, uninstall] {
        stand_in_the_way();
        run(block);
        until_clear("objects pass again");
        let left = run(list);
        assert!(!left.contains(NAME), "{left}");
        // Once more is no mistake.
        run(block);
    }
}

/// What is looked at first shows both webhooks, and that they refuse.
fn first_look(space: &Kubectl, tried: &Value) {
    let blocks = commands("docs/troubleshooting.md", "First look");
    let refused = format!("cat > pod.yaml <<'POD'\n{tried}\nPOD\n{}", blocks[0]);
    let refused = space.shell(&refused).refused();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    let found = blocks[1]
        .lines()
        .find(|line| line.contains("webhookconfiguration"));
    let found = found.expect("a command").replace("surepull", space.name());
    let found = space.shell(&found).success();
    assert_eq!(
        found.matches(&format!("/{}", space.name())).count(),
        2,
        "{found}"
    );
}

/// Sets what happens where a webhook does not answer.
fn policy(space: &Kubectl, webhook: &str, policy: &str) {
    let kind = format!("{webhook}webhookconfiguration");
    let patch = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]);
    let arguments = [
        "patch",
        &kind,
        space.name(),
        "--type=json",
        "-p",
        &patch.to_string(),
    ];
    space.run(&arguments).success();
}

/// Both ways make a Secret that the kubelet reads.
fn pull_secrets(world: &World) {
    let space = world.cluster.namespace("pull-secrets-of-pages", &[]);
    let blocks = commands("docs/concepts.md", "Pull secrets");
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    let file = r#"{"auths": {"registry.example.com": {"auth": "bWU6Y2hhbmdlLW1l"}}}"#;
    for block in blocks {
        let block = format!("echo '{file}' > config.json\n{block}");
        space.shell(&block).success();
        let secret = space.get("secret", "registry");
        assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
        let data = "{{index .data \".dockerconfigjson\" | base64decode}}";
        let template = format!("-o=go-template={data}");
        let config = space
            .run(&["get", "secret", "registry", &template])
            .success();
        let config: Value = serde_json::from_str(&config).expect("JSON");
        let entry = &config["auths"]["registry.example.com"];
        assert_eq!(entry["auth"], "bWU6Y2hhbmdlLW1l");
        space.run(&["delete", "secret", "registry"]).success();
    }
}

/// The objects are taken, and are for the account that surepull is installed with.
fn rights(world: &World) {
    let space = world.cluster.namespace("team-a", &[]);
    let page = Page::read("docs/security.md").section("Rights");
    let block = &page.blocks("yaml")[0];
    space.run_with(&["apply", "-f", "-"], block).success();
    let installed = objects("install/access.yaml");
    let binding = installed
        .iter()
        .find(|object| object["kind"] == "ClusterRoleBinding");
    let stored = space.get("rolebinding", "surepull");
    assert_eq!(stored["subjects"], binding.expect("a binding")["subjects"]);
    let account = "--as=system:serviceaccount:surepull:surepull";
    space.wait_for(&["auth", "can-i", "get", "secret/registry", account]);
}
