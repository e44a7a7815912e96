//! The mounts of a caller's namespace, and which of them the kernel has locked.
//!
//! No file tells of a lock. umount2(2) does: with `MNT_EXPIRE` it answers `EINVAL` for a locked mount, and `EBUSY` for another
//! one that is in use, which it is as long as our descriptor of it is open.
//!
//! Main type: [`Mounts`].

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use userns::mountinfo::{self, MountEntry};

use super::{Result, World, caller};

/// All mounts of the namespace that this process was in when they were read, whatever its caller's root is.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Parents first.
    pub(super) all: Vec<MountEntry>,
    /// The namespace's root.
    root: OwnedFd,
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
        let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let text = caller::read(world.proc.as_fd(), "thread-self/mountinfo")?;
        Ok(Self { all: mountinfo::parse(&text), root })
    }

    /// Those that lie on the mount `id` itself.
    pub(super) fn on(&self, id: u64) -> impl Iterator<Item = &MountEntry> {
        self.all.iter().filter(move |entry| entry.parent == id && entry.id != id)
    }

    /// Whether a mount is locked. Changes the working directory.
    pub(super) fn lock(&self, world: &World, entry: &MountEntry) -> Lock {
        match self.open(entry) {
            Ok(mount) => match unmount(world, &mount, UnmountFlags::EXPIRE) {
                Ok(()) | Err(Errno::BUSY) => Lock::Free,
                Err(_) => Lock::Locked,
            },
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

/// umount2(2) of the mount whose root a descriptor is, by the link that procfs has for it. Changes the working directory.
#[expect(clippy::disallowed_methods, reason = "a link of our own descriptor: no name of the container's is resolved")]
pub(super) fn unmount(world: &World, mount: &OwnedFd, flags: UnmountFlags) -> Result<()> {
    rustix::process::fchdir(&world.proc)?;
    rustix::mount::unmount(format!("thread-self/fd/{}", mount.as_raw_fd()), flags)
}
