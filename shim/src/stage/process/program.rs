//! Finding the program, and executing it.
//!
//! The rules and the error texts are those of Go's `os/exec.LookPath` and of runc, word for word: engines read exit
//! status 126 and 127 out of them, and people know them. Everything is looked up as the program's user, so nothing that
//! it may not see shows in an error.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;

use super::error::{StageError, errno_text, quote};
use crate::sys::process::Execution;

/// Finds what `name` (the first argument) stands for: itself when it has a slash, otherwise the first executable file of
/// that name in the directories of `path` (`PATH` of the program's own environment).
pub(super) fn find(name: &str, path: Option<&[u8]>) -> Result<PathBuf, StageError> {
    let failed = |reason: &str| StageError::Program(format!("exec: {}: {reason}", quote(name)));
    if name.contains('/') {
        check(Path::new(name)).map_err(|reason| failed(&reason))?;
        return Ok(name.into());
    }
    let directories = path.unwrap_or_default();
    for directory in directories.split(|byte| *byte == b':').filter(|_| !directories.is_empty()) {
        let candidate = Path::new(OsStr::from_bytes(directory)).join(name);
        // An empty name would be the directory.
        if name.is_empty() || check(&candidate).is_err() {
            continue;
        }
        if !candidate.is_absolute() {
            return Err(failed("cannot run executable found relative to current directory"));
        }
        return Ok(candidate);
    }
    Err(failed("executable file not found in $PATH"))
}

/// Whether the caller may execute the file.
fn check(path: &Path) -> Result<(), String> {
    let found =
        stat(path).map_err(|errno| format!("stat {}: {}", path.display(), errno_text(errno)).replace('\n', " "))?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Err(errno_text(Errno::ISDIR));
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        // A seccomp filter around us may refuse the call itself; then the mode has to do.
        Err(Errno::NOSYS | Errno::PERM) if found.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(errno_text(Errno::ACCESS)),
        Err(errno) => Err(errno_text(errno)),
    }
}

/// Executes the program; returns only when it cannot.
pub(super) fn execute(program: &Execution) -> Result<Infallible, StageError> {
    program.execute().map_err(|error| {
        let text = Errno::from_io_error(&error).map_or_else(|| error.to_string(), errno_text);
        StageError::Program(format!("exec {}: {text}", program.path().to_string_lossy()).replace('\n', " "))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(files.0.path().join("a/tool")).unwrap();
            fs::create_dir(files.0.path().join("b")).unwrap();
            files.file("a/plain", 0o644);
            files.file("b/plain", 0o755);
            files.file("b/tool", 0o755);
            files
        }

        fn file(&self, name: &str, mode: u32) {
            let path = self.path(name);
            fs::write(&path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_str().unwrap().to_owned()
        }

        fn search(&self) -> String {
            format!("{}:{}:{}", self.path("missing"), self.path("a"), self.path("b"))
        }
    }

    fn refused(name: &str, path: Option<&str>) -> String {
        find(name, path.map(str::as_bytes)).unwrap_err().to_string()
    }

    #[test]
    fn a_name_is_searched_past_directories_and_files_that_cannot_be_executed() {
        let files = Files::new();
        let search = files.search();
        let found = |name| find(name, Some(search.as_bytes())).unwrap();
        assert_eq!(found("plain"), Path::new(&files.path("b/plain")));
        assert_eq!(found("tool"), Path::new(&files.path("b/tool")));
    }

    #[test]
    fn a_name_that_is_nowhere_is_not_in_path() {
        let files = Files::new();
        let expected = r#"exec: "nope": executable file not found in $PATH"#;
        assert_eq!(refused("nope", Some(&files.search())), expected);
        assert_eq!(refused("nope", Some("")), expected);
        assert_eq!(refused("nope", None), expected);
        assert_eq!(refused("", Some(&files.search())), r#"exec: "": executable file not found in $PATH"#);
    }

    #[test]
    fn a_path_is_used_as_it_is() {
        let files = Files::new();
        assert_eq!(find(&files.path("b/tool"), None).unwrap(), Path::new(&files.path("b/tool")));
        let (missing, plain, directory) = (files.path("nope"), files.path("a/plain"), files.path("a"));
        assert_eq!(refused(&missing, None), format!("exec: \"{missing}\": stat {missing}: no such file or directory"));
        assert_eq!(refused(&plain, None), format!("exec: \"{plain}\": permission denied"));
        assert_eq!(refused(&directory, None), format!("exec: \"{directory}\": is a directory"));
        let below = format!("{plain}/x");
        assert_eq!(refused(&below, None), format!("exec: \"{below}\": stat {below}: not a directory"));
    }

    #[test]
    fn a_program_in_a_relative_directory_of_path_is_refused() {
        // The test's working directory is the crate's; what is below it is executable or not, so climb to /bin.
        let up = "../".repeat(32);
        let path = format!("{up}bin");
        assert_eq!(
            refused("sh", Some(&path)),
            r#"exec: "sh": cannot run executable found relative to current directory"#
        );
        assert!(find(&format!("{path}/sh"), None).is_ok());
    }

    #[test]
    fn a_file_that_is_no_program_fails_as_runc_says_it() {
        let files = Files::new();
        let path = files.path("b/tool");
        fs::write(&path, "\0").unwrap();
        let program = std::ffi::CString::new(path.clone()).unwrap();
        let error = execute(&Execution::new(program, vec![], vec![])).unwrap_err();
        assert_eq!(error.to_string(), format!("exec {path}: exec format error"));
    }
}
