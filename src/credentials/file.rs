//! Credentials in files that the configuration names.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

use super::document::{Document, Form, Malformed};
use super::keyring::Keyring;

/// The names that the kubelet looks for in a folder: all folders are searched for the first before any is for the second.
const NAMES: [&str; 2] = ["config.json", ".dockercfg"];

/// The largest file that is read: four times what a Secret can hold.
const MAX_BYTES: u64 = 4 << 20;

/// What the files of `credentials.dockerConfig` hold.
#[derive(Debug, Default)]
pub struct Files {
    /// The credentials of all of them.
    pub keyring: Keyring,
    /// What was passed over in folders, as the kubelet passes over it.
    pub skipped: Vec<FileError>,
}

impl Files {
    /// Reads what `credentials.dockerConfig` names into one keyring.
    ///
    /// The form goes by the file's name: `.dockercfg` has the one, all others that of `config.json`. A file that is
    /// named has to be as it should be. Folders are searched as by the kubelet (`pkg/credentialprovider/config.go`): for
    /// `config.json` in all of them, then for `.dockercfg`; the first that can be used counts, in the place of the first
    /// folder.
    pub fn read(paths: &[PathBuf]) -> Result<Self, FileError> {
        let mut found = Self::default();
        let mut folders: Vec<_> = paths.iter().filter(|path| path.is_dir()).collect();
        for path in paths {
            if !path.is_dir() {
                found.add(path, read_document(path)?);
            } else if !folders.is_empty() {
                found.search(&std::mem::take(&mut folders));
            }
        }
        Ok(found)
    }

    fn search(&mut self, folders: &[&PathBuf]) {
        let places = NAMES
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let mut nothing = true;
        for path in places {
            match read_document(&path) {
                Ok(document) => return self.add(&path, document),
                Err(error) if error.is_absence() => {}
                Err(error) => {
                    nothing = false;
                    self.skipped.push(error);
                }
            }
        }
        if nothing {
            let folders = folders.iter().map(|folder| (*folder).clone()).collect();
            self.skipped.push(FileError::Nothing { folders });
        }
    }

    fn add(&mut self, path: &Path, document: Document) {
        let source = format!("file {}", path.display());
        self.keyring.add(document, &Arc::from(source));
    }

    /// All files that [`Self::read`] may read, whether they are there or not.
    pub fn paths(paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for path in paths {
            if path.is_dir() {
                all.extend(NAMES.iter().map(|name| path.join(name)));
            } else {
                all.push(path.clone());
            }
        }
        all
    }
}

fn read_document(path: &Path) -> Result<Document, FileError> {
    let form = if path.file_name() == Some(OsStr::new(".dockercfg")) {
        Form::Dockercfg
    } else {
        Form::ConfigJson
    };
    let bytes = read(path).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    Document::decode(form, &bytes).map_err(|source| FileError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// What a file holds, or the first byte too many.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // All of it at once, so that no part is left behind where it has grown.
    let size = file.metadata()?.len().min(MAX_BYTES) + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(size).unwrap_or_default(),
    ));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
        source: io::Error,
    },
    /// It is larger than any that is read.
    #[error(
        "the credentials file {} is larger than {} MiB; put only credentials there, or take it out of `credentials.dockerConfig`",
        path.display(),
        MAX_BYTES >> 20
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
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
    /// There is no file in any folder.
    #[error(
        "there are no credentials in {}: none of `credentials.dockerConfig` that is a folder holds a config.json or .dockercfg",
        folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Nothing {
        /// The folders.
        folders: Vec<PathBuf>,
    },
}

impl FileError {
    fn is_absence(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound)
    }
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
        let keyring = Files::read(&[old.clone(), new]).unwrap().keyring;
        let found = keyring.lookup("r.io/app");
        let users: Vec<_> = found
            .iter()
            .map(|found| found.username.expose_secret())
            .collect();
        assert_eq!(users, [&b"dockercfg"[..], b"config"]);
        assert_eq!(&*found[0].source, format!("file {}", old.display()));
        assert!(Files::read(&[]).unwrap().keyring.is_empty());
    }

    #[test]
    fn errors_name_the_file_and_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let error = Files::read(std::slice::from_ref(&path)).unwrap_err();
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
            let error = Files::read(std::slice::from_ref(&path)).unwrap_err();
            let text = format!("{error}: {}\n{error:?}", error.source().unwrap());
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let bound = usize::try_from(MAX_BYTES).unwrap();
        let read = |size: usize| {
            std::fs::write(&path, CONFIG.to_owned() + &" ".repeat(size - CONFIG.len())).unwrap();
            Files::read(std::slice::from_ref(&path))
        };
        assert!(!read(bound).unwrap().keyring.is_empty());
        let error = read(bound + 1).unwrap_err().to_string();
        let expected = format!("file {} is larger than 4 MiB; ", path.display());
        assert!(error.contains(&expected), "{error}");
        // One in a folder is passed over.
        let found = Files::read(&[folder.path().to_owned()]).unwrap();
        assert!(found.keyring.is_empty());
        assert_eq!(found.skipped[0].to_string(), error);
    }

    #[test]
    fn folders_are_searched_as_by_the_kubelet() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let named = folder.path().join("named.json");
        std::fs::write(&named, CONFIG.replace("config", "named")).unwrap();
        for path in [&a, &b] {
            std::fs::create_dir(path).unwrap();
        }
        let paths = [a.clone(), named, b.clone()];
        let users = || {
            let Files { keyring, skipped } = Files::read(&paths).unwrap();
            let found = keyring.lookup("r.io/app");
            let users = found
                .iter()
                .map(|found| String::from_utf8(found.username.expose_secret().to_vec()).unwrap());
            let skipped: Vec<_> = skipped.iter().map(ToString::to_string).collect();
            (users.collect::<Vec<_>>().join(" "), skipped.join("; "))
        };
        let write =
            |path: &Path, name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();

        let (found, skipped) = users();
        assert_eq!(found, "named");
        let expected = format!(
            "there are no credentials in {}, {}: ",
            a.display(),
            b.display()
        );
        assert!(skipped.starts_with(&expected), "{skipped}");

        // From the last place to the first.
        write(&b, ".dockercfg", &DOCKERCFG.replace("dockercfg", "b-old"));
        assert_eq!(users(), ("b-old named".to_owned(), String::new()));
        write(&a, ".dockercfg", &DOCKERCFG.replace("dockercfg", "a-old"));
        assert_eq!(users(), ("a-old named".to_owned(), String::new()));
        write(&b, "config.json", &CONFIG.replace("config", "b"));
        assert_eq!(users(), ("b named".to_owned(), String::new()));
        write(&a, "config.json", &CONFIG.replace("config", "a"));
        assert_eq!(users(), ("a named".to_owned(), String::new()));

        // What is of no use is passed over, and told; what is of use ends the search, also with nothing in it.
        write(&a, "config.json", "hunter2");
        let (found, skipped) = users();
        assert_eq!(found, "b named");
        assert!(
            skipped.contains(&format!("{}/config.json is not", a.display())),
            "{skipped}"
        );
        assert!(!skipped.contains("hunter2"));
        write(&a, "config.json", "{}");
        assert_eq!(users(), ("named".to_owned(), String::new()));

        let looked_at = [
            "a/config.json",
            "a/.dockercfg",
            "named.json",
            "b/config.json",
            "b/.dockercfg",
        ];
        let looked_at = looked_at.map(|path| folder.path().join(path));
        assert_eq!(Files::paths(&paths), looked_at);
    }
}
