//! Facts about files of the host, on their descriptors ([`policy::binds::facts`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use policy::binds::Known;
use policy::binds::Rules;
use policy::binds::facts::{Carried, Found, Identity, Kind, Object, Place};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use userns::mountinfo::{self, MountEntry};

use crate::stage::message::Failure;

/// A file that was looked at.
pub(super) struct Looked {
    pub(super) object: Object,
    /// Its path with all symlinks resolved.
    pub(super) path: PathBuf,
    mount: u64,
}

/// Opens a path of the host, through symlinks but not through magic links.
#[expect(clippy::disallowed_methods, reason = "a path of the host, which the engine names")]
pub(super) fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// What the paths of the rules lead to.
///
/// # Errors
/// When one of them cannot be looked at: nobody knows then what is to be protected.
pub(super) fn known(rules: &Rules, mounts: &[MountEntry]) -> Result<Known, Failure> {
    let find = |path: &Path| found(path, mounts);
    Ok(Known {
        restricted: rules.restricted.iter().map(|entry| find(&entry.path)).collect::<Result<_, _>>()?,
        shared: rules.shared.iter().flatten().map(|path| find(path)).collect::<Result<_, _>>()?,
    })
}

fn found(path: &Path, mounts: &[MountEntry]) -> Result<Found, Failure> {
    for (depth, above) in path.ancestors().enumerate() {
        match open(above) {
            Ok(fd) => {
                let stat = stat(fd.as_fd()).map_err(Failure::at("stat", above.display()))?;
                let path = path_of(fd.as_fd()).map_err(Failure::at("find the path of", above.display()))?;
                let (object, _) = object(&stat, &path, mounts).ok_or_else(|| elsewhere(above))?;
                return Ok(Found { object, exists: depth == 0 });
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(Failure::at("look at", above.display())(errno)),
        }
    }
    Err(Failure::line(format!("look at {}: is not an absolute path", path.display())))
}

/// All facts about a source. `path` stands for it in messages.
pub(super) fn look(fd: BorrowedFd<'_>, path: &Path, mounts: &[MountEntry]) -> Result<Looked, Failure> {
    let stat = stat(fd).map_err(Failure::at("stat source", path.display()))?;
    let resolved = path_of(fd).map_err(Failure::at("find the path of", path.display()))?;
    let (mut object, mount) = object(&stat, &resolved, mounts).ok_or_else(|| elsewhere(path))?;
    object.parents = match object.kind {
        Kind::Directory => parents(fd),
        _ => beside(&object, &resolved)?.map_or_else(|| Err(Errno::STALE), |parent| with_parents(&parent)),
    }
    .map_err(
        |errno| if errno == Errno::STALE { moved(path) } else { Failure::at("look above", path.display())(errno) },
    )?;
    Ok(Looked { object, path: resolved, mount })
}

/// The mounts below a directory that a recursive bind mount carries along and that can be seen.
pub(super) fn carried(fd: BorrowedFd<'_>, looked: &Looked, mounts: &[MountEntry]) -> Result<Vec<Carried>, Failure> {
    let mut carried = Vec::new();
    for entry in mountinfo::below(mounts, looked.mount, &looked.path) {
        let at = || Failure::at::<Errno>("look at the mount", entry.mount_point.display());
        let Ok(relative) = entry.mount_point.strip_prefix(&looked.path) else { continue };
        let root = match userns::mount::open_below(fd, relative) {
            Ok(root) => root,
            // Unmounted since, with what it was mounted on.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(at()(errno)),
        };
        let stat = stat(root.as_fd()).map_err(at())?;
        // Another mount lies on top of this one, and will be locked there.
        if stat.stx_mnt_id != entry.id {
            continue;
        }
        if let Some((object, _)) = object(&stat, &entry.mount_point, mounts) {
            carried.push(Carried { relative: relative.to_owned(), object });
        }
    }
    Ok(carried)
}

/// Which file it is, of what kind, and how many names it has.
pub(super) fn identify(fd: BorrowedFd<'_>) -> rustix::io::Result<(Identity, Kind, u64)> {
    let stat = stat(fd)?;
    Ok((identity(&stat), kind(&stat), stat.stx_nlink.into()))
}

/// The refusal of what is not where it was when it was looked at.
pub(super) fn moved(path: &Path) -> Failure {
    Failure::line(format!("{}: was moved while it was looked at", path.display()))
}

fn elsewhere(path: &Path) -> Failure {
    Failure::line(format!("{}: does not lie on a mount of the host's mount namespace", path.display()))
}

/// Everything but the parents, and the id of its mount; none when that is not among `mounts`.
fn object(stat: &Statx, path: &Path, mounts: &[MountEntry]) -> Option<(Object, u64)> {
    let mount = mounts.iter().find(|entry| entry.id == stat.stx_mnt_id)?;
    let object = Object {
        identity: identity(stat),
        kind: kind(stat),
        links: stat.stx_nlink.into(),
        fstype: mount.fstype.clone(),
        parents: Vec::new(),
        places: places(mount, path, mounts)?,
    };
    Some((object, mount.id))
}

/// The place of `path`, which lies on `mount`, and those of the mountpoints above it.
fn places(mount: &MountEntry, path: &Path, mounts: &[MountEntry]) -> Option<Vec<Place>> {
    let (whole, mut mount, mut path) = (path, mount, path);
    let mut places = Vec::new();
    loop {
        let relative = path.strip_prefix(&mount.mount_point).ok()?;
        places.push(Place {
            filesystem: mount.device.clone(),
            path: mount.root.join(relative).components().collect(),
            on: whole.strip_prefix(path).ok()?.to_owned(),
        });
        let parent = mounts.iter().find(|entry| entry.id == mount.parent && entry.id != mount.id);
        let Some(parent) = parent.filter(|_| places.len() <= mounts.len()) else { return Some(places) };
        (path, mount) = (&mount.mount_point, parent);
    }
}

/// The directories above a directory, by `..`, up to the root.
fn parents(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Identity>> {
    let mut here = rustix::io::fcntl_dupfd_cloexec(directory, 3)?;
    let mut last = stat(here.as_fd())?;
    let mut parents = Vec::new();
    loop {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, c"..", flags, Mode::empty())?;
        let above = stat(here.as_fd())?;
        if identity(&above) == identity(&last) && above.stx_mnt_id == last.stx_mnt_id {
            return Ok(parents);
        }
        parents.push(identity(&above));
        last = above;
    }
}

/// A directory and those above it.
fn with_parents(directory: &OwnedFd) -> rustix::io::Result<Vec<Identity>> {
    let own = identity(&stat(directory.as_fd())?);
    parents(directory.as_fd()).map(|above| [own].into_iter().chain(above).collect())
}

/// The directory that has this file, which has no `..`; none when it is not there any more.
#[expect(clippy::disallowed_methods, reason = "the kernel's own path of a descriptor, checked against it")]
fn beside(object: &Object, resolved: &Path) -> Result<Option<OwnedFd>, Failure> {
    let (Some(parent), Some(name)) = (resolved.parent(), resolved.file_name()) else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let directory = match rustix::fs::openat2(CWD, parent, flags, Mode::empty(), resolve) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(Failure::at("open", parent.display())(errno)),
    };
    let there = rustix::fs::statx(&directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO);
    Ok(there.is_ok_and(|there| identity(&there) == object.identity).then_some(directory))
}

/// The path of a descriptor, as the kernel has it now.
fn path_of(fd: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()))
}

fn stat(fd: BorrowedFd<'_>) -> rustix::io::Result<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::MNT_ID;
    // What is asked for never changes: no server need be asked for it again.
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted)
}

fn identity(stat: &Statx) -> Identity {
    let device = (u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor);
    Identity { device, inode: stat.stx_ino }
}

fn kind(stat: &Statx) -> Kind {
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => Kind::Directory,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Device,
        _ => Kind::File,
    }
}
