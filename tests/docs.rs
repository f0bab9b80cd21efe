//! What the Markdown pages say that a program can check: links, configurations, command lines, names of settings and
//! metrics, and what surepull is quoted with. (What kubectl is quoted with, `tests/cluster` checks.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use surepull::config;

/// Pages that are linked before they are written; nothing in them is checked until they are there.
const TO_COME: [&str; 5] = [
    "docs/quick-start.md",
    "docs/certificates.md",
    "docs/metrics.md",
    "docs/runbooks.md",
    "charts/surepull/README.md",
];

/// A Markdown file: its path from the root, and its lines, each with the kind of block that it stands in.
struct Page {
    path: String,
    lines: Vec<(Option<String>, String)>,
}

#[test]
fn links_lead_somewhere() {
    let (pages, mut dead, mut followed) = (pages(), Vec::new(), 0);
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
            let there = root().join(&path).exists() || TO_COME.contains(&&*path);
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
    for page in pages() {
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
    for page in pages() {
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
    for page in pages() {
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
    for page in pages() {
        // What was renamed is named there.
        if page.path == "CHANGELOG.md" {
            continue;
        }
        let text = page.lines.iter().map(|(_, line)| &**line);
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
    let page = page("docs/troubleshooting.md");
    let mut quoted = 0;
    let own = page.section("What surepull says");
    for row in own.iter().filter(|line| line.starts_with("| ")) {
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

// === impl Page ===

impl Page {
    fn read(path: String) -> Self {
        let text = fs::read_to_string(root().join(&path)).expect("a page");
        let mut block: Option<String> = None;
        let mut lines = Vec::new();
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), &block) {
                (Some(_), Some(_)) => block = None,
                (Some(kind), None) => block = Some(kind.trim().to_owned()),
                (None, _) => lines.push((block.clone(), line.to_owned())),
            }
        }
        assert!(block.is_none(), "{path}: a block does not end");
        Self { path, lines }
    }

    /// The lines outside of code blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter();
        lines.filter_map(|(block, line)| block.is_none().then_some(&**line))
    }

    /// The code blocks of a kind, without the indentation of their first lines.
    fn blocks(&self, kind: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        for run in self.lines.chunk_by(|(a, _), (b, _)| a == b) {
            if run[0].0.as_deref() == Some(kind) {
                let indent = run[0].1.len() - run[0].1.trim_start().len();
                let lines = run.iter().map(|(_, line)| line.get(indent..).unwrap_or(""));
                blocks.push(lines.flat_map(|line| [line, "\n"]).collect());
            }
        }
        blocks
    }

    /// What stands between backquotes in one line.
    fn spans(&self) -> impl Iterator<Item = String> {
        let spans = self
            .prose()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        spans.map(str::to_owned)
    }

    /// The targets of links that lead to this repository.
    fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for line in self.prose() {
            let words: String = line.split('`').step_by(2).collect();
            for rest in words.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or_default();
                if !target.contains("://") {
                    links.push(target.to_owned());
                }
            }
        }
        links
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.prose().filter(|line| line.starts_with('#')) {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let again = (1..).map(|number| format!("{anchor}-{number}"));
            let mut names = std::iter::once(anchor.clone()).chain(again);
            anchors.extend(names.find(|name| !anchors.contains(name)));
        }
        anchors
    }

    /// The lines under a heading, up to the next one.
    fn section(&self, heading: &str) -> Vec<&str> {
        let lines = self
            .prose()
            .skip_while(|line| line.trim_start_matches('#').trim() != heading);
        let lines: Vec<_> = lines
            .skip(1)
            .take_while(|line| !line.starts_with('#'))
            .collect();
        assert!(!lines.is_empty(), "{}: no section {heading:?}", self.path);
        lines
    }
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> Page {
    Page::read(path.to_owned())
}

/// All Markdown files of the repository.
fn pages() -> Vec<Page> {
    let markdown = files(root(), "md").into_iter().map(|path| {
        let path = path.strip_prefix(root()).expect("below the root");
        page(path.to_str().expect("text"))
    });
    markdown.collect()
}

/// All sources of the library in one text, with quotation marks as they are printed.
fn sources() -> String {
    let sources = files(&root().join("src"), "rs").into_iter();
    let sources = sources.map(|path| fs::read_to_string(path).expect("a source"));
    sources.collect::<String>().replace("\\\"", "\"")
}

/// The files with this extension in a folder and below, but not in hidden folders or what Cargo builds.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
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
