//! What a process needs that acts on behalf of another: to be cloned and to hand something over ([`userns::child`]), and
//! namespaces.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::UnshareFlags;
pub(crate) use userns::child::{Forked, exit, fork, handed_over, receive_beside, send_beside};

/// `NS_GET_USERNS` of linux/nsfs.h: `_IO(0xb7, 1)`.
const GET_USERNS: u64 = 0xb701;

/// unshare(2) for a process with one thread: namespaces are a thread's.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the danger is a thread whose file descriptors are no longer those of the others (CLONE_FILES), which no
    // caller passes; namespaces touch no memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// The user namespace that owns a namespace (ioctl_ns(2)).
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and this request takes no argument.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), GET_USERNS as libc::Ioctl) }.into())?;
    // SAFETY: on success the kernel has returned a new descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) })
}

fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer == -1 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(answer)
}
