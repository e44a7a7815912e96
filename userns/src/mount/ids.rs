//! Through which ids the owners of a clone are shown.
//!
//! An id-mapped mount shows the owner that is on the disk as the map says: host id 0 becomes the container's root.
//! `AT_RECURSIVE` is all or nothing, and many filesystems have no id mapping at all. A tree that the kernel maps as a
//! whole is mapped so; any other is taken apart, since the kernel maps a mount only while it has no parent, and for each
//! mount of it the first rule that applies decides:
//! 1. its root is owned by a host id of the container's own range: it is shown as it is (somebody prepared it);
//! 2. it is mapped;
//! 3. as a submount of a pseudo filesystem, whose owners mean nothing outside its own kernel object, or as a device node, which
//!    the device cgroup guards whoever owns it, it is shown as it is;
//! 4. where the operator allows it ([`MountIds::plain`]), it is shown as it is: [`Detached::notes`] says so;
//! 5. it is refused, with its path and filesystem type. That includes a mount that carries another id map already:
//!    replacing that would show what its administrator meant to hide, and two maps cannot be combined.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use policy::binds::restricted;
use policy::idmap::IdMap;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Detached;
use crate::mountinfo::{self, MountEntry};
use crate::sys::{self, MOUNT_ATTR_IDMAP, MountAttr};
use crate::{Error, Result};

/// Further filesystems that have nothing to map: namespaces, and the kernel's own side of NFS.
const UNMAPPED: [&str; 2] = ["nsfs", "rpc_pipefs"];

/// The id map that a clone's owners are shown through.
#[derive(Debug, Clone, Copy)]
pub struct MountIds<'a> {
    /// A user namespace with the map (`/proc/PID/ns/user`), as mount_setattr(2) takes it.
    pub userns: BorrowedFd<'a>,
    /// The container's own map: what is owned by its host ids is shown as it is. None for an explicit mapping
    /// (`idmap`), which is always applied.
    pub own: Option<IdMap>,
    /// Whether a bind mount of what takes no id map is shown as it is, rather than refused: owners outside the container's
    /// range are `nobody` then.
    pub plain: bool,
}

impl MountIds<'_> {
    /// Whether a host uid is of the container's own range.
    pub(crate) fn are_of(&self, uid: u32) -> bool {
        self.own.is_some_and(|own| own.to_container(uid).is_some())
    }
}

impl Detached {
    /// Clones `source` and shows its owners through `ids`, with `recursive` in every mount below it too, by the module's
    /// rules: what a bind mount gets. `name` stands for it in messages. Mounts at or below `without`, paths relative to the
    /// source, may be left out: they will be covered.
    ///
    /// # Errors
    /// As [`Detached::clone_of`], and a refusal that names the path and the filesystem that cannot be shown.
    pub fn bind(
        source: impl AsFd,
        recursive: bool,
        ids: MountIds<'_>,
        name: &str,
        without: &[PathBuf],
    ) -> Result<Self> {
        let source = source.as_fd();
        if !recursive {
            return one(source, ids, Path::new(name), None);
        }
        if !owned_by(source, ids).map_err(|errno| Error::failed("stat", name, errno))? {
            let clone = Self::clone_of(source, true, name)?;
            match set_id_map(clone.fd(), ids, true) {
                Ok(()) => return Ok(clone),
                Err(Errno::INVAL | Errno::PERM) => {}
                Err(errno) => return Err(refuse(Path::new(name), &filesystem_name(source), errno)),
            }
        }
        one(source, ids, Path::new(name), None)?.with_submounts(source, ids, without)
    }

    /// Shows the owners of a clone of `source` through `ids`, with `recursive` in every mount of the tree or in none. The
    /// clone must not be attached yet.
    ///
    /// # Errors
    /// A refusal that names the path, and the filesystem of `source` when it cannot be id-mapped.
    pub fn id_map(&self, source: impl AsFd, ids: MountIds<'_>, recursive: bool) -> Result<()> {
        set_id_map(self.fd(), ids, recursive)
            .map_err(|errno| refuse(Path::new(self.name()), &filesystem_name(source.as_fd()), errno))
    }

    /// Adds the mounts below `source`, of whose own mount this is a clone, each shown by the rules.
    fn with_submounts(mut self, source: BorrowedFd<'_>, ids: MountIds<'_>, without: &[PathBuf]) -> Result<Self> {
        let fail = |error: std::io::Error| Error::failed("find the mounts below", self.name(), error);
        let id = mountinfo::id_of(source).map_err(|errno| fail(errno.into()))?;
        let path = std::fs::read_link(format!("/proc/thread-self/fd/{}", source.as_raw_fd())).map_err(fail)?;
        let entries = mountinfo::read()?;
        for entry in mountinfo::below(&entries, id, &path) {
            let relative = entry.mount_point.strip_prefix(&path).unwrap_or(&entry.mount_point);
            if without.iter().any(|without| relative.starts_with(without)) {
                continue;
            }
            let submount = open_below(source, relative)
                .map_err(|errno| Error::failed("open the mount", entry.mount_point.display(), errno))?;
            // Another mount lies on top of this one: what nobody can see is left out.
            if mountinfo::id_of(&submount) == Ok(entry.id) {
                self.below.push((relative.to_owned(), one(submount.as_fd(), ids, &entry.mount_point, Some(entry))?));
            }
        }
        Ok(self)
    }
}

/// A clone of one mount, shown by the rules; `entry` is there for a submount.
fn one(source: BorrowedFd<'_>, ids: MountIds<'_>, path: &Path, entry: Option<&MountEntry>) -> Result<Detached> {
    let name = path.display().to_string();
    let stat = rustix::fs::fstat(source).map_err(|errno| Error::failed("stat", &name, errno))?;
    let mut clone = Detached::clone_of(source, false, &name)?;
    if ids.are_of(stat.st_uid) {
        return Ok(clone);
    }
    let Err(errno) = set_id_map(clone.fd(), ids, false) else { return Ok(clone) };
    let device = FileType::from_raw_mode(stat.st_mode);
    let device = matches!(device, FileType::CharacterDevice | FileType::BlockDevice);
    let is_pseudo = |fstype: &str| restricted::is_kernels(fstype) || UNMAPPED.contains(&fstype);
    let pseudo = entry.is_some_and(|entry| is_pseudo(&entry.fstype));
    if errno == Errno::INVAL && (pseudo || device) {
        return Ok(clone);
    }
    let fstype = entry.map_or_else(|| filesystem_name(source), |entry| entry.fstype.clone());
    if errno != Errno::INVAL || !ids.plain {
        return Err(refuse(path, &fstype, errno));
    }
    clone.note = Some(format!("{name} is on {fstype}, which cannot be id-mapped: it is mounted as it is"));
    Ok(clone)
}

/// What lies at `relative` below `top`, without following any symlink: a mountpoint is none.
///
/// # Errors
/// What openat2(2) says.
pub fn open_below(top: BorrowedFd<'_>, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(top, relative, flags, Mode::empty(), resolve)
}

fn set_id_map(mount: BorrowedFd<'_>, ids: MountIds<'_>, recursive: bool) -> rustix::io::Result<()> {
    let userns_fd = u64::try_from(ids.userns.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let attr = MountAttr { attr_set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    sys::mount_setattr(mount, recursive, &attr)
}

/// Whether the root of a mount is owned by a host id of the container's range.
fn owned_by(mount: BorrowedFd<'_>, ids: MountIds<'_>) -> rustix::io::Result<bool> {
    rustix::fs::fstat(mount).map(|stat| ids.are_of(stat.st_uid))
}

fn refuse(path: &Path, fstype: &str, errno: Errno) -> Error {
    match errno {
        Errno::INVAL => Error::unmappable(path, fstype),
        Errno::PERM => Error::refused(path.display(), format!("is on {fstype} and id-mapped already")),
        errno => Error::failed("id-map", path.display(), errno),
    }
}

/// The type of the filesystem that a descriptor lies on, for messages: from mountinfo, on the way to an error.
pub(crate) fn filesystem_name(fd: BorrowedFd<'_>) -> String {
    let id = mountinfo::id_of(fd);
    let entry = id.ok().and_then(|id| mountinfo::read().ok()?.into_iter().find(|entry| entry.id == id));
    entry.map_or_else(|| "an unknown filesystem".to_owned(), |entry| entry.fstype)
}
