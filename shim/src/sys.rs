//! The one module of this crate with `unsafe`: system calls that neither rustix nor nix offers.
//!
//! Each function is small, depends on no other, and is safe to call: it takes references and values whose validity the
//! compiler checks, and returns the kernel's answer as an [`std::io::Error`].

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) mod clone;
pub(crate) mod memory;
pub(crate) mod namespace;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod signal;

/// unshare(2) for a process with one thread: namespaces are a thread's.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: the danger is a thread whose file descriptors are no longer those of the others (CLONE_FILES), which no
    // caller passes; namespaces touch no memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Has the runtime tell when a descriptor is ready. For readers only: nothing here is ever written without a look first.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the descriptor, which therefore stays open and the same while it is registered.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
