use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;

/// A text, in effect as it was last read; `#FILE` in it names a further file. `broken` is of no use.
struct Text {
    file: PathBuf,
    current: String,
    reads: Cell<usize>,
    /// Written while the file is read, that often.
    disturb: Cell<usize>,
}

impl Text {
    fn new(file: PathBuf) -> Self {
        Self {
            file,
            current: String::new(),
            reads: Cell::new(0),
            disturb: Cell::new(0),
        }
    }
}

impl Reload for Text {
    type Fresh = String;
    const WHAT: &'static str = "text";

    fn read(&self) -> (Vec<PathBuf>, anyhow::Result<String>) {
        self.reads.set(self.reads.get() + 1);
        let mut files = vec![self.file.clone()];
        let mut read = || {
            let mut text = fs::read_to_string(&self.file)?;
            if let Some(name) = text.strip_prefix('#') {
                let named = self.file.with_file_name(name);
                files.push(named.clone());
                text = fs::read_to_string(named).context("named")?;
            }
            if self.disturb.get() > 0 {
                self.disturb.set(self.disturb.get() - 1);
                fs::write(&self.file, format!("disturbed {}", self.disturb.get()))?;
            }
            anyhow::ensure!(text != "broken", "broken");
            Ok(text)
        };
        let outcome = read();
        (files, outcome)
    }

    fn apply(&mut self, fresh: String) -> String {
        self.current.clone_from(&fresh);
        fresh
    }
}

struct Bench {
    folder: TempDir,
    registry: Registry,
    watched: Watched<Text>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, text).unwrap();
        fs::write(folder.path().join("named"), "named 1").unwrap();
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let watched = Watched::begin(Text::new(file), &metrics).unwrap();
        Self {
            folder,
            registry,
            watched,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// What is in effect after a check.
    fn check(&mut self) -> &str {
        self.watched.check(false);
        &self.watched.what.current
    }

    fn reads(&self) -> usize {
        self.watched.what.reads.get()
    }

    /// Successes, failures, and whether the last one was good.
    #[track_caller]
    fn assert_counted(&self, success: usize, failure: usize, good: usize) {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        for line in [
            format!("surepull_reloads_total{{what=\"text\",result=\"success\"}} {success}\n"),
            format!("surepull_reloads_total{{what=\"text\",result=\"failure\"}} {failure}\n"),
            format!("surepull_last_reload_successful{{what=\"text\"}} {good}\n"),
            "surepull_last_reload_success_timestamp_seconds{what=\"text\"} 1".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}

#[test]
fn what_has_not_changed_is_not_read() {
    let mut bench = Bench::new("one");
    let reads = bench.reads();
    assert_eq!(bench.check(), "one");
    // Written anew, with the same content.
    bench.write("file", "one");
    assert_eq!(bench.check(), "one");
    assert_eq!(bench.reads(), reads);
    bench.assert_counted(0, 0, 1);
    bench.write("file", "two");
    assert_eq!(bench.check(), "two");
    bench.assert_counted(1, 0, 1);
}

#[test]
fn what_is_of_no_use_is_read_once_and_changes_nothing() {
    let mut bench = Bench::new("one");
    bench.write("file", "broken");
    assert_eq!(bench.check(), "one");
    let reads = bench.reads();
    assert_eq!(bench.check(), "one");
    assert_eq!(bench.reads(), reads);
    bench.assert_counted(0, 1, 0);
    // Unless somebody asks for it: it may have been of no use for a reason that is not in the files.
    bench.watched.check(true);
    assert_eq!(bench.reads(), reads + 1);
    bench.assert_counted(0, 2, 0);
    fs::remove_file(bench.folder.path().join("file")).unwrap();
    assert_eq!(bench.check(), "one");
    assert_eq!(bench.check(), "one");
    bench.assert_counted(0, 3, 0);
    // Good again, if nothing new.
    bench.write("file", "one");
    assert_eq!(bench.check(), "one");
    bench.assert_counted(1, 3, 1);
}

#[test]
fn files_that_are_named_count_also_where_they_are_at_fault() {
    let mut bench = Bench::new("#named");
    assert_eq!(bench.check(), "named 1");
    bench.write("named", "named 2");
    assert_eq!(bench.check(), "named 2");
    bench.write("file", "#other");
    assert_eq!(bench.check(), "named 2");
    bench.assert_counted(1, 1, 0);
    bench.write("other", "other 1");
    assert_eq!(bench.check(), "other 1");
    // No longer named.
    let reads = bench.reads();
    bench.write("named", "named 3");
    assert_eq!(bench.check(), "other 1");
    assert_eq!(bench.reads(), reads);
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    let mut bench = Bench::new("one");
    bench.write("file", "two");
    bench.watched.what.disturb.set(2);
    assert_eq!(bench.check(), "disturbed 0");
    bench.assert_counted(1, 0, 1);
    // It does not keep still at all: another check has to do.
    bench.watched.what.disturb.set(ATTEMPTS + 1);
    bench.write("file", "three");
    assert_eq!(bench.check(), "disturbed 0");
    bench.assert_counted(1, 0, 1);
    bench.watched.what.disturb.set(0);
    assert_eq!(bench.check(), "disturbed 1");
    bench.assert_counted(2, 0, 1);
}

#[test]
fn every_byte_of_a_large_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut content = vec![b'a'; 100_000];
    fs::write(&path, &content).unwrap();
    let first = Snapshot::of([&path]);
    assert_eq!(first.again(), first);
    for place in [0, 8191, 8192, 99_999] {
        content[place] = b'b';
        fs::write(&path, &content).unwrap();
        assert_ne!(first.again(), first, "{place}");
        content[place] = b'a';
    }
    for size in [8192, 98_304, 99_999] {
        fs::write(&path, &content[..size]).unwrap();
        assert_ne!(first.again(), first, "{size}");
    }
}

#[test]
fn a_swapped_symlink_above_a_file_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two"), ("..3", "two")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("file"), text).unwrap();
    }
    let point = |version: &str| {
        symlink(version, path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
    };
    point("..1");
    symlink(Path::new("..data/file"), path("file")).unwrap();
    let one = Snapshot::of([path("file")]);
    assert_eq!(one.again(), one);
    point("..2");
    let two = one.again();
    assert_ne!(two, one);
    point("..3");
    assert_eq!(two.again(), two, "the content counts");
}
