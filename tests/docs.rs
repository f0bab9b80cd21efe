//! What the Markdown pages say that a program can check: links, configurations, command lines, names of settings and
//! metrics, and what surepull is quoted with. (What kubectl is quoted with, `tests/cluster` checks.)

#[path = "common/page.rs"]
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use surepull::config;

use page::{Page, files, root};

#[test]
fn links_lead_somewhere() {
    let (pages, mut dead, mut followed) = (Page::all(), Vec::new(), 0);
    for page in &pages {
        for target in page.links() {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&page.path).parent().expect("a folder");
            let path = if file.is_empty() {
                page.path.clone()
            } else {
                normal(&folder.join(file))
            };
            followed += 1;
            let there = root().join(&path).exists();
            let to = pages.iter().find(|page| page.path == path);
            let has_anchor = |to: &Page| to.anchors().contains(anchor);
            if !there || (!anchor.is_empty() && !to.is_none_or(has_anchor)) {
                dead.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(followed > 20, "only {followed} links are found");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn configurations_are_valid() {
    let keys = settings();
    let mut read = 0;
    for page in Page::all() {
        for text in page.blocks("yaml") {
            let has = |key: &str| text.lines().any(|line| line.starts_with(key));
            let is_whole = has("kind: Configuration");
            let named = keys.iter().any(|key| has(&format!("{key}:")));
            if !is_whole && (has("kind:") || has("---") || !named) {
                continue;
            }
            let head = "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n";
            let text = format!("{}{text}", if is_whole { "" } else { head });
            if let Err(error) = config::parse(text.as_bytes()) {
                panic!("{}: {error}\n{text}", page.path);
            }
            read += 1;
        }
    }
    assert!(read > 3, "only {read} configurations are found");
}

#[test]
fn command_lines_are_taken() {
    let mut tried = BTreeSet::new();
    for page in Page::all() {
        let blocks = ["sh", "console"].map(|kind| page.blocks(kind)).concat();
        let commands = blocks.iter().flat_map(|text| commands(text));
        // A command that is named in a sentence may lack what it needs.
        let named = page.spans();
        let named = named.filter(|span| span.starts_with("surepull "));
        for line in commands.chain(named) {
            if line.contains('…') || !tried.insert(line.clone()) {
                continue;
            }
            let mut surepull = Command::new(env!("CARGO_BIN_EXE_surepull"));
            // With it nothing runs, but a mistake before it is one all the same.
            let arguments = line.split_whitespace().skip(1).chain(["--help"]);
            let output = surepull.args(arguments).output().expect("surepull");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {line}: {said}", page.path);
        }
    }
    assert!(tried.len() > 5, "{tried:?}");
}

#[test]
fn settings_that_are_named_are_settings() {
    let (keys, schema) = (settings(), schema());
    let mut known = BTreeSet::new();
    for page in Page::all() {
        for span in page.spans() {
            let path = span.split(':').next().unwrap_or_default();
            let path = path.replace("[]", "");
            let mut parts = path.split('.');
            let Some(first) = parts.next().filter(|first| keys.contains(*first)) else {
                continue;
            };
            let mut place = &schema["properties"][first];
            for part in parts {
                place = &parts_of(place, &schema)[part];
                assert!(!place.is_null(), "{}: {span}", page.path);
                known.insert(path.clone());
            }
        }
    }
    assert!(known.len() > 10, "{known:?}");
}

#[test]
fn metrics_that_are_named_are_metrics() {
    let sources = sources();
    let mut known = BTreeSet::new();
    for page in Page::all() {
        // What was renamed is named there.
        if page.path == "CHANGELOG.md" {
            continue;
        }
        let text = page.lines();
        for word in text.flat_map(|line| line.split(|c: char| c != '_' && !c.is_alphanumeric())) {
            let mut name = word;
            // The bare prefix stands before alternatives.
            if !name.starts_with("surepull_") || name == "surepull_" {
                continue;
            }
            // What the exposition format adds to the name that is registered.
            for suffix in ["_bucket", "_count", "_sum", "_total", "_info", "_seconds"] {
                name = name.strip_suffix(suffix).unwrap_or(name);
            }
            let registered = sources.contains(&format!("\"{name}\""));
            assert!(registered, "{}: {word}", page.path);
            known.insert(name.to_owned());
        }
    }
    assert!(known.len() > 5, "{known:?}");
}

#[test]
fn what_surepull_is_quoted_with_it_says() {
    let sources = sources();
    let page = Page::read("docs/troubleshooting.md");
    let mut quoted = 0;
    let own = page.section("What surepull says");
    for row in own.prose().filter(|line| line.starts_with("| ")) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        for span in cell.split('`').skip(1).step_by(2) {
            for part in span.split('…').map(str::trim).filter(|part| part.len() > 3) {
                assert!(sources.contains(part), "nothing says: {part}");
                quoted += 1;
            }
        }
    }
    assert!(quoted > 10, "only {quoted} quotations are found");
}

/// The command lines of surepull in a block: what follows `$ `, if anything does, up to a pipe or a comment.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let surepull = lines.filter(|line| line.starts_with("surepull "));
    let alone = surepull.map(|line| line.split(['|', '#', '>', ';']).next().unwrap_or_default());
    alone.map(str::to_owned).collect()
}

/// All sources of the library in one text, with quotation marks as they are printed.
fn sources() -> String {
    let sources = files(&root().join("src"), "rs").into_iter();
    let sources = sources.map(|path| fs::read_to_string(path).expect("a source"));
    sources.collect::<String>().replace("\\\"", "\"")
}

/// The path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().expect("text").split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn schema() -> Value {
    serde_json::from_str(&config::schema()).expect("JSON")
}

/// The top-level keys of a configuration that are settings.
fn settings() -> BTreeSet<String> {
    let schema = schema();
    let keys = schema["properties"].as_object().expect("properties").keys();
    let keys = keys.filter(|key| !["apiVersion", "kind"].contains(&key.as_str()));
    keys.cloned().collect()
}

/// The properties of a part of the schema, or of the elements of a list; also where it may be `null`.
fn parts_of<'s>(place: &'s Value, schema: &'s Value) -> &'s Value {
    let reference = place["$ref"]
        .as_str()
        .and_then(|to| schema.pointer(&to[1..]));
    let inner = reference.or(place.get("items")).or(place["anyOf"].get(0));
    match inner {
        Some(inner) if place["properties"].is_null() => parts_of(inner, schema),
        _ => &place["properties"],
    }
}
