//! What the user at `kubectl` sees where an image cannot be looked up. README quotes it from here.

use std::io::Read;
use std::net::TcpListener;
use std::thread;

use super::lifecycle::{deployment, image};
use crate::common::registry::TestRegistry;
use crate::world::World;
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 2] = [
        ("are_allowed_and_explained_as_readme_quotes", explained),
        ("are_refused_or_ignored_where_so_configured", by_class),
    ];
    crate::named("failures", cases)
}

fn explained(world: &World) {
    let private = TestRegistry::with_basic_auth();
    // Nobody listens where somebody did; and one who listens never answers.
    let down = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hangs = hanging.local_addr().expect("an address");
    let settings = format!(
        "registries:\n\
         - {{match: registry.test, endpoints: ['{0}']}}\n\
         - {{match: registry.example.com, endpoints: ['{0}']}}\n\
         - {{match: private.example.com, endpoints: ['{1}']}}\n\
         - {{match: down.example.com, endpoints: ['http://{down}']}}\n\
         - {{match: hanging.example.com, endpoints: ['http://{hangs}']}}\n",
        world.registry.endpoint(),
        private.endpoint(),
    );
    world.serve_with("failing", &settings, |registration| {
        registration.timeout_seconds = 5;
    });
    let space = world.namespace("failing", "failing");
    // Ends with the tests: it waits for a look-up, then until the other end has enough, as a registry that hangs does.
    thread::spawn(move || {
        let (mut stream, _) = hanging.accept().expect("a look-up");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let quoted = quoted();
    for (host, tag) in [
        ("registry", "9.9"),
        ("private", "1.0"),
        ("down", "1.0"),
        ("hanging", "1.0"),
    ] {
        let image = format!("{host}.example.com/app:{tag}");
        let applied = space.apply(&deployment(host, &image, 0));
        let said = applied.stderr.replace(&down.to_string(), "10.0.0.7:443");
        assert_eq!(
            applied.success(),
            format!("deployment.apps/{host} created\n")
        );
        assert_eq!(self::image(&space.get("deployment", host)), image);
        assert!(
            quoted.contains(&words(&said)),
            "README does not quote: {said}"
        );
    }
}

fn by_class(world: &World) {
    let down = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let settings = format!(
        "registries:\n\
         - {{match: registry.test, endpoints: ['{0}']}}\n\
         - {{match: registry.example.com, endpoints: ['{0}']}}\n\
         - {{match: down.example.com, endpoints: ['http://{down}']}}\n\
         pin: {{errors: {{notFound: deny, unavailable: allow}}}}\n",
        world.registry.endpoint(),
    );
    world.serve("denying", &settings);
    let space = world.namespace("denying", "denying");
    let object =
        |name: &str, image: &str| deployment(name, &format!("{image}.example.com/app:9.9"), 0);
    let refused = space.apply(&object("registry", "registry")).refused();
    let refusal = "denied the request: surepull: container \"c\": image registry.example.com/app:9.9 is not pinned: registry.example.com: manifest for app:9.9 not found";
    assert!(refused.contains(refusal), "{refused}");
    assert!(space.list("deployments").is_empty());
    let created = space.apply(&object("down", "down"));
    assert_eq!(created.stderr, "");
    assert_eq!(created.success(), "deployment.apps/down created\n");
}

/// The warnings that README quotes, which are four.
fn quoted() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```text\n").skip(1);
    let paragraphs = blocks.flat_map(|rest| rest.split("```").next().unwrap_or(rest).split("\n\n"));
    let warnings: Vec<_> = paragraphs
        .map(words)
        .filter(|paragraph| paragraph.starts_with("Warning: surepull: container "))
        .collect();
    assert_eq!(warnings.len(), 4);
    warnings
}

/// With one space between words, so that lines may be folded.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
