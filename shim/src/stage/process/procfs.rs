//! Files of our own, detached procfs.
//!
//! The container's `/proc` may be anything (an image can mount over it or replace it: CVE-2019-16884, CVE-2025-52881),
//! so what must reach the kernel is written through a procfs that only we can name, and never leaves that mount.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;

/// Opens `path`, relative to the root of a procfs, for writing.
///
/// # Errors
/// openat2(2)'s, and `EINVAL` when `procfs` is none.
#[expect(clippy::disallowed_methods, reason = "below a descriptor of our own procfs")]
pub(super) fn open(procfs: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    check(procfs)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens the file of an `O_PATH` descriptor for reading: the one magic link that is followed on purpose.
///
/// # Errors
/// As [`open`].
pub(super) fn reopen(procfs: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    check(procfs)?;
    let link = format!("thread-self/fd/{}", file.as_raw_fd());
    openat(procfs, link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn check(procfs: BorrowedFd<'_>) -> Result<(), Errno> {
    if fstatfs(procfs)?.f_type == PROC_SUPER_MAGIC { Ok(()) } else { Err(Errno::INVAL) }
}

/// Writes `value` in one write(2), as files of procfs want it.
pub(super) fn write(file: &OwnedFd, value: &[u8]) -> Result<(), Errno> {
    rustix::io::write(file, value).and_then(|count| if count == value.len() { Ok(()) } else { Err(Errno::IO) })
}
