//! ioctl_ns(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_USERNS` of linux/nsfs.h: `_IO(0xb7, 1)`.
const GET_USERNS: u64 = 0xb701;

/// The user namespace that owns a namespace.
///
/// # Errors
/// `EPERM` when it is not the caller's own nor below it, `ENOTTY` when the descriptor is no namespace.
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and this request takes no argument.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), GET_USERNS as libc::Ioctl) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success the kernel has returned a new descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
