//! Through which ids the owners of a clone are shown.
//!
//! An id-mapped mount shows the owner that is on the disk as the map says: host id 0 becomes the container's root.
//! `AT_RECURSIVE` is all or nothing, and many filesystems have no id mapping at all, so a tree that the kernel refuses as
//! a whole is walked mount by mount. For each mount of it, the first rule that applies decides:
//! 1. its root is owned by a host id of the container's own range: it is shown as it is (somebody prepared it);
//! 2. it is mapped;
//! 3. as a submount of a pseudo filesystem, whose owners mean nothing outside its own kernel object, it is shown as it is;
//! 4. it is refused, with its path and filesystem type. That includes a mount that carries another id map already:
//!    replacing that would show what its administrator meant to hide, and two maps cannot be combined.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::idmap::IdMap;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::Detached;
use crate::mountinfo::{self, MountEntry};
use crate::sys::{self, MOUNT_ATTR_IDMAP, MountAttr};
use crate::{Error, Result};

/// Filesystems that are windows into the kernel, by their name in mountinfo.
const PSEUDO: [&str; 19] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "bpf",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "efivarfs",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "selinuxfs",
    "nsfs",
    "rpc_pipefs",
];

/// The id map that a clone's owners are shown through.
#[derive(Debug, Clone, Copy)]
pub struct MountIds<'a> {
    /// A user namespace with the map (`/proc/PID/ns/user`), as mount_setattr(2) takes it.
    pub userns: BorrowedFd<'a>,
    /// The container's own map: what is owned by its host ids is shown as it is. None for an explicit mapping
    /// (`idmap`), which is always applied.
    pub own: Option<IdMap>,
}

impl Detached {
    /// Clones `source` and shows its owners through `ids`: what a bind mount gets. `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Detached::clone_of`] and [`Detached::id_map`].
    pub fn bind(source: impl AsFd, recursive: bool, ids: MountIds<'_>, name: &str) -> Result<Self> {
        let clone = Self::clone_of(&source, recursive, name)?;
        clone.id_map(source.as_fd(), ids, recursive)?;
        Ok(clone)
    }

    /// Shows the owners of a clone of `source` through `ids`, with `recursive` in every mount of the tree. See the
    /// module's rules. The clone must not be attached yet.
    ///
    /// # Errors
    /// A refusal that names the path and the filesystem that cannot be shown.
    pub fn id_map(&self, source: BorrowedFd<'_>, ids: MountIds<'_>, recursive: bool) -> Result<()> {
        let plain = owned_by(self.fd(), ids)?;
        if !plain {
            match set_id_map(self.fd(), ids, recursive) {
                Ok(()) => return Ok(()),
                Err(Errno::INVAL | Errno::PERM) if recursive => {
                    set_id_map(self.fd(), ids, false).map_err(|errno| self.unmappable(source, errno))?;
                }
                Err(errno) => return Err(self.unmappable(source, errno)),
            }
        }
        if recursive { self.id_map_submounts(source, ids) } else { Ok(()) }
    }

    /// The submounts of the clone are those of the source, which unlike the clone's are listed in mountinfo.
    fn id_map_submounts(&self, source: BorrowedFd<'_>, ids: MountIds<'_>) -> Result<()> {
        let fail = |errno| Error::failed("find the mounts below", self.name(), errno);
        let id = rustix::fs::statx(source, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(fail)?.stx_mnt_id;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&source)))
            .map_err(|error| Error::failed("find the mounts below", self.name(), error))?;
        let entries = mountinfo::read()?;
        for entry in mountinfo::below(&entries, id, &path) {
            let relative = entry.mount_point.strip_prefix(&path).unwrap_or(&entry.mount_point);
            self.id_map_submount(relative, entry, ids)?;
        }
        Ok(())
    }

    fn id_map_submount(&self, relative: &Path, entry: &MountEntry, ids: MountIds<'_>) -> Result<()> {
        let submount = open_submount(self.fd(), relative)
            .map_err(|errno| Error::failed("open the mount", entry.mount_point.display(), errno))?;
        if owned_by(submount.as_fd(), ids)? {
            return Ok(());
        }
        match set_id_map(submount.as_fd(), ids, false) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL) if PSEUDO.contains(&entry.fstype.as_str()) => Ok(()),
            Err(errno) => Err(refuse(&entry.mount_point, &entry.fstype, errno)),
        }
    }

    fn unmappable(&self, source: BorrowedFd<'_>, errno: Errno) -> Error {
        refuse(Path::new(self.name()), &filesystem_name(source), errno)
    }
}

/// The mount on `relative` in a detached clone. A mountpoint is no symlink, so none is followed.
fn open_submount(clone: BorrowedFd<'_>, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(clone, relative, flags, Mode::empty(), resolve)
}

fn set_id_map(mount: BorrowedFd<'_>, ids: MountIds<'_>, recursive: bool) -> rustix::io::Result<()> {
    let userns_fd = u64::try_from(rustix::fd::AsRawFd::as_raw_fd(&ids.userns)).map_err(|_| Errno::BADF)?;
    let attr = MountAttr { attr_set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    sys::mount_setattr(mount, recursive, &attr)
}

/// Whether the root of a mount is owned by a host id of the container's range.
fn owned_by(mount: BorrowedFd<'_>, ids: MountIds<'_>) -> Result<bool> {
    let Some(own) = ids.own else { return Ok(false) };
    let stat = rustix::fs::fstat(mount).map_err(|errno| Error::failed("stat", "a mount", errno))?;
    Ok(own.to_container(stat.st_uid).is_some())
}

fn refuse(path: &Path, fstype: &str, errno: Errno) -> Error {
    match errno {
        Errno::INVAL => Error::refused(path.display(), format!("is on {fstype}, which cannot be id-mapped")),
        Errno::PERM => Error::refused(path.display(), format!("is on {fstype} and id-mapped already")),
        errno => Error::failed("id-map", path.display(), errno),
    }
}

/// The type of the filesystem that a descriptor lies on, for messages: from mountinfo, on the way to an error.
pub(crate) fn filesystem_name(fd: BorrowedFd<'_>) -> String {
    let id = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id);
    let entry = id.ok().and_then(|id| mountinfo::read().ok()?.into_iter().find(|entry| entry.id == id));
    entry.map_or_else(|| "an unknown filesystem".to_owned(), |entry| entry.fstype)
}
