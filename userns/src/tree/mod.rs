//! The only code that names a path in a container's tree.
//!
//! The tree belongs to the attacker: an image chooses its symlinks, and a shared volume lets another container swap a
//! directory for a symlink between two system calls. So a path is turned into a descriptor exactly once, by
//! openat2(2) with `RESOLVE_IN_ROOT` and `RESOLVE_NO_MAGICLINKS` from the root's descriptor, and everything after that
//! (a check, a mount, a new file) happens on the descriptor.
//!
//! Main types:
//! * [`Tree`]: the root, from which [`ContainerPath`]s are opened and mountpoints are made.
//! * [`Node`]: one file of the tree, as a descriptor, with its path for messages.
//!
//! Invariant: nothing outside the root is opened, made or changed, whatever happens to the tree meanwhile.

mod mountpoint;
mod node;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::plan::ContainerPath;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use node::Node;

use crate::{Error, Result};

/// How often openat2(2) may ask for another try. It does so (`EAGAIN`) when anything on the host was renamed or mounted
/// while it resolved a `..`, which other containers can cause at will.
const RETRIES: usize = 128;

/// A container's tree, by the descriptor of its root.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree below `root`, a directory opened with `O_PATH` or a detached mount. Paths cross the mounts that are
    /// attached below it.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// The root's descriptor.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what `path` names now, following symlinks inside the root only.
    ///
    /// # Errors
    /// When there is no such file, when a component is no directory, or when a magic link (`/proc/self/fd/3`) is met.
    pub fn open(&self, path: &ContainerPath) -> Result<Node> {
        self.resolve(path, OFlags::empty()).map_err(|errno| Error::failed("open", path, errno))
    }

    /// As [`Tree::open`], and none when the path does not exist.
    ///
    /// # Errors
    /// As [`Tree::open`], except for `ENOENT` and `ENOTDIR`.
    pub fn try_open(&self, path: &ContainerPath) -> Result<Option<Node>> {
        match self.resolve(path, OFlags::empty()) {
            Ok(node) => Ok(Some(node)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Error::failed("open", path, errno)),
        }
    }

    /// Opens `path` without following a symlink in its last component: the symlink itself.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn open_nofollow(&self, path: &ContainerPath) -> Result<Node> {
        self.resolve(path, OFlags::NOFOLLOW).map_err(|errno| Error::failed("open", path, errno))
    }

    fn resolve(&self, path: &ContainerPath, flags: OFlags) -> std::result::Result<Node, Errno> {
        let fd = open_in_root(self.root.as_fd(), below_root(path), flags)?;
        Ok(Node::new(fd, path.as_str()))
    }
}

/// A container path as openat2(2) takes it, relative to the root.
fn below_root(path: &ContainerPath) -> &str {
    match path.as_str().trim_start_matches('/') {
        "" => ".",
        rest => rest,
    }
}

/// openat2(2) with `O_PATH` from `root`, which `..` and absolute symlinks cannot leave.
fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// openat2(2) with `O_PATH` of one component of `parent`, which may not be a symlink.
fn open_component(parent: BorrowedFd<'_>, name: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    open_with(parent, name, flags | OFlags::NOFOLLOW, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    for _ in 0..RETRIES {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}
