//! The working directory.
//!
//! It is entered by a descriptor that openat2(2) found below the container's root, through no magic link: a `cwd` of
//! `/proc/self/fd/N` was a way out of the container (CVE-2024-21626).

use std::os::fd::OwnedFd;

use policy::plan::ContainerPath;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{fchdir, getcwd};

use super::error::{Cause, StageError, quote};
use super::root::Root;

/// Whether the process stands in its working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// It does.
    Yes,
    /// The container's root may not enter it (a FUSE or network filesystem): the program's user has to try.
    NotAsRoot,
}

fn failed(path: &ContainerPath, cause: impl Into<Cause>) -> StageError {
    StageError::step("chdir to process.cwd", quote(path.as_str()), cause)
}

fn failed_errno(path: &ContainerPath, errno: Errno) -> StageError {
    match errno {
        Errno::LOOP | Errno::XDEV => failed(path, "leads through a magic link of /proc, or too many symbolic links"),
        errno => failed(path, errno),
    }
}

/// Enters `path` as the container's root, which is how a user gets into a working directory that it may not search
/// (engines rely on it). `create` makes it when it is missing, owned by the container's root.
pub(super) fn enter_as_root(root: &Root, path: &ContainerPath, create: bool) -> Result<Entered, StageError> {
    let found = match root.open_at(path.as_str(), OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) if create => root.make_directories(path.components()),
        answer => answer,
    };
    match found.and_then(|directory: OwnedFd| fchdir(directory)) {
        Ok(()) => Ok(Entered::Yes),
        Err(Errno::ACCESS | Errno::PERM) => Ok(Entered::NotAsRoot),
        Err(errno) => Err(failed_errno(path, errno)),
    }
}

/// Enters `path` as the program's user, and checks that the process stands inside the container.
pub(super) fn enter_as_user(root: &Root, path: &ContainerPath, entered: Entered) -> Result<(), StageError> {
    if entered == Entered::NotAsRoot {
        root.open_at(path.as_str(), OFlags::PATH | OFlags::DIRECTORY)
            .and_then(fchdir)
            .map_err(|errno| failed_errno(path, errno))?;
    }
    verify(path)
}

/// getcwd(2) writes `(unreachable)` before a path that is not below the process's root.
fn verify(path: &ContainerPath) -> Result<(), StageError> {
    let now = getcwd(Vec::new()).map_err(|errno| failed(path, errno))?;
    if now.to_bytes().starts_with(b"/") { Ok(()) } else { Err(failed(path, "lies outside of the container's root")) }
}
