//! What some files hold at a moment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
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
    let mut hash = Sha256::new();
    match read(file, |part| hash.update(part)) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            names(file).map(|names| hash.update(names))
        }
        read => read,
    }
    .map_err(|error| error.kind())?;
    Ok(hash.finalize().into())
}

/// Reads a file part by part: nobody knows how large it is.
fn read(file: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut part = Zeroizing::new([0; 8192]);
    loop {
        match file.read(&mut *part) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<u8>> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    let ended = |name: OsString| [name.as_bytes(), b"/"].concat();
    Ok(names.into_iter().flat_map(ended).collect())
}
