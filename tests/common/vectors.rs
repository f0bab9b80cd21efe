//! Answers of Kubernetes' own code, one a line: `{"in": request, "out": answer}`. `tests/vectors/README.md` says
//! what each file asks.
//!
//! `SUREPULL_VECTORS` names another folder with files of the same names, plain or gzipped.

use std::fmt::Debug;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How many disagreements are shown in full.
const SHOWN: usize = 10;

/// One question and upstream's answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Vector<Q, A> {
    /// The question.
    #[serde(rename = "in")]
    pub(crate) question: Q,
    /// The answer.
    #[serde(rename = "out")]
    pub(crate) answer: A,
}

/// Puts every question of `name` to `answer`, and fails unless all answers are as upstream's.
///
/// `answer` is told the question and upstream's answer, and returns what it says instead should it disagree.
#[track_caller]
pub(crate) fn agree<Q, A>(name: &str, answer: impl Fn(&Q, &A) -> Result<(), String>)
where
    Q: DeserializeOwned,
    A: DeserializeOwned,
{
    let mut lines = 0;
    let mut disagreements = Vec::new();
    let path = file(name);
    for (number, line) in open(&path).lines().enumerate() {
        let line =
            line.unwrap_or_else(|error| panic!("{} line {}: {error}", path.display(), number + 1));
        if line.trim().is_empty() {
            continue;
        }
        lines += 1;
        let vector: Vector<Q, A> = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{} line {}: {error}", path.display(), number + 1));
        if let Err(said) = answer(&vector.question, &vector.answer) {
            disagreements.push(format!("line {}: {line}\n   surepull: {said}", number + 1));
        }
    }
    assert!(lines > 0, "{} has no lines", path.display());
    assert!(
        disagreements.is_empty(),
        "{} of {lines} answers differ from those of {}; the first:\n{}",
        disagreements.len(),
        path.display(),
        disagreements[..disagreements.len().min(SHOWN)].join("\n")
    );
}

/// Compares two answers, for [`agree`].
pub(crate) fn same<T: PartialEq + Debug>(ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{ours:?}"))
    }
}

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("SUREPULL_VECTORS")
        .map_or_else(|| root.join("tests/vectors"), |folder| root.join(folder))
}

fn file(name: &str) -> PathBuf {
    let plain = folder().join(format!("{name}.jsonl"));
    if plain.exists() {
        plain
    } else {
        folder().join(format!("{name}.jsonl.gz"))
    }
}

fn open(path: &Path) -> Box<dyn BufRead> {
    let file = File::open(path)
        .unwrap_or_else(|error| panic!("{}[.gz]: {error}", path.with_extension("").display()));
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Box::new(BufReader::new(reader))
}
