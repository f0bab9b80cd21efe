//! Credentials in files that the configuration names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

use super::document::{Document, Form, Malformed};
use super::keyring::Keyring;

/// Reads the files that `credentials.dockerConfig` names into one keyring.
///
/// The form goes by the file's name, as with the files that the kubelet looks for: `.dockercfg` in the one form,
/// `config.json` in the other (`pkg/credentialprovider/config.go`). Unlike the kubelet, which takes the first file
/// that it can read and says nothing of the others, this takes all and fails if one is not as it should be.
pub fn read(files: &[PathBuf]) -> Result<Keyring, FileError> {
    let mut keyring = Keyring::default();
    for path in files {
        let document = read_document(path)?;
        keyring.add(document, &Arc::from(format!("file {}", path.display())));
    }
    Ok(keyring)
}

fn read_document(path: &Path) -> Result<Document, FileError> {
    let form = if path.file_name() == Some(OsStr::new(".dockercfg")) {
        Form::Dockercfg
    } else {
        Form::ConfigJson
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => {
            return Err(FileError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    Document::decode(form, &bytes).map_err(|source| FileError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// A file of credentials that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(
        "cannot read the credentials file {}; mount it, make it readable for this user, or take it out of `credentials.dockerConfig`",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no docker configuration document.
    #[error(
        "the credentials file {} is not a docker configuration; write it anew with `docker login`, or take it out of `credentials.dockerConfig`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Malformed,
    },
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use std::error::Error as _;

    use super::*;

    const CONFIG: &str = r#"{"auths": {"r.io": {"username": "config", "password": "p"}}}"#;
    const DOCKERCFG: &str = r#"{"r.io": {"username": "dockercfg", "password": "p"}}"#;

    #[test]
    fn form_goes_by_name_and_files_keep_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(".dockercfg");
        let new = folder.path().join(".dockerconfigjson");
        std::fs::write(&old, DOCKERCFG).unwrap();
        std::fs::write(&new, CONFIG).unwrap();
        let keyring = read(&[old.clone(), new]).unwrap();
        let found = keyring.lookup("r.io/app");
        let users: Vec<_> = found
            .iter()
            .map(|found| found.username.expose_secret())
            .collect();
        assert_eq!(users, [&b"dockercfg"[..], b"config"]);
        assert_eq!(&*found[0].source, format!("file {}", old.display()));
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_file_and_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let error = read(std::slice::from_ref(&path)).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()));
        for content in [
            r#"{"auths": {"r.io": "hunter2"}}"#,
            r#"{"auths": {"r.io": {"password": ["hunter2"]}}}"#,
            r#"{"auths": {"u:hunter2@r.io": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"u:hunter2@r io": {"auth": "hunter2"}}}"#,
            r#"{"auths": {}} hunter2"#,
            r#""hunter2""#,
            "",
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read(std::slice::from_ref(&path)).unwrap_err();
            let text = format!("{error}: {}\n{error:?}", error.source().unwrap());
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
