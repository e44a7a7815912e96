//! Files that we leave on the host for whoever comes after us: containerd, our own `delete`.
//!
//! Invariant: such a file is the host's root's alone, whatever the umask and the directory around it are (containerd opens a
//! bundle to a container's ids where the engine remaps them), and a reader sees the former content or all of the new one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file with mode 0600, by way of a new one beside it (`NAME.new`).
///
/// # Errors
/// What the system answers.
#[expect(clippy::disallowed_methods, reason = "the bundle, which is containerd's and ours")]
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes).and_then(|()| fs::rename(&temporary, path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_also_where_it_was_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for name in ["state.json", "state.json.new"] {
            fs::write(dir.path().join(name), "what an earlier life left").unwrap();
        }
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(replace(&dir.path().join("gone/file"), b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
