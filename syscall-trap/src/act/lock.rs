//! The mounts of a caller's namespace, and which of them the kernel has locked.
//!
//! No file tells of a lock. umount2(2) does: with `MNT_EXPIRE` it answers `EINVAL` for a locked mount, and `EBUSY` for another
//! one that is in use, which it is as long as our descriptor of it is open.
//!
//! Main type: [`Mounts`].

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use userns::mountinfo::{self, MountEntry};

use super::{Result, World, caller};
use crate::sys::mounts as sys;

/// All mounts of the namespace that this process was in when they were read, whatever its caller's root is.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Parents first.
    pub(super) all: Vec<MountEntry>,
    /// The namespace's root.
    root: OwnedFd,
    source: Source,
}

/// Where mounts were read from.
#[derive(Debug)]
enum Source {
    /// mountinfo, which is open.
    Table(OwnedFd),
    /// What lies below a mount, by ids that no other mount ever has.
    List { top: u64, below: Vec<u64> },
}

/// What is known of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// It cannot be unmounted.
    Locked,
    /// It can.
    Free,
    /// Another lies on top of it.
    Covered,
    /// Its place cannot be reached.
    Unknown,
}

impl Mounts {
    /// Those of the namespace that this process has just joined: setns(2) makes its root the process's.
    pub(super) fn read(world: &World) -> Result<Self> {
        Self::of(caller::open(world.proc.as_fd(), "thread-self/mountinfo", OFlags::RDONLY)?)
    }

    /// Those of a mountinfo of this process's own that nothing has been read of.
    fn of(table: OwnedFd) -> Result<Self> {
        let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let text = caller::read_all(&table)?;
        Ok(Self { all: mountinfo::parse(&text), root, source: Source::Table(table) })
    }

    /// The mount that a directory of the namespace is the root of, and all below: fewer than [`Mounts::read`] has, and for each the
    /// kernel does less. None where that cannot be had (before Linux 6.8), or there are too many.
    pub(super) fn below(top: impl AsFd) -> Option<Self> {
        let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let top = sys::unique_id(top).ok()?;
        let below = sys::all_below(0, top, MOST_BELOW).ok()?;
        let mut described = sys::Described::default();
        let ids = std::iter::once(&top).chain(&below);
        let all = ids.map(|id| sys::describe(0, *id, &mut described).ok().map(|()| entry(&described)));
        Some(Self { all: all.collect::<Option<_>>()?, root, source: Source::List { top, below } })
    }

    /// [`Mounts::below`], and where that cannot be had [`Mounts::read`].
    pub(super) fn of_tree(world: &World, top: impl AsFd) -> Result<Self> {
        Self::below(top).map_or_else(|| Self::read(world), Ok)
    }

    /// Whether something has been mounted or unmounted since these were read, in the namespace (which poll(2) tells of mountinfo,
    /// proc_pid_mounts(5)) or below the one mount. What was found of them is not what another moment would have shown, then: the
    /// kernel gives mountinfo page by page, and the id of a mount that is gone to the next one.
    pub(super) fn have_changed(&self) -> bool {
        match &self.source {
            Source::Table(table) => {
                let mut fds = [PollFd::new(table, PollFlags::PRI)];
                rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))) != Ok(0)
            }
            Source::List { top, below } => sys::all_below(0, *top, MOST_BELOW).ok().as_ref() != Some(below),
        }
    }

    /// The one whose root a descriptor is.
    pub(super) fn with_root(&self, root: impl AsFd) -> Option<&MountEntry> {
        let id = mountinfo::id_of_root(root).ok().flatten()?;
        self.all.iter().find(|entry| entry.id == id)
    }

    /// Those that lie on the mount `id` itself.
    pub(super) fn on(&self, id: u64) -> impl Iterator<Item = &MountEntry> {
        self.all.iter().filter(move |entry| entry.parent == id && entry.id != id)
    }

    /// Whether a mount is locked. Changes the working directory.
    pub(super) fn lock(&self, world: &World, entry: &MountEntry) -> Lock {
        match self.open(entry) {
            Ok(mount) if is_locked(world, &mount) => Lock::Locked,
            Ok(_) => Lock::Free,
            Err(lock) => lock,
        }
    }

    /// The root of a mount; where its place does not lead to it, that.
    #[expect(clippy::disallowed_methods, reason = "a path of mountinfo, whose mount id is compared")]
    pub(super) fn open(&self, entry: &MountEntry) -> std::result::Result<OwnedFd, Lock> {
        let path = entry.mount_point.strip_prefix("/").unwrap_or(&entry.mount_point);
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mount = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve).map_err(|_| Lock::Unknown)?;
        match mountinfo::id_of(&mount) {
            Ok(id) if id == entry.id => Ok(mount),
            Ok(_) => Err(Lock::Covered),
            Err(_) => Err(Lock::Locked),
        }
    }
}

/// How many mounts [`Mounts::below`] reads at most.
const MOST_BELOW: usize = 512;

/// The line that mountinfo would have, with the mount's own options and, of the superblock's, whether it is read-only.
fn entry(described: &sys::Described) -> MountEntry {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let is = |attribute| described.attributes & attribute != 0;
    let (noatime, strict) = (is(libc::MOUNT_ATTR_NOATIME), is(libc::MOUNT_ATTR_STRICTATIME));
    let words = [
        ("ro", is(libc::MOUNT_ATTR_RDONLY)),
        ("nosuid", is(libc::MOUNT_ATTR_NOSUID)),
        ("nodev", is(libc::MOUNT_ATTR_NODEV)),
        ("noexec", is(libc::MOUNT_ATTR_NOEXEC)),
        ("nosymfollow", is(libc::MOUNT_ATTR_NOSYMFOLLOW)),
        ("noatime", noatime),
        ("nodiratime", is(libc::MOUNT_ATTR_NODIRATIME)),
        ("relatime", !noatime && !strict),
    ];
    let is_read_only = u64::from(described.super_flags) & libc::MS_RDONLY != 0;
    MountEntry {
        id: described.id.into(),
        parent: described.parent.into(),
        device: format!("{}:{}", described.major, described.minor),
        root: path(described.root()),
        mount_point: path(described.mount_point()),
        options: words.iter().filter(|(_, is)| *is).map(|(word, _)| (*word).to_owned()).collect(),
        fstype: String::from_utf8_lossy(described.fstype()).into_owned(),
        source: String::new(),
        super_options: is_read_only.then(|| "ro".to_owned()).into_iter().collect(),
    }
}

/// Whether the mount is locked whose root a descriptor is. Changes the working directory.
pub(super) fn is_locked(world: &World, mount: &OwnedFd) -> bool {
    !matches!(unmount(world, mount, UnmountFlags::EXPIRE), Ok(()) | Err(Errno::BUSY))
}

/// umount2(2) of the mount whose root a descriptor is, by the link that procfs has for it. Changes the working directory.
#[expect(clippy::disallowed_methods, reason = "a link of our own descriptor: no name of the container's is resolved")]
pub(super) fn unmount(world: &World, mount: &OwnedFd, flags: UnmountFlags) -> Result<()> {
    rustix::process::fchdir(&world.proc)?;
    rustix::mount::unmount(format!("thread-self/fd/{}", mount.as_raw_fd()), flags)
}

#[cfg(test)]
mod tests {
    use super::super::option::{Atime, flags_of};
    use super::*;

    #[test]
    fn of_each_mount_the_same_is_read_as_mountinfo_says() {
        let top = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        if sys::unique_id(&top).is_err() {
            return eprintln!("not before Linux 6.8");
        }
        let entries = mountinfo::read().unwrap();
        let id = mountinfo::id_of(&top).unwrap();
        let below = mountinfo::below(&entries, id, Path::new("/"));
        let look = |entry: &MountEntry| {
            let MountEntry { id, parent, device, root, mount_point, options, fstype, super_options, .. } =
                entry.clone();
            let is = |options: &[String]| options.iter().any(|option| option == "ro");
            let (own, atime) = (flags_of(&options), format!("{:?}", Atime::of(&options)));
            (id, parent, device, root, mount_point, fstype, is(&options), is(&super_options), own, atime)
        };
        let mut expected: Vec<_> = entries.iter().filter(|entry| entry.id == id).chain(below).map(look).collect();
        let mut found: Vec<_> = Mounts::below(&top).unwrap().all.iter().map(look).collect();
        expected.sort();
        found.sort();
        assert!(found.len() > 1, "{found:?}");
        assert_eq!(found, expected);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "in a mount namespace of this thread's own")]
    fn a_table_tells_that_it_has_changed() {
        // SAFETY: no descriptor table is unshared, and the mount namespace is this thread's alone.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.is_err() {
            return eprintln!("needs root");
        }
        use rustix::mount::MountPropagationFlags as Flags;
        rustix::mount::mount_change("/", Flags::PRIVATE | Flags::REC).unwrap();
        let read = || Mounts::of(std::fs::File::open("/proc/thread-self/mountinfo").unwrap().into()).unwrap();
        let before = read();
        let top = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let listed = Mounts::below(top);
        let list_has_changed = || listed.as_ref().is_some_and(Mounts::have_changed);
        assert!(!before.have_changed() && !before.have_changed() && !list_has_changed(), "nothing has happened");
        rustix::mount::mount_bind("/proc", "/proc").unwrap();
        assert!(before.have_changed(), "a mount");
        assert_eq!(list_has_changed(), listed.is_some());
        let before = read();
        assert!(!before.have_changed());
        rustix::mount::unmount("/proc", UnmountFlags::DETACH).unwrap();
        assert!(before.have_changed(), "an umount");
    }
}
