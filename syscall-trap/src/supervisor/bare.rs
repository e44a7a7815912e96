//! Which umounts are none of ours: of a mount on which no other lies, the kernel knows everything. Almost all are, and to ask the
//! helper costs many times what an umount does.
//!
//! Invariant: nothing here waits for a filesystem: a path is looked up in the kernel's own memory alone
//! (`RESOLVE_CACHED`), and only a mount is asked about, of which the kernel knows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;

use crate::act::Act;
use crate::sys::mounts;

/// Whether `act` is an umount of a mount with nothing below, for the thread with this directory in procfs. False where that
/// cannot be told.
pub(super) fn is_bare_umount(process: &OwnedFd, act: &Act) -> bool {
    let Act::Umount { target, flags } = act else { return false };
    // A path that begins elsewhere is the helper's to follow.
    target.starts_with(b"/") && has_none_below(process, target, *flags).is_ok_and(|none| none)
}

#[expect(
    clippy::disallowed_methods,
    reason = "in the caller's root, and nothing but a mount id is taken of what is found"
)]
fn has_none_below(process: &OwnedFd, target: &[u8], flags: i32) -> Result<bool, Errno> {
    let open = |name: &str, flags| openat(process, name, flags | OFlags::CLOEXEC, Mode::empty());
    let namespace = errno(mounts::namespace_id(open("ns/mnt", OFlags::RDONLY)?.as_fd()))?;
    let root = open("root", OFlags::PATH)?;
    let follow = if flags & libc::UMOUNT_NOFOLLOW != 0 { OFlags::NOFOLLOW } else { OFlags::empty() };
    // Links of procfs's would be ours.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS;
    let target = {
        let _owner = Owner::of(root.as_fd())?;
        openat2(root, target, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty(), resolve)?
    };
    errno(mounts::any_below(namespace, mounts::unique_id(target)?)).map(|any| !any)
}

/// The thread is, to filesystems, the user who owns a directory, for as long as this lives. Of whoever else looks below a directory
/// the kernel asks its access control list, and an overlay has none in memory (`ACL_DONT_CACHE`), so that `RESOLVE_CACHED` would
/// find nothing.
struct Owner(u32);

impl Owner {
    fn of(directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        // As the kernel remembers it: the root of a caller's may be an overlay over a filesystem that does not answer.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let owner = statx(directory, c"", flags, StatxFlags::UID)?.stx_uid;
        Ok(Self(mounts::set_fsuid(owner)))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        mounts::set_fsuid(self.0);
    }
}

fn errno<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn of_this_process(target: &str, flags: i32) -> Result<bool, Errno> {
        has_none_below(&File::open("/proc/self").unwrap().into(), target.as_bytes(), flags)
    }

    #[test]
    fn a_mount_with_others_below_is_not_bare() {
        match of_this_process("/proc", 0) {
            // Before Linux 6.11 nothing is known.
            Err(Errno::NOSYS | Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP) => {}
            // Binfmt_misc may lie on it.
            known => assert!(known.is_ok(), "{known:?}"),
        }
        if let Ok(root) = of_this_process("/", 0) {
            assert!(!root, "/proc lies on it");
            assert!(of_this_process("/proc/self/root", 0).is_err(), "a link that is the reader's");
            assert!(of_this_process("/no/such/place", 0).is_err());
            let process = File::open("/proc/self").unwrap().into();
            let umount = |target: &str| Act::Umount { target: target.into(), flags: 0 };
            assert!(!is_bare_umount(&process, &umount("/")) && !is_bare_umount(&process, &umount("proc")));
        }
    }
}
