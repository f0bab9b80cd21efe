//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct Error {
    file: Option<PathBuf>,
    place: Option<(u64, u64)>,
    key: String,
    message: String,
    unreadable: bool,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            unreadable: false,
            file: None,
            place: None,
            key: String::new(),
            message: message.into(),
        }
    }

    pub(super) fn unreadable(reason: &std::io::Error) -> Self {
        Self {
            unreadable: true,
            ..Self::new(format!("the configuration cannot be read: {reason}"))
        }
    }

    pub(super) fn at(mut self, line: u64, column: u64) -> Self {
        self.place = Some((line, column));
        self
    }

    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    pub(super) fn file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Whether the file could not even be read.
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Line and column, both from 1, where the error has a place.
    pub fn place(&self) -> Option<(u64, u64)> {
        self.place
    }

    /// The path of the key that is at fault, such as `pin.skip.registries[2]`; empty where it is not one key.
    pub fn path(&self) -> &str {
        &self.key
    }

    /// What is wrong and what to do, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    /// `file:line:column: key: message`, without the parts that are unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.place) {
            (Some(file), Some((line, column))) => write!(f, "{}:{line}:{column}: ", file.display()),
            (Some(file), None) => write!(f, "{}: ", file.display()),
            (None, Some((line, column))) => write!(f, "line {line}, column {column}: "),
            (None, None) => Ok(()),
        }?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let long_enough = word.len() >= 3 && candidate.len() >= 3;
        if long_enough && (word.contains(&candidate) || candidate.contains(&word)) {
            return 0.9;
        }
        strsim::normalized_damerau_levenshtein(&word, &candidate)
    };
    known
        .iter()
        .map(|candidate| (score(candidate), *candidate))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_what_was_meant() {
        let known = ["mode", "pin", "pullPolicy", "pullSecrets", "registries"];
        for (word, meant) in [
            ("pinn", Some("pin")),
            ("PIN", Some("pin")),
            ("registry", Some("registries")),
            ("imagePullSecrets", Some("pullSecrets")),
            ("pullsecret", Some("pullSecrets")),
            ("mdoe", Some("mode")),
            ("webhook", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
