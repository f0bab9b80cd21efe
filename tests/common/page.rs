//! Markdown pages, as far as tests look into them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A Markdown file: its path from the root, and its lines, each with the kind of block that it stands in.
#[derive(Debug)]
pub struct Page {
    pub path: String,
    lines: Vec<(Option<String>, String)>,
}

// === impl Page ===

impl Page {
    /// All Markdown files of the repository.
    pub fn all() -> Vec<Self> {
        let markdown = files(root(), "md").into_iter().map(|path| {
            let path = path.strip_prefix(root()).expect("below the root");
            Self::read(path.to_str().expect("text"))
        });
        markdown.collect()
    }

    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).expect("a page");
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
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    /// The lines outside of code blocks.
    pub fn prose(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter();
        lines.filter_map(|(block, line)| block.is_none().then_some(&**line))
    }

    /// The code blocks of a kind, without the indentation of their first lines.
    pub fn blocks(&self, kind: &str) -> Vec<String> {
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
    pub fn spans(&self) -> impl Iterator<Item = String> {
        let spans = self
            .prose()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        spans.map(str::to_owned)
    }

    /// The targets of links that lead to this repository.
    pub fn links(&self) -> Vec<String> {
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
    pub fn anchors(&self) -> BTreeSet<String> {
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

    /// What stands under a heading, up to the next one.
    pub fn section(&self, heading: &str) -> Self {
        let is_heading =
            |(block, line): &&(Option<String>, String)| block.is_none() && line.starts_with('#');
        let lines = self.lines.iter();
        let lines = lines.skip_while(|line| {
            !is_heading(line) || line.1.trim_start_matches('#').trim() != heading
        });
        let lines: Vec<_> = lines
            .skip(1)
            .take_while(|line| !is_heading(line))
            .cloned()
            .collect();
        assert!(!lines.is_empty(), "{}: no section {heading:?}", self.path);
        Self {
            path: self.path.clone(),
            lines,
        }
    }

    /// All lines, those of code blocks included, but not those that begin and end them.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| &**line)
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files with this extension in a folder and below, but not in hidden folders or what Cargo builds.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
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
