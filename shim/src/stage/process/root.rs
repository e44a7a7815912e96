//! Paths below the container's root, for the few files that a starting process touches.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

/// How often openat2(2) is asked again when a rename got in the way of a `..` (`EAGAIN`).
const ATTEMPTS: usize = 64;

/// The root directory of the calling process, which must be in the container's tree.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, "/", flags, Mode::empty()).map(Self)
    }

    /// Opens a path as the container's processes would, but through no magic link: `/proc/PID/fd/N` and its like lead
    /// where no path leads (CVE-2024-21626).
    pub(super) fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 1..ATTEMPTS {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => continue,
                answer => return answer,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Makes the directories of a path that are missing, mode 0755 less the umask; the last one.
    pub(super) fn make_directories<'a>(&self, parts: impl Iterator<Item = &'a str>) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut path = String::from("/");
        let mut directory = self.open_at(&path, flags)?;
        for part in parts {
            path.push_str(part);
            directory = match self.open_at(&path, flags) {
                Err(Errno::NOENT) => match mkdirat(directory.as_fd(), part, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => self.open_at(&path, flags)?,
                    Err(errno) => return Err(errno),
                },
                answer => answer?,
            };
            path.push('/');
        }
        Ok(directory)
    }
}
