//! What some files hold at a moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

/// What some files hold at a moment, as hashes: some are secret. That a file cannot be read is an answer too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Result<[u8; 32], ErrorKind>>);

impl Snapshot {
    /// What these files hold.
    pub fn of<P: Into<PathBuf>>(files: impl IntoIterator<Item = P>) -> Self {
        let entry = |file: P| {
            let file = file.into();
            let hash = hash(&file);
            (file, hash)
        };
        Self(files.into_iter().map(entry).collect())
    }

    /// What the same files hold now.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.keys())
    }
}

fn hash(file: &Path) -> Result<[u8; 32], ErrorKind> {
    let bytes = fs::read(file).map_err(|error| error.kind())?;
    Ok(Sha256::digest(&*Zeroizing::new(bytes)).into())
}
