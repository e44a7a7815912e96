//! Mounts that are made detached, prepared through their descriptor, and attached to a descriptor.
//!
//! Main types:
//! * [`Detached`]: a mount, or a tree of mounts, that is nowhere yet: a new filesystem or a clone of a file or directory.
//! * [`MountIds`]: the id map that a clone's owners are shown through.
//!
//! Invariant: a mount is complete (flags, propagation, id map) before it is attached, so that nobody sees it in an
//! intermediate state, and it is attached to a descriptor, never to a path. A [`Detached`] that is dropped is gone.

mod filesystem;
mod ids;
mod procfs;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use policy::plan::{MountFlags, Propagation};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

pub(crate) use filesystem::Context;
pub use ids::{MountIds, open_below};

use crate::sys::{self, MountAttr};
use crate::{Error, Result};

/// A mount that is attached nowhere, or a tree of them. Once [`Detached::attach`]ed it stays what its descriptor
/// names, so that it can still be changed and opened.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
    /// A path or a filesystem type, for messages.
    name: String,
    /// Further mounts, where they belong below this one, parents first: those that had to be prepared one by one. They
    /// are attached with it: onto a mount that is detached itself the kernel attaches only since Linux 6.15.
    below: Vec<(PathBuf, Detached)>,
    /// How it shows less than was asked for.
    note: Option<String>,
}

impl Detached {
    /// A new filesystem: fsopen(2), fsconfig(2) and fsmount(2). `data` are its options (without a value: a flag),
    /// `fds` those whose value is a descriptor.
    ///
    /// # Errors
    /// What the kernel says, with the text of its filesystem context's log.
    pub fn filesystem(
        fstype: &str,
        source: Option<&str>,
        data: &[(String, Option<String>)],
        fds: &[(&str, BorrowedFd<'_>)],
    ) -> Result<Self> {
        let context = Context::configured(fstype, source, data)?;
        for (key, fd) in fds {
            context.set_fd(key, *fd)?;
        }
        context.create(0)
    }

    /// Changes options of the filesystem itself, which the mount is the root of.
    ///
    /// # Errors
    /// What fspick(2) and fsconfig(2) say.
    pub fn reconfigure(&self, data: &[(String, Option<String>)]) -> Result<()> {
        let context = Context::pick(self.fd(), &self.name)?;
        for (key, value) in data {
            match value {
                Some(value) => context.set_string(key, value)?,
                None => context.set_flag(key)?,
            }
        }
        context.reconfigure()
    }

    /// A clone of the mount at `source`, with `source` as its root (`mount --bind`, with `recursive` `--rbind`).
    /// `name` stands for it in messages: its path.
    ///
    /// # Errors
    /// What open_tree(2) says: `EINVAL` for a source with locked or unbindable mounts.
    pub fn clone_of(source: impl AsFd, recursive: bool, name: &str) -> Result<Self> {
        let mut flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let fd = rustix::mount::open_tree(source, c"", flags).map_err(|errno| not_cloned(name, errno))?;
        Ok(Self { fd, name: name.to_owned(), below: Vec::new(), note: None })
    }

    /// As [`Detached::clone_of`], of the entry `name` of a directory alone, which is no symlink.
    ///
    /// # Errors
    /// What open_tree(2) says; a refusal when `name` is not one component.
    pub fn clone_at(directory: impl AsFd, name: &str) -> Result<Self> {
        if name.is_empty() || name == ".." || name.contains('/') {
            return Err(Error::refused(name, "is not the name of an entry"));
        }
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let fd = rustix::mount::open_tree(directory, name, flags).map_err(|errno| not_cloned(name, errno))?;
        Ok(Self { fd, name: name.to_owned(), below: Vec::new(), note: None })
    }

    /// As [`Detached::clone_of`], of a path of the host, whose last symlink is followed.
    ///
    /// # Errors
    /// As [`Detached::clone_of`].
    pub fn clone_of_path(source: &Path, recursive: bool) -> Result<Self> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let fd = rustix::mount::open_tree(CWD, source, flags)
            .map_err(|errno| not_cloned(&source.display().to_string(), errno))?;
        Ok(Self { fd, name: source.display().to_string(), below: Vec::new(), note: None })
    }

    /// Sets and clears mount_setattr(2) attributes, with `recursive` on every mount of the tree.
    ///
    /// # Errors
    /// What mount_setattr(2) says.
    pub fn set_flags(&self, flags: MountFlags, recursive: bool) -> Result<()> {
        if flags == MountFlags::default() {
            return Ok(());
        }
        let attr = MountAttr { attr_set: flags.set, attr_clr: flags.clear, ..MountAttr::default() };
        self.set_attr("set mount flags of", recursive, &attr)
    }

    /// Sets the propagation type, with `recursive` of every mount of the tree.
    ///
    /// # Errors
    /// What mount_setattr(2) says.
    pub fn set_propagation(&self, propagation: Propagation, recursive: bool) -> Result<()> {
        // MS_* of mount(2).
        let propagation = match propagation {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        };
        self.set_attr("set the propagation of", recursive, &MountAttr { propagation, ..MountAttr::default() })
    }

    /// Attaches the mount to what `node` is. From here on paths below it lead into the mount.
    ///
    /// # Errors
    /// What move_mount(2) says: `EINVAL` or `ENOTDIR` for a directory on a file and the reverse.
    pub fn attach(&self, node: &crate::tree::Node) -> Result<()> {
        self.attach_at(node).map_err(|errno| Error::failed("mount on", node.path(), errno))
    }

    /// As [`Detached::attach`], for any descriptor.
    ///
    /// # Errors
    /// The kernel's error number; only the caller knows the path.
    pub fn attach_at(&self, target: impl AsFd) -> rustix::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.fd, c"", target, c"", flags)?;
        for (path, mount) in &self.below {
            mount.attach_at(ids::open_below(self.fd(), path)?)?;
        }
        Ok(())
    }

    /// A detached mount that another process has made and sent.
    pub fn from_fd(fd: OwnedFd, name: &str) -> Self {
        Self { fd, name: name.to_owned(), below: Vec::new(), note: None }
    }

    /// The root of the mount, an `O_PATH` descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor, for keeps, once it is attached: a [`crate::tree::Tree`] can be made of it.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What of it is shown as it is, for the log: a line for each mount.
    pub fn notes(&self) -> Vec<&str> {
        self.note.as_deref().into_iter().chain(self.below.iter().flat_map(|(_, mount)| mount.notes())).collect()
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn set_attr(&self, step: &'static str, recursive: bool, attr: &MountAttr) -> Result<()> {
        sys::mount_setattr(self.fd.as_fd(), recursive, attr).map_err(|errno| Error::failed(step, &self.name, errno))?;
        if recursive {
            self.below.iter().try_for_each(|(_, mount)| mount.set_attr(step, true, attr))?;
        }
        Ok(())
    }
}

/// In a container of eci's ENOSYS stands for the kernel's EINVAL: it leads tools to mount(2).
fn not_cloned(name: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOSYS => Error::refused(name, "has locked mounts below, without which the kernel does not clone it"),
        errno => Error::failed("clone the mount of", name, errno),
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}
