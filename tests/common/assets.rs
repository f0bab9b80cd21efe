//! The programs that tests start, as `make assets prometheus` provides them.

use std::env::var_os;
use std::path::PathBuf;

/// Where a program is: in `KUBEBUILDER_ASSETS`, if it is there, else in the folder that `make assets` fills.
pub fn program(name: &str) -> PathBuf {
    let named = var_os("KUBEBUILDER_ASSETS").map(|folder| PathBuf::from(folder).join(name));
    let program = named
        .filter(|program| program.is_file())
        .unwrap_or_else(|| assets().join("bin").join(name));
    assert!(
        program.is_file(),
        "{} is not there: run `make assets prometheus`",
        program.display()
    );
    program
}

/// A folder that `make assets` fills.
pub fn folder(name: &str) -> PathBuf {
    let folder = assets().join(name);
    assert!(
        folder.is_dir(),
        "{} is not there: run `make assets`",
        folder.display()
    );
    folder
}

fn assets() -> PathBuf {
    let cache = PathBuf::from(var_os("HOME").unwrap_or_default()).join(".cache/surepull-assets");
    var_os("SUREPULL_ASSETS").map_or(cache, PathBuf::from)
}
