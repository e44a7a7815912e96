//! One file of a container's tree, and what may be done on its descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::plan::DeviceKind;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::open_component;
use crate::{Error, Result};

/// Longest target that [`Node::read_link`] returns, in bytes (`PATH_MAX`).
const LINK_MAX: usize = 4096;

/// A file of the tree: its descriptor (`O_PATH`, or read-only where the tree just made the file) and, for messages, the
/// path by which it was reached.
#[derive(Debug)]
pub struct Node {
    fd: OwnedFd,
    path: String,
}

impl Node {
    pub(super) fn new(fd: OwnedFd, path: &str) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor, for keeps.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// The path for messages; it is not resolved again.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// fstat(2).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd).map_err(|errno| self.failed("stat", errno))
    }

    /// The file's type.
    ///
    /// # Errors
    /// As [`Node::stat`].
    pub fn file_type(&self) -> Result<FileType> {
        Ok(FileType::from_raw_mode(self.stat()?.st_mode))
    }

    /// Whether it is a directory.
    ///
    /// # Errors
    /// As [`Node::stat`].
    pub fn is_dir(&self) -> Result<bool> {
        Ok(self.file_type()? == FileType::Directory)
    }

    /// Checks that the file lies on the filesystem with this magic number (statfs(2)), `name` in messages.
    ///
    /// # Errors
    /// A refusal that names the path, when it lies on another.
    pub fn verify_filesystem(&self, magic: u32, name: &str) -> Result<()> {
        let found = rustix::fs::fstatfs(&self.fd).map_err(|errno| self.failed("statfs", errno))?.f_type;
        // Magic numbers have 32 bits; the field's width differs by architecture.
        if found as u32 == magic { Ok(()) } else { Err(Error::refused(&self.path, format!("is not on {name}"))) }
    }

    /// Checks that it is the device of this kind and number.
    ///
    /// # Errors
    /// A refusal that names the path, when it is something else.
    pub fn verify_device(&self, kind: DeviceKind, major: u32, minor: u32) -> Result<()> {
        let stat = self.stat()?;
        let same_type = FileType::from_raw_mode(stat.st_mode) == file_type(kind);
        if same_type && (kind == DeviceKind::Fifo || stat.st_rdev == rustix::fs::makedev(major, minor)) {
            return Ok(());
        }
        Err(Error::refused(&self.path, format!("is not the device {major}:{minor}")))
    }

    /// The target of a symlink that was opened with [`super::Tree::open_nofollow`], at most 4096 bytes.
    ///
    /// # Errors
    /// What readlink(2) says; a refusal when the target is longer or not UTF-8.
    pub fn read_link(&self) -> Result<String> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); LINK_MAX];
        let (target, rest) = rustix::fs::readlinkat_raw(&self.fd, c"", &mut buffer)
            .map_err(|errno| self.failed("read the link", errno))?;
        if rest.is_empty() {
            return Err(Error::refused(&self.path, "is a symlink with a target of 4096 bytes or more"));
        }
        std::str::from_utf8(target)
            .map(str::to_owned)
            .map_err(|_| Error::refused(&self.path, "is a symlink with a target that is not UTF-8"))
    }

    /// Opens the directory for reading its entries.
    ///
    /// # Errors
    /// What the kernel says; `ENOTDIR` when it is no directory.
    pub fn read_dir(&self) -> Result<rustix::fs::Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, c".", flags, Mode::empty())
            .and_then(rustix::fs::Dir::new)
            .map_err(|errno| self.failed("read directory", errno))
    }

    /// Opens the entry `name` without following a symlink.
    ///
    /// # Errors
    /// What the kernel says; a refusal when `name` is not one component.
    pub fn child(&self, name: &str) -> Result<Node> {
        let node = self.named(name)?;
        open_component(self.fd(), name, OFlags::empty())
            .map(|fd| Node::new(fd, &node))
            .map_err(|errno| Error::failed("open", node, errno))
    }

    /// Makes the directory `name` and opens it.
    ///
    /// # Errors
    /// What the kernel says (`EEXIST` too); a refusal when `name` is not one component.
    pub fn mkdir(&self, name: &str, mode: u32) -> Result<Node> {
        let path = self.named(name)?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))
            .map_err(|errno| Error::failed("create directory", path, errno))?;
        self.child(name)
    }

    /// Makes the symlink `name` to `target`.
    ///
    /// # Errors
    /// As [`Node::mkdir`].
    pub fn symlink(&self, target: &str, name: &str) -> Result<()> {
        let path = self.named(name)?;
        rustix::fs::symlinkat(target, &self.fd, name).map_err(|errno| Error::failed("create symlink", path, errno))
    }

    /// Makes the device node or pipe `name` with `mode` (less the caller's umask) and this owner, in ids of the host.
    /// Through an id-mapped mount these must lie in its map.
    ///
    /// # Errors
    /// As [`Node::mkdir`].
    pub fn mknod(
        &self,
        name: &str,
        kind: DeviceKind,
        (major, minor): (u32, u32),
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Node> {
        let path = self.named(name)?;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        rustix::fs::mknodat(&self.fd, name, file_type(kind), mode, rustix::fs::makedev(major, minor))
            .map_err(|errno| Error::failed("create device node", &path, errno))?;
        // Opened and looked at again: somebody may have put another file in its place.
        let node = self.child(name)?;
        node.verify_device(kind, major, minor)?;
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&node.fd, c"", owner.0, owner.1, AtFlags::EMPTY_PATH)
            .map_err(|errno| Error::failed("give an owner to", path, errno))?;
        Ok(node)
    }

    /// The refusal of this file because it is not `wanted`.
    pub(super) fn refuse_type(&self, wanted: &str) -> Error {
        let reason = match self.file_type() {
            Ok(FileType::Symlink) => format!("is a symlink where {wanted} must be"),
            Ok(FileType::Directory) => format!("is a directory where {wanted} must be"),
            Ok(_) => format!("is a file where {wanted} must be"),
            Err(error) => return error,
        };
        Error::refused(&self.path, reason)
    }

    fn named(&self, name: &str) -> Result<String> {
        let path = format!("{}/{name}", self.path.trim_end_matches('/'));
        let one_component = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        if one_component { Ok(path) } else { Err(Error::refused(path, "does not end in the name of a file")) }
    }

    fn failed(&self, step: &'static str, errno: Errno) -> Error {
        Error::failed(step, &self.path, errno)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}
