//! Directories that the engine has copied up while a process of the container holds them.
//!
//! What a process holds (its working directory, the directories above its program or above a mountpoint) cannot be forgotten by
//! the container's overlay, which goes on without the upper directory that the engine has made meanwhile: it shows nothing of
//! it, and its own copy-up finds the name taken. So the engine's directory is moved aside, the container's overlay is made to
//! copy the directory up, and what was in the engine's is moved into that.
//!
//! The writable layer is the container's to fill: it is only walked by descriptors, one name at a time, to a bounded depth and
//! number of directories, and what was moved is compared with what was looked at.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::Errno;

use crate::mount::Context;
use crate::{Error, Result};

/// A directory to read, without a trace.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NOATIME);
/// A directory to look at. Unlike an open it tells no inotify watch of the container.
const LOOK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How deep the walk goes, in directories. Each level holds two descriptors.
const DEPTH_MAX: usize = 100;
/// How many directories it looks at, and how many names are moved at a time.
const DIRECTORIES_MAX: usize = 100_000;
/// Names in our work directory: what was moved aside, and where from (a symlink, for who finds it after a crash).
const ASIDE: &CStr = c"aside";
const ASIDE_FROM: &CStr = c"aside-from";
/// The longest list of extended attributes, and the longest of one's value, in bytes (xattr(7)).
const XATTRS_MAX: usize = 65536;
/// How often a directory that the engine still fills is emptied.
const TRIES: u32 = 100;

/// The writable layer on the host's disk, as it is.
#[derive(Debug)]
pub(super) struct Upper {
    root: OwnedFd,
    /// Our own work directory, which may not exist before the first start.
    work: PathBuf,
}

impl Upper {
    /// Opens the layer, and puts back what a crash may have left aside.
    pub(super) fn open(path: &Path, work: PathBuf) -> Result<Self> {
        let root = rustix::fs::openat(CWD, path, READ, Mode::empty())
            .map_err(|errno| Error::failed("open directory", path.display(), errno))?;
        let upper = Self { root, work };
        upper.put_back()?;
        Ok(upper)
    }

    /// Has the container's overlay, whose root is `ours`, take over every directory of the layer that it does not know of.
    /// True when there was one.
    pub(super) fn adopt_all(&self, ours: BorrowedFd<'_>, engine: &Context) -> Result<bool> {
        let mut walk = Walk { upper: self, engine, path: PathBuf::new(), left: DIRECTORIES_MAX, adopted: false };
        walk.directory(self.root.as_fd(), ours)?;
        Ok(walk.adopted)
    }

    /// Our work directory; none before the first start.
    fn work(&self) -> Result<Option<OwnedFd>> {
        match rustix::fs::openat(CWD, &self.work, LOOK, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            work => work.map(Some).map_err(|errno| self.failed("open directory", errno)),
        }
    }

    /// Moves what was left aside to where it came from.
    fn put_back(&self) -> Result<()> {
        let Some(work) = self.work()? else { return Ok(()) };
        let Some(aside) = open(work.as_fd(), ASIDE, READ) else { return Ok(()) };
        let fail = |errno| self.failed("put back what is aside in", errno);
        let from = rustix::fs::readlinkat(&work, ASIDE_FROM, Vec::new()).map_err(fail)?;
        let from = Path::new(OsStr::from_bytes(from.to_bytes()));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let place = |path: &Path| rustix::fs::openat2(&self.root, path, READ, Mode::empty(), resolve);
        match (place(from), from.parent(), from.file_name()) {
            (Ok(new), ..) => {
                move_children(aside.as_fd(), new.as_fd()).map_err(fail)?;
                remove_directory(work.as_fd(), ASIDE).map_err(fail)?;
            }
            (Err(_), Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                let parent = place(parent).map_err(fail)?;
                rename(work.as_fd(), ASIDE, parent.as_fd(), name).map_err(fail)?;
            }
            (Err(errno), ..) => return Err(fail(errno)),
        }
        rustix::fs::unlinkat(&work, ASIDE_FROM, AtFlags::empty()).map_err(fail)
    }

    fn failed(&self, step: &'static str, errno: Errno) -> Error {
        Error::failed(step, self.work.display(), errno)
    }
}

/// One walk through the layer.
struct Walk<'a> {
    upper: &'a Upper,
    engine: &'a Context,
    /// The directory where it is.
    path: PathBuf,
    left: usize,
    adopted: bool,
}

impl Walk<'_> {
    /// Compares the directories below `theirs`, of the layer, with those below `ours`, of the container's overlay.
    fn directory(&mut self, theirs: BorrowedFd<'_>, ours: BorrowedFd<'_>) -> Result<()> {
        let names = names(theirs, may_be_directory, self.left).map_err(|errno| self.failed("read directory", errno))?;
        // Counted when they are read: those of all directories above are kept meanwhile.
        self.left = self.left.saturating_sub(names.len());
        for name in names {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            let outcome = self.child(theirs, ours, &name);
            self.path.pop();
            outcome?;
        }
        Ok(())
    }

    /// The same for one of them. One that has gone meanwhile, on either side, is no concern.
    fn child(&mut self, theirs: BorrowedFd<'_>, ours: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let (Some(mut upper), Some(shown)) = (open(theirs, name, READ), open(ours, name, LOOK)) else { return Ok(()) };
        if !is_shown(upper.as_fd(), shown.as_fd()).map_err(|errno| self.failed("stat", errno))? {
            let Some(new) = self.adopt(theirs, name, &upper, &shown)? else { return Ok(()) };
            upper = new;
            self.adopted = true;
        }
        if self.path.components().count() < DEPTH_MAX { self.directory(upper.as_fd(), shown.as_fd()) } else { Ok(()) }
    }

    /// Has the container's overlay make an upper directory for `shown`, and moves into it what is in `old`. Returns it; none
    /// when the directory is not what it was when it was looked at.
    fn adopt(&self, parent: BorrowedFd<'_>, name: &CStr, old: &OwnedFd, shown: &OwnedFd) -> Result<Option<OwnedFd>> {
        let fail = |errno| self.failed("take over directory", errno);
        let Some(work) = self.upper.work()? else { return Ok(None) };
        let _ = rustix::fs::unlinkat(&work, ASIDE_FROM, AtFlags::empty());
        rustix::fs::symlinkat(&self.path, &work, ASIDE_FROM).map_err(fail)?;
        let back = || rename(work.as_fd(), ASIDE, parent, OsStr::from_bytes(name.to_bytes()));
        rename(parent, name, work.as_fd(), OsStr::from_bytes(ASIDE.to_bytes())).map_err(fail)?;
        let same = open(work.as_fd(), ASIDE, READ).is_some_and(|moved| is_same(moved.as_fd(), old.as_fd()));
        let copied = if same { copy_up(shown) } else { Err(Errno::STALE) };
        let new = match (copied, open(parent, name, READ)) {
            (Ok(()), Some(new)) => new,
            // It was known after all, or has changed under our hands.
            (copied, _) => {
                back().map_err(fail)?;
                rustix::fs::unlinkat(&work, ASIDE_FROM, AtFlags::empty()).map_err(fail)?;
                return match copied {
                    Ok(()) | Err(Errno::STALE | Errno::NOENT) => Ok(None),
                    Err(errno) => Err(fail(errno)),
                };
            }
        };
        self.move_over(work.as_fd(), old, &new)?;
        rustix::fs::unlinkat(&work, ASIDE_FROM, AtFlags::empty()).map_err(fail)?;
        Ok(Some(new))
    }

    /// Moves everything, attributes too, from `old`, which is aside and goes, to `new`.
    fn move_over(&self, work: BorrowedFd<'_>, old: &OwnedFd, new: &OwnedFd) -> Result<()> {
        let fail = |errno| self.failed("take over what is in directory", errno);
        let times = rustix::fs::fstat(old).map_err(fail)?;
        copy_attributes(old, new).map_err(fail)?;
        for _ in 0..TRIES {
            move_children(old.as_fd(), new.as_fd()).map_err(fail)?;
            // Until here the engine may know the old directory, and fill it.
            self.engine.reconfigure()?;
            move_children(old.as_fd(), new.as_fd()).map_err(fail)?;
            match remove_directory(work, ASIDE) {
                Ok(()) => return set_times(new, &times).map_err(fail),
                Err(Errno::NOTEMPTY) => std::thread::sleep(Duration::from_millis(1)),
                Err(errno) => return Err(fail(errno)),
            }
        }
        Err(fail(Errno::NOTEMPTY))
    }

    fn failed(&self, step: &'static str, errno: Errno) -> Error {
        Error::failed(step, Path::new("/").join(&self.path).display(), errno)
    }
}

fn open(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Option<OwnedFd> {
    rustix::fs::openat(parent, name, flags, Mode::empty()).ok()
}

/// The names in a directory, of files of the types that `wanted` says, `limit` at most: a container may have made any number.
fn names(directory: BorrowedFd<'_>, wanted: fn(FileType) -> bool, limit: usize) -> rustix::io::Result<Vec<CString>> {
    let entries =
        Dir::read_from(directory)?.map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())));
    let wanted = |entry: &rustix::io::Result<(CString, FileType)>| match entry {
        Ok((name, kind)) => wanted(*kind) && !matches!(name.to_bytes(), b"." | b".."),
        Err(_) => true,
    };
    entries.filter(wanted).take(limit).map(|entry| entry.map(|(name, _)| name)).collect()
}

fn may_be_directory(kind: FileType) -> bool {
    matches!(kind, FileType::Directory | FileType::Unknown)
}

/// Whether what the overlay shows is this upper directory, not a lower one alone: it then has its time of birth. Where the
/// filesystem keeps none, that of the last change has to do.
fn is_shown(upper: BorrowedFd<'_>, shown: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let (upper, shown) = (stat(upper)?, stat(shown)?);
    let born = StatxFlags::BTIME.bits();
    let time = |stat: &Statx| -> StatxTimestamp {
        if upper.stx_mask & shown.stx_mask & born != 0 { stat.stx_btime } else { stat.stx_ctime }
    };
    let (upper, shown) = (time(&upper), time(&shown));
    Ok((upper.tv_sec, upper.tv_nsec) == (shown.tv_sec, shown.tv_nsec))
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |fd| stat(fd).map(|stat| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

fn stat(fd: BorrowedFd<'_>) -> rustix::io::Result<Statx> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

/// Makes an overlay copy a directory up: it is given the mode that it has.
fn copy_up(shown: &OwnedFd) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(shown)?.st_mode & 0o7777);
    rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", shown.as_raw_fd()), mode, AtFlags::empty())
}

fn rename(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new_name: &OsStr) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE)
}

fn remove_directory(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Moves every entry, or a good part of very many.
fn move_children(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    for name in names(from, |_| true, DIRECTORIES_MAX)? {
        match rename(from, &name, to, OsStr::from_bytes(name.to_bytes())) {
            Ok(()) | Err(Errno::NOENT) => {}
            // The container has made it a moment ago: as if it had overwritten the engine's.
            Err(Errno::EXIST) => rustix::fs::unlinkat(from, &name, AtFlags::empty())?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives a directory that the overlay has made from the lower one what the engine had given its own.
fn copy_attributes(old: &OwnedFd, new: &OwnedFd) -> rustix::io::Result<()> {
    let (was, is) = (rustix::fs::fstat(old)?, rustix::fs::fstat(new)?);
    if (was.st_uid, was.st_gid) != (is.st_uid, is.st_gid) {
        rustix::fs::fchown(
            new,
            Some(rustix::fs::Uid::from_raw(was.st_uid)),
            Some(rustix::fs::Gid::from_raw(was.st_gid)),
        )?;
    }
    if was.st_mode != is.st_mode {
        rustix::fs::fchmod(new, Mode::from_raw_mode(was.st_mode & 0o7777))?;
    }
    let mut list = vec![0_u8; XATTRS_MAX];
    let length = rustix::fs::flistxattr(old, &mut list)?;
    let mut value = vec![0_u8; XATTRS_MAX];
    for name in list.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let length = rustix::fs::fgetxattr(old, name, &mut value)?;
        rustix::fs::fsetxattr(new, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    Ok(())
}

fn set_times(directory: &OwnedFd, stat: &rustix::fs::Stat) -> rustix::io::Result<()> {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec: i64::try_from(tv_nsec).unwrap_or(0) };
    let last_access = time(stat.st_atime, stat.st_atime_nsec);
    let last_modification = time(stat.st_mtime, stat.st_mtime_nsec);
    rustix::fs::futimens(directory, &Timestamps { last_access, last_modification })
}
