//! The working directory.
//!
//! It is entered by a descriptor that [`userns::tree`] found below the container's root, through no magic link: a `cwd`
//! of `/proc/self/fd/N` was a way out of the container (CVE-2024-21626).

use policy::plan::ContainerPath;
use rustix::io::Errno;
use rustix::process::{fchdir, getcwd};
use userns::tree::Tree;

use super::error::{Cause, StageError, quote};

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

/// Enters `path` as the container's root, which is how a user gets into a working directory that it may not search
/// (engines rely on it). `create` makes it when it is missing, owned by the container's root.
pub(super) fn enter_as_root(tree: &Tree, path: &ContainerPath, create: bool) -> Result<Entered, StageError> {
    match enter(tree, path, create) {
        Ok(()) => Ok(Entered::Yes),
        Err(Cause::Errno(Errno::ACCESS | Errno::PERM)) => Ok(Entered::NotAsRoot),
        Err(cause) => Err(failed(path, cause)),
    }
}

/// Enters `path` as the program's user, and checks that the process stands inside the container.
pub(super) fn enter_as_user(tree: &Tree, path: &ContainerPath, entered: Entered) -> Result<(), StageError> {
    if entered == Entered::NotAsRoot {
        enter(tree, path, false).map_err(|cause| failed(path, cause))?;
    }
    verify(path)
}

fn enter(tree: &Tree, path: &ContainerPath, create: bool) -> Result<(), Cause> {
    let directory = match tree.open(path) {
        Err(error) if create && error.errno() == Some(Errno::NOENT) => tree.mountpoint_dir(path),
        answer => answer,
    };
    let directory = directory.map_err(|error| match (error.errno(), error) {
        (Some(errno), _) => errno.into(),
        (None, userns::Error::Refused(refusal)) if refusal.field == path.as_str() => refusal.reason.into(),
        (None, error) => Cause::from(error.to_string()),
    });
    match directory.and_then(|directory| Ok(fchdir(directory.fd())?)) {
        Err(Cause::Errno(Errno::LOOP | Errno::XDEV)) => {
            Err("leads through a magic link of /proc, or too many symbolic links".into())
        }
        answer => answer,
    }
}

/// getcwd(2) writes `(unreachable)` before a path that is not below the process's root.
fn verify(path: &ContainerPath) -> Result<(), StageError> {
    let now = getcwd(Vec::new()).map_err(|errno| failed(path, errno))?;
    if now.to_bytes().starts_with(b"/") { Ok(()) } else { Err(failed(path, "lies outside of the container's root")) }
}
