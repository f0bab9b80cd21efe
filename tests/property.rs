//! For arbitrary objects: a patch changes only what it may, and a second run has nothing left to do.

mod common;

use common::mutate::{Change, mutate_with};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use surepull::image::Digest;
use surepull::mutation::{
    Account, Action, Always, Failure, Mode, Pin, PullSecrets, Question, Settings, Targets,
};
use surepull::workload::{Kinds, Leaf};

const IMAGES: [&str; 14] = [
    "app",
    "app:1",
    "app:latest",
    "registry.test/team/app:2.0",
    "registry.test/team/app",
    "app@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    "app:1@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    "",
    " app",
    "App",
    "localhost:5000/app:1",
    "ko.local/app:1",
    "down.test/app:1",
    "[::1]/app",
];

/// Something that may stand anywhere in a manifest, whether it belongs there or not.
fn junk() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(7),
        json!(true),
        json!("text"),
        json!([]),
        json!({}),
        json!([1, null]),
        json!({"name": 3}),
    ])
}

/// Now and then something else instead.
fn mostly(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![12 => value.boxed(), 1 => junk().boxed()]
}

/// A map of members, each of which may be missing.
fn map(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(key, value)| prop::option::weighted(0.8, value.prop_map(move |value| (key, value))))
        .collect();
    members
        .prop_map(|members| {
            Value::Object(
                members
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            )
        })
        .boxed()
}

fn list(element: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(mostly(element), 0..4)
        .prop_map(Value::Array)
        .boxed()
}

fn text(choices: &'static [&'static str]) -> BoxedStrategy<Value> {
    mostly(select(choices).prop_map(Value::from)).boxed()
}

fn name() -> BoxedStrategy<Value> {
    text(&["a", "b", "c/d~e", "ü"])
}

fn policy() -> BoxedStrategy<Value> {
    text(&["Always", "IfNotPresent", "Never", "", "always"])
}

fn containers() -> BoxedStrategy<Value> {
    let container = map(vec![
        ("name", name()),
        ("image", text(&IMAGES)),
        ("imagePullPolicy", policy()),
        ("command", junk().boxed()),
    ]);
    mostly(list(container)).boxed()
}

fn pod_spec() -> BoxedStrategy<Value> {
    let source = map(vec![("reference", text(&IMAGES)), ("pullPolicy", policy())]);
    let volume = map(vec![
        ("name", name()),
        ("image", mostly(source).boxed()),
        ("emptyDir", junk().boxed()),
    ]);
    let secrets = list(map(vec![("name", name())]));
    let spec = map(vec![
        ("volumes", mostly(list(volume)).boxed()),
        ("initContainers", containers()),
        ("containers", containers()),
        ("ephemeralContainers", containers()),
        ("imagePullSecrets", mostly(secrets).boxed()),
        ("serviceAccountName", text(&["default", "builder", ""])),
        ("nodeName", junk().boxed()),
    ]);
    mostly(spec).boxed()
}

fn metadata() -> BoxedStrategy<Value> {
    let annotations = map(vec![
        ("a/b~c", junk().boxed()),
        ("kubectl.kubernetes.io/restartedAt", text(&["1", "2"])),
        (
            "surepull.dev/pinned",
            text(&[
                "",
                "junk",
                "{}",
                r#"{"/spec/containers/a":{"image":"app:1","digest":"sha256:0"}}"#,
            ]),
        ),
    ]);
    mostly(map(vec![
        ("name", name()),
        ("annotations", mostly(annotations).boxed()),
        ("labels", junk().boxed()),
    ]))
    .boxed()
}

fn template() -> BoxedStrategy<Value> {
    mostly(map(vec![("metadata", metadata()), ("spec", pod_spec())])).boxed()
}

/// Objects of the same kind, two states of each.
fn objects() -> impl Strategy<Value = (Value, Value)> {
    let header = |version: &'static str, kind: &'static str| {
        move |mut object: Value| {
            let object_map = object.as_object_mut().expect("an object");
            object_map.insert("apiVersion".into(), version.into());
            object_map.insert("kind".into(), kind.into());
            object
        }
    };
    let object = |inner: BoxedStrategy<Value>| map(vec![("metadata", metadata()), ("spec", inner)]);
    let nested =
        |key: &'static str, inner: BoxedStrategy<Value>| mostly(map(vec![(key, inner)])).boxed();
    let two = |object: BoxedStrategy<Value>| (object.clone(), object);
    let ships = prop_oneof![
        list(template()),
        map(vec![("x/y", template()), ("b", template())])
    ]
    .boxed();
    let container = || {
        map(vec![
            ("name", name()),
            ("image", text(&IMAGES)),
            ("imagePullPolicy", policy()),
        ])
    };
    let boat = map(vec![("template", template()), ("name", name())]);
    let kinds = [
        ("v1", "Pod", object(pod_spec())),
        (
            "apps/v1",
            "Deployment",
            object(nested("template", template())),
        ),
        ("batch/v1", "Job", object(nested("template", template()))),
        (
            "batch/v1",
            "CronJob",
            object(nested(
                "jobTemplate",
                nested("spec", nested("template", template())),
            )),
        ),
        (
            "example.com/v1",
            "Fleet",
            object(
                mostly(map(vec![
                    ("ships", ships),
                    ("boats", mostly(list(boat)).boxed()),
                    ("crew", mostly(list(container())).boxed()),
                    ("pilot", mostly(container()).boxed()),
                ]))
                .boxed(),
            ),
        ),
    ];
    let each = kinds.map(|(version, kind, object)| {
        two(object)
            .prop_map(move |(old, new)| (header(version, kind)(old), header(version, kind)(new)))
            .boxed()
    });
    prop::strategy::Union::new(each)
}

fn settings() -> impl Strategy<Value = Settings> {
    let always = select(vec![Always::None, Always::Pods, Always::All]);
    let targets = select(vec![
        Targets::None,
        Targets::All,
        Targets::Pods,
        Targets::Templates,
    ]);
    let secrets = select(vec![
        PullSecrets::None,
        PullSecrets::Fill,
        PullSecrets::Merge,
        PullSecrets::Matching,
    ]);
    let extra = select(vec![vec![], vec!["extra", "regcred", "b"]]);
    let mode = select(vec![
        Mode::Enforce,
        Mode::Enforce,
        Mode::Enforce,
        Mode::Audit,
    ]);
    (mode, any::<bool>(), always, targets, secrets, extra).prop_map(
        |(mode, pull_policy, always, targets, pull_secrets, extra)| Settings {
            mode,
            pull_policy,
            always,
            pin: Pin {
                targets,
                ..Pin::default()
            },
            pull_secrets,
            extra_pull_secrets: extra.into_iter().map(String::from).collect(),
            ..Settings::default()
        },
    )
}

fn kinds() -> Kinds {
    let mut kinds = Kinds::default();
    kinds
        .add(
            "example.com",
            "Fleet",
            [
                ("/spec/ships/*", Leaf::Template),
                ("/spec/boats/*/template", Leaf::Template),
                ("/spec/crew/*", Leaf::Container),
                ("/spec/pilot", Leaf::Container),
            ],
        )
        .expect("a new kind");
    kinds
}

fn look_up(question: &Question<'_>) -> Result<Digest, Failure> {
    if question.image.domain() == "down.test" {
        Err(Failure {
            why: "the registry is down".into(),
            action: Action::Warn,
        })
    } else {
        Ok(Digest::of(question.image.repository().as_bytes()))
    }
}

/// The object without what surepull may ever change.
fn rest(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, value)| {
                ![
                    "image",
                    "imagePullPolicy",
                    "reference",
                    "pullPolicy",
                    "imagePullSecrets",
                    "surepull.dev/pinned",
                ]
                .contains(&key.as_str())
                    || (key.as_str() == "image" && value.is_object())
            });
            let kept: Map<String, Value> = kept
                .map(|(key, value)| (key.clone(), rest(value)))
                .collect();
            Value::Object(kept)
        }
        Value::Array(elements) => elements.iter().map(rest).collect(),
        other => other.clone(),
    }
}

/// As [`rest`], where a map of annotations may have been added to hold the record.
fn rest_of(object: &Value, had: &Value) -> Value {
    let mut rest = rest(object);
    if had["metadata"].is_null() && rest["metadata"] == json!({"annotations": {}}) {
        match had.get("metadata") {
            None => {
                rest.as_object_mut().expect("an object").remove("metadata");
            }
            Some(_) => rest["metadata"] = Value::Null,
        }
    } else if had["metadata"]["annotations"].is_null()
        && rest["metadata"]["annotations"] == json!({})
    {
        match had["metadata"].get("annotations") {
            None => {
                rest["metadata"]
                    .as_object_mut()
                    .expect("a map")
                    .remove("annotations");
            }
            Some(_) => rest["metadata"]["annotations"] = Value::Null,
        }
    }
    rest
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(2000),
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_patch_changes_only_what_it_may_and_only_once((old, new) in objects(), settings in settings(), update: bool) {
        let kinds = kinds();
        let account = Account { pull_secrets: ["a", "regcred", "", "regcred"].map(String::from).to_vec(), ..Account::default() };
        let run = |object: &Value| {
            let change = if update { Change::update(&old, object) } else { Change::create(object) };
            mutate_with(&kinds, &change, &settings, Some(&account), look_up)
        };
        let (once, patch) = run(&new);
        if settings.mode == Mode::Audit {
            prop_assert!(patch.is_empty());
        }
        prop_assert_eq!(rest_of(&once, &new), rest(&new), "patch {:?}", patch);
        let (twice, again) = run(&once);
        prop_assert!(again.is_empty(), "second patch {:?} after {:?}", again, patch);
        prop_assert_eq!(twice, once);
    }

    /// What was created and then sent again as it was written is what is stored: no roll-out, no restart, no 422.
    #[test]
    fn the_same_manifest_again_changes_nothing((_, new) in objects(), settings in settings()) {
        let kinds = kinds();
        let account = Account { pull_secrets: ["a", "regcred"].map(String::from).to_vec(), ..Account::default() };
        let mutate = |change: &Change<'_>, look_up: &dyn Fn(&Question<'_>) -> Result<Digest, Failure>| {
            mutate_with(&kinds, change, &settings, Some(&account), look_up).0
        };
        let stored = mutate(&Change::create(&new), &look_up);
        // By now every tag has moved.
        let moved = |question: &Question<'_>| Ok(Digest::of(question.image.text().as_bytes()));
        let again = mutate(&Change::update(&stored, &new), &moved);
        prop_assert_eq!(again, stored);
    }
}
