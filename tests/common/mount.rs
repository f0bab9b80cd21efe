//! Files as the kubelet mounts those of a Secret or `ConfigMap`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Writes files, or other versions of them, as the kubelet does (`pkg/volume/util/atomic_writer.go`): into a new folder,
/// which the link `..data` points to from one moment to the next; each file is a link through `..data`.
pub fn mount(folder: &Path, files: &[(&str, &str)]) {
    let version = tempfile::Builder::new().prefix("..").tempdir_in(folder);
    let version = version.unwrap().keep();
    for (name, text) in files {
        fs::write(version.join(name), text).unwrap();
    }
    let (data, new) = (folder.join("..data"), folder.join("..data_tmp"));
    let old = fs::read_link(&data);
    symlink(version.file_name().unwrap(), &new).unwrap();
    fs::rename(new, data).unwrap();
    for (name, _) in files {
        let file = folder.join(name);
        if !file.is_symlink() {
            // A plain one, if any.
            let _ = fs::remove_file(&file);
            symlink(Path::new("..data").join(name), file).unwrap();
        }
    }
    if let Ok(old) = old {
        fs::remove_dir_all(folder.join(old)).unwrap();
    }
}
