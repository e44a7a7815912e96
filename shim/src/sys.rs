//! The one module of this crate with `unsafe`: system calls that neither rustix nor nix offers.
//!
//! Each function is small, depends on no other, and is safe to call: it takes references and values whose validity the
//! compiler checks, and returns the kernel's answer as an [`std::io::Error`].

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

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

/// As [`watch`], for who may be ready to read or to write.
pub(crate) fn watch_aside(fd: Arc<Aside>, interest: Interest) -> io::Result<AsyncFd<Arc<Aside>>> {
    // SAFETY: as there; nothing but its drop, which the AsyncFd's comes before, takes the descriptor away.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// A descriptor whose close(2) may wait: it is left to a thread of the runtime's pool.
#[derive(Debug)]
pub(crate) struct Aside(ManuallyDrop<OwnedFd>);

impl Aside {
    /// Takes it over.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Aside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Aside {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // SAFETY: it is taken once, and nobody can use it after its drop.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(fd));
        }
    }
}
