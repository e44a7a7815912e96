//! What acts leave in the helper's mount namespace is taken away by a process of its own: umount(2) waits for an RCU grace period
//! (`namespace_unlock()` of fs/namespace.c), milliseconds on a busy machine, in which the next act would wait, too.
//!
//! Main type: [`Tidier`].

use std::os::fd::OwnedFd;

use rustix::io::{read, retry_on_intr, write};
use rustix::mount::UnmountFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::Result;
use super::world::{DEVICES, SHARED, STAGING};
use crate::sys::process::{self as sys, Forked};

/// The process, which ends with the helper.
#[derive(Debug)]
pub(super) struct Tidier {
    /// Numbers of acts.
    tell: OwnedFd,
}

impl Tidier {
    /// Starts it, in A.
    pub(super) fn new() -> Result<Self> {
        // It never makes the helper wait.
        let (hear, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        match sys::fork()? {
            Forked::Parent(_) => Ok(Self { tell }),
            Forked::Child => {
                drop(tell);
                let _ends_with_us = set_parent_process_death_signal(Some(Signal::KILL));
                let _blocks = rustix::fs::fcntl_setfl(&hear, rustix::fs::OFlags::empty());
                let mut number = [0; size_of::<u64>()];
                while let Ok(8) = retry_on_intr(|| read(&hear, &mut number)) {
                    tidy(u64::from_ne_bytes(number));
                }
                sys::exit(0)
            }
        }
    }

    /// Has it take away what act `number` has left.
    pub(super) fn tidy(&self, number: u64) {
        // Where it is gone, or far behind, the helper does it.
        if write(&self.tell, &number.to_ne_bytes()).is_err() {
            tidy(number);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "our own tmpfs")]
fn tidy(number: u64) {
    for directory in [SHARED, STAGING] {
        let path = format!("{directory}/{number}");
        // Most acts leave nothing.
        let _none = rustix::mount::unmount(&path, UnmountFlags::DETACH);
        let _none = rustix::fs::rmdir(&path);
    }
    // A device is kept by the mount that was made of it. (What is unlinked cannot be mounted any more.)
    let _none = rustix::fs::unlink(format!("{DEVICES}/{number}"));
}
