//! Files of our own, detached procfs.
//!
//! The container's `/proc` may be anything (an image can mount over it or replace it: CVE-2019-16884, CVE-2025-52881),
//! so what must reach the kernel is written through a procfs that only we can name, and never leaves that mount.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;

/// Opens `path`, relative to the root of a procfs, for writing.
///
/// # Errors
/// openat2(2)'s, and `EINVAL` when `procfs` is none.
pub(super) fn open(procfs: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    if fstatfs(procfs)?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::INVAL);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Writes `value` in one write(2), as files of procfs want it.
pub(super) fn write(file: &OwnedFd, value: &[u8]) -> Result<(), Errno> {
    rustix::io::write(file, value).and_then(|count| if count == value.len() { Ok(()) } else { Err(Errno::IO) })
}
