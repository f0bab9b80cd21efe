//! What is said of a text that is no image reference.

use super::digest::InvalidDigest;
use super::reference::MAX_PATH;

/// A text that is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {fault}")]
pub struct Invalid {
    text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Invalid {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        Self {
            text: shortened(text),
            fault,
        }
    }
}

/// What is wrong with a text that is no image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is 64 hex digits, which could be taken for an image's identifier.
    #[error("64 hex digits could be an image's identifier, which is no name")]
    Identifier,
    /// The name has an upper-case letter where none may be.
    #[error("the repository's name must be lower case")]
    Uppercase,
    /// It does not follow the grammar.
    #[error("it does not have the form [HOST[:PORT]/]PATH[:TAG][@DIGEST]")]
    Format,
    /// The path is too long.
    #[error("the path is longer than {MAX_PATH} characters")]
    TooLong,
    /// The digest is not valid.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Fault {
    /// The same in one word, for labels and for tests against upstream's answers.
    pub fn class(self) -> &'static str {
        match self {
            Self::Identifier => "hex-identifier",
            Self::Uppercase => "uppercase",
            Self::Format => "format",
            Self::TooLong => "too-long",
            Self::Digest(InvalidDigest::Format) => "digest-format",
            Self::Digest(InvalidDigest::Unsupported) => "digest-unsupported",
            Self::Digest(InvalidDigest::Length) => "digest-length",
        }
    }
}

/// A text for messages: whole unless it is longer than any sensible reference.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 512;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
