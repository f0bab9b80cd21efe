//! Two replicas that manage their certificates themselves, with the rights that the docs name and no others.

mod replicas;
mod skew;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::common::serve::Served;
use crate::world::World;
use crate::{Case, Test};
use replicas::Replicas;
use skew::Skewed;

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 4] = [
        ("are_agreed_on_and_healed", healed),
        ("survive_a_lost_lease_and_a_killed_holder", handed_over),
        ("rotate_under_load", rotated),
        ("follow_the_clock_of_the_api_server", skewed),
    ];
    crate::named("certificates", cases)
}

/// A year for the CA; short lives for the rest, so that looks are frequent.
const STEADY: [&str; 2] = ["--tls-leaf-validity", "60s"];

fn healed(world: &World) {
    let start = Served::start_tracing;
    let replicas = Replicas::start_by(start, world, "healed", &STEADY, &world.kubeconfig());
    let ca = replicas.ca();
    let mut secrets = replicas.key_lines();
    assert_eq!(replicas.holders(), 1);
    replicas.until_bundle_is(&ca);
    replicas.assert_reviewed(world);

    let secret = ["delete", "secret", "surepull-ca"];
    replicas.space.run(&secret).success();
    replicas.until("the Secret is back", || {
        replicas.find_ca().as_deref() == Some(&*ca)
    });
    // Data of others stays, and so does what was never touched.
    let damage = json!({"data": {"ca.key": "aHVudGVyMg==", "other": "b3RoZXI="}});
    replicas.patch("secret/surepull-ca", &damage);
    replicas.until("the key is back", || {
        let data = &replicas.space.get("secret", "surepull-ca")["data"];
        assert_eq!(
            (&data["ca.crt"], &data["other"]),
            (&json!(replicas::base64(&ca)), &json!("b3RoZXI="))
        );
        data["ca.key"] != "aHVudGVyMg=="
    });

    // Somebody else's CA, and nobody's.
    let other = std::fs::read_to_string(world.cluster.pki().path("ca.crt")).expect("a CA");
    for bundle in [json!(replicas::base64(&other)), Value::Null] {
        let change = json!([
            {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": bundle},
        ]);
        replicas.patch_webhooks(&change);
        replicas.until_bundle_is(&ca);
    }
    replicas.assert_reviewed(world);

    // Another CA is adopted, and trusted beside the one before.
    let wide = replicas::make_ca();
    let data =
        json!({"data": {"ca.crt": replicas::base64(&wide.0), "ca.key": replicas::base64(&wide.1)}});
    replicas.patch("secret/surepull-ca", &data);
    replicas.until_bundle_is(&format!("{}{ca}", wide.0));
    replicas.until_shown(2);
    replicas.assert_reviewed(world);
    assert_eq!(replicas.ca(), wide.0);
    secrets.extend(replicas.key_lines());
    secrets.push("hunter2".to_owned());
    for log in replicas.logs() {
        assert!(
            log.contains("TRACE") || log.contains("DEBUG"),
            "all is logged"
        );
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{secret}");
        }
    }
}

fn handed_over(world: &World) {
    let mut replicas = Replicas::start(world, "handed-over", &STEADY, &world.kubeconfig());
    let ca = replicas.ca();
    let lost = |replicas: &Replicas| {
        let logs = replicas.logs().concat();
        logs.matches("holds=false").count() + logs.matches("\"holds\":false").count()
    };
    let before = lost(&replicas);
    let stolen = json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 1}});
    replicas.patch("lease/surepull-ca", &stolen);
    replicas.until("the holder sees that it holds it no more", || {
        lost(&replicas) > before
    });
    replicas
        .space
        .run(&["delete", "secret", "surepull-ca"])
        .success();
    replicas.assert_reviewed(world);
    replicas.until("somebody silent loses it", || replicas.holders() == 1);
    replicas.until("the Secret is back", || {
        replicas.find_ca().as_deref() == Some(&*ca)
    });

    replicas
        .space
        .run(&["delete", "lease", "surepull-ca"])
        .success();
    replicas.until("the Lease is back", || {
        replicas.space.succeeds(&["get", "lease", "surepull-ca"])
    });

    // The holder is gone without a word; the other has its memory of the CA.
    replicas.until("one holds it", || replicas.holders() == 1);
    replicas.kill_holder();
    replicas
        .space
        .run(&["delete", "secret", "surepull-ca"])
        .success();
    replicas.until("the other writes", || {
        replicas.find_ca().as_deref() == Some(&*ca)
    });
    assert_eq!(replicas.holders(), 1);

    // Told to stop, it gives the Lease back.
    replicas.stop();
    let lease = replicas.space.get("lease", "surepull-ca");
    assert_eq!(
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default(),
        ""
    );
}

fn rotated(world: &World) {
    let lives = ["--tls-ca-validity", "60s", "--tls-leaf-validity", "30s"];
    let replicas = Replicas::start(world, "rotated", &lives, &world.kubeconfig());
    let (first, over) = (replicas.ca(), AtomicBool::new(false));
    let (reviews, mut seen) = thread::scope(|scope| {
        let load = scope.spawn(|| replicas.load(world, || over.load(Ordering::Relaxed)));
        let mut seen = vec![first];
        // Three further ones, each of which is shown by both: a new CA in the Secret, the one before beside it in the
        // caBundle, and a new certificate.
        while seen.len() < 4 {
            let last = seen.last().expect("the first").clone();
            let next = replicas
                .space
                .until("another CA", || replicas.find_ca().filter(|ca| *ca != last));
            replicas.until("both are trusted", || {
                let bundle = replicas.bundles().remove(0);
                bundle.contains(&next) && bundle.contains(&last)
            });
            seen.push(next);
        }
        replicas.until_shown(4);
        over.store(true, Ordering::Relaxed);
        (load.join().expect("all are answered"), seen)
    });
    assert!(reviews > 100, "{reviews}");
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

fn skewed(world: &World) {
    const YEARS: i64 = 10 * 365 * 86_400;
    let api = Skewed::start(world);
    let replicas = Replicas::start(world, "skewed", &STEADY, &api.kubeconfig());
    let first = replicas.ca();
    replicas.assert_reviewed(world);

    api.jump(YEARS);
    let second = replicas.space.until("a CA of the future", || {
        replicas.find_ca().filter(|ca| *ca != first)
    });
    replicas.until_bundle_is(&format!("{second}{first}"));
    replicas.until_shown(2);

    api.jump(0);
    let third = replicas.space.until("a CA of the present", || {
        replicas.find_ca().filter(|ca| *ca != second)
    });
    replicas.until_bundle_is(&format!("{third}{second}{first}"));
    replicas.until_shown(3);
    replicas.assert_reviewed(world);
    let logs = replicas.logs().concat();
    assert!(
        logs.contains("it has expired") && logs.contains("it is not valid yet"),
        "{logs}"
    );
    assert!(logs.contains("the clock of this machine"), "{logs}");
}
