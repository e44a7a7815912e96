//! New filesystems: a filesystem context, from fsopen(2) to fsmount(2); and those that are mounted, from fspick(2) on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
};

use super::Detached;
use crate::{Error, Result};

/// Longest message of a filesystem context's log that is read, in bytes. A longer one is left out by the kernel.
const MESSAGE_MAX: usize = 1024;

/// A filesystem that is being configured.
#[derive(Debug)]
pub(crate) struct Context {
    fd: OwnedFd,
    fstype: String,
}

impl Context {
    /// # Errors
    /// A refusal when the kernel does not know the type; otherwise what fsopen(2) says.
    pub(crate) fn open(fstype: &str) -> Result<Self> {
        match fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, fstype: fstype.to_owned() }),
            Err(Errno::NODEV) => Err(Error::refused(fstype, "this kernel has no such filesystem")),
            Err(errno) => Err(Error::failed("open filesystem type", fstype, errno)),
        }
    }

    /// The same with options; one without a value is a flag.
    pub(crate) fn configured(fstype: &str, source: Option<&str>, data: &[(String, Option<String>)]) -> Result<Self> {
        let context = Self::open(fstype)?;
        if let Some(source) = source {
            context.set_string("source", source)?;
        }
        for (key, value) in data {
            match value {
                Some(value) => context.set_string(key, value)?,
                None => context.set_flag(key)?,
            }
        }
        Ok(context)
    }

    /// That of the filesystem whose root `mount` is the root of; `name` stands for it in messages. It keeps the filesystem, not
    /// the mount: that can be unmounted.
    pub(crate) fn pick(mount: BorrowedFd<'_>, name: &str) -> Result<Self> {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fd = fspick(mount, c"", flags).map_err(|errno| Error::failed("pick the filesystem of", name, errno))?;
        Ok(Self { fd, fstype: name.to_owned() })
    }

    /// Reconfigures a mounted filesystem to what it is. The kernel drops every dentry of it that is not in use
    /// (`shrink_dcache_sb` in `reconfigure_super`, fs/super.c).
    pub(crate) fn reconfigure(&self) -> Result<()> {
        fsconfig_reconfigure(&self.fd).map_err(|errno| Error::with_note("reconfigure", &self.fstype, errno, self.log()))
    }

    pub(crate) fn set_string(&self, key: &str, value: &str) -> Result<()> {
        fsconfig_set_string(&self.fd, key, value).map_err(|errno| self.failed(&format!("{key}={value}"), errno))
    }

    pub(crate) fn set_flag(&self, key: &str) -> Result<()> {
        fsconfig_set_flag(&self.fd, key).map_err(|errno| self.failed(key, errno))
    }

    pub(crate) fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<()> {
        fsconfig_set_fd(&self.fd, key, value).map_err(|errno| self.failed(key, errno))
    }

    /// Makes the superblock, and a mount of it with these `MOUNT_ATTR_*`.
    pub(crate) fn create(self, attributes: u64) -> Result<Detached> {
        let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
        let fd = fsconfig_create(&self.fd)
            .and_then(|()| fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
            .map_err(|errno| Error::with_note("mount", &self.fstype, errno, self.log()))?;
        Ok(Detached { fd, name: self.fstype, below: Vec::new(), note: None })
    }

    fn failed(&self, option: &str, errno: Errno) -> Error {
        Error::with_note("set option", format!("{option} of {}", self.fstype), errno, self.log())
    }

    /// The messages of the context's log: each read(2) gives one, `e overlay: ...`, until `ENODATA`.
    fn log(&self) -> String {
        let mut texts = Vec::new();
        let mut buffer = [0_u8; MESSAGE_MAX];
        while let Ok(length @ 1..) = rustix::io::read(self.fd.as_fd(), &mut buffer) {
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            texts.push(message.trim_start_matches(['e', 'w', 'i']).trim().to_owned());
        }
        if texts.is_empty() { String::new() } else { format!(" ({})", texts.join("; ")) }
    }
}
