//! What some files hold at a moment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

/// What some files hold at a moment, as hashes: some are secret. That a file cannot be read is an answer too. A folder
/// holds the names in it.
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
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => names(file),
        bytes => bytes,
    };
    let bytes = bytes.map_err(|error| error.kind())?;
    Ok(Sha256::digest(&*Zeroizing::new(bytes)).into())
}

fn names(folder: &Path) -> io::Result<Vec<u8>> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    let ended = |name: OsString| [name.as_bytes(), b"/"].concat();
    Ok(names.into_iter().flat_map(ended).collect())
}
