//! Which calls are none of ours: the umount of a mount on which no other lies, and a plain bind of a directory below which nothing is
//! mounted. The kernel knows everything of them. Almost all are so, and to ask the helper costs many times what the call does.
//!
//! Invariant: nothing here waits for a filesystem: a path is looked up in the kernel's own memory alone
//! (`RESOLVE_CACHED`), and only mounts are asked about, of which the kernel knows.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, readlinkat, statx};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::act::Act;
use crate::sys::mounts;

/// The most mounts that are looked at here, in some hundred microseconds: whoever receives calls has others to receive.
const MOST: usize = 128;

/// Whether `act` is one that the kernel does as it should be done, for the thread with this directory in procfs. False where that
/// cannot be told.
pub(super) fn is_the_kernels(process: &OwnedFd, act: &Act) -> bool {
    let nofollow = |is_it: bool| if is_it { OFlags::NOFOLLOW } else { OFlags::empty() };
    match act {
        Act::Umount { target, flags } => {
            let follow = nofollow(flags & libc::UMOUNT_NOFOLLOW != 0);
            find(process, target, follow).is_ok_and(|target| target.has_none_below() == Ok(true))
        }
        Act::Bind { source, .. } => find(process, source, OFlags::empty()).is_ok_and(|it| it.is_clear() == Ok(true)),
        Act::OpenTree { path, flags, .. } if flags & OpenTreeFlags::OPEN_TREE_CLONE.bits() != 0 => {
            let follow = nofollow(flags & OpenTreeFlags::AT_SYMLINK_NOFOLLOW.bits() != 0);
            find(process, path, follow).is_ok_and(|it| it.is_clear() == Ok(true))
        }
        _ => false,
    }
}

/// A place in a caller's mount namespace.
struct Place {
    namespace: u64,
    mount: u64,
    /// With `O_PATH`.
    fd: OwnedFd,
}

/// What a path leads to. One that does not begin at the root is the helper's to follow.
#[expect(
    clippy::disallowed_methods,
    reason = "in the caller's root, and nothing is taken of what is found but what mounts there are"
)]
fn find(process: &OwnedFd, path: &[u8], follow: OFlags) -> Result<Place, Errno> {
    if !path.starts_with(b"/") {
        return Err(Errno::INVAL);
    }
    let open = |name: &str, flags| openat(process, name, flags | OFlags::CLOEXEC, Mode::empty());
    let namespace = errno(mounts::namespace_id(open("ns/mnt", OFlags::RDONLY)?.as_fd()))?;
    let root = open("root", OFlags::PATH)?;
    // Links of procfs's would be ours.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS;
    let fd = {
        let _owner = Owner::of(root.as_fd())?;
        openat2(root, path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty(), resolve)?
    };
    let mount = mounts::unique_id(&fd)?;
    Ok(Place { namespace, mount, fd })
}

impl Place {
    /// Whether nothing lies below the mount that this is on.
    fn has_none_below(&self) -> Result<bool, Errno> {
        errno(mounts::list(self.namespace, self.mount, &mut [0])).map(|found| found == 0)
    }

    /// Whether nothing is mounted below this directory.
    fn is_clear(&self) -> Result<bool, Errno> {
        let ids = errno(mounts::all_below(self.namespace, self.mount, MOST))?;
        if ids.is_empty() {
            return Ok(true);
        }
        // Both names begin at the namespace's root.
        let name = readlinkat(CWD, format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd()), Vec::new())?;
        let mut described = mounts::Described::default();
        for id in ids {
            if errno(mounts::parent(self.namespace, id, &mut described))? != self.mount {
                continue;
            }
            errno(mounts::describe(self.namespace, id, &mut described))?;
            // One without a name lies where the namespace's root does not lead.
            let point = described.mount_point();
            if point.is_empty() || is_at_or_below(point, name.as_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    let rest = path.strip_prefix(top.strip_suffix(b"/").unwrap_or(top));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
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

    /// Whether it is the kernel's to do. None before Linux 6.11, where nothing is known.
    fn is_known(act: &Act) -> Option<bool> {
        let process = File::open("/proc/self").unwrap().into();
        mounts::namespace_id(File::open("/proc/self/ns/mnt").unwrap().as_fd()).ok()?;
        Some(is_the_kernels(&process, act))
    }

    fn umount(target: &str) -> Option<bool> {
        is_known(&Act::Umount { target: target.into(), flags: 0 })
    }

    fn bind(source: &str) -> Option<bool> {
        is_known(&Act::Bind { source: source.into(), target: "/mnt".into(), flags: libc::MS_BIND })
    }

    fn clone(path: &str, flags: u32) -> Option<bool> {
        is_known(&Act::OpenTree { dirfd: libc::AT_FDCWD, path: path.into(), flags })
    }

    #[test]
    fn a_mount_with_others_below_is_not_bare() {
        let Some(root) = umount("/") else { return };
        assert!(!root, "/proc lies on it");
        for elsewhere in ["/proc/self/root", "/no/such/place", "proc"] {
            assert_eq!(umount(elsewhere), Some(false), "{elsewhere}");
        }
    }

    #[test]
    fn a_directory_is_clear_of_mounts_that_lie_beside_it() {
        let Some(root) = bind("/") else { return };
        assert!(!root, "/proc lies on it");
        let path = env!("CARGO_MANIFEST_DIR");
        // The kernel remembers what has been looked up.
        std::fs::metadata(path).unwrap();
        assert_eq!((bind(path), bind(&path[1..])), (Some(true), Some(false)));
        let flags = OpenTreeFlags::OPEN_TREE_CLONE.bits();
        assert_eq!((clone(path, flags), clone(path, 0)), (Some(true), Some(false)));
        assert_eq!(bind("/no/such/place"), Some(false));
    }

    #[test]
    fn what_lies_at_a_place_or_below_it() {
        for (path, top, is_it) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/a", "/", true),
            ("/", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(is_at_or_below(path.as_bytes(), top.as_bytes()), is_it, "{path} {top}");
        }
    }
}
