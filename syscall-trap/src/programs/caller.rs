//! Who asks: a thread in its system call, by its directory in the host's procfs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, readlinkat};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::Result;
use crate::act::caller::{Status, open, read, same};
use crate::notify::memory::Writable;

/// A thread that waits for its answer.
pub(super) struct Caller<'a> {
    pub(super) process: BorrowedFd<'a>,
    /// Whether it does.
    pub(super) still: &'a dyn Fn() -> bool,
}

/// What a descriptor of a program leads to.
const PROGRAM: &[u8] = b"anon_inode:bpf-prog";

impl Caller<'_> {
    /// Whether it has what the kernel asks of whom it lets load a device program (bpf_prog_load() of kernel/bpf/syscall.c), in the
    /// container's own user namespace. Root of another one inside is no more to the kernel than any user; an engine of the
    /// container's counts on its programs staying what it made them.
    pub(super) fn may(&self, user: BorrowedFd<'_>) -> Result<bool> {
        let status = Status::of(self.process)?;
        let own = open(self.process, "ns/user", OFlags::RDONLY)?;
        let is_own = same(own.as_fd(), user)?;
        self.waits()?;
        let has = |wanted: CapabilitySet| CapabilitySet::from_bits_retain(status.effective).contains(wanted);
        Ok(is_own && (has(CapabilitySet::SYS_ADMIN) || has(CapabilitySet::BPF | CapabilitySet::NET_ADMIN)))
    }

    /// Whether all that has been read of it was its own.
    pub(super) fn waits(&self) -> Result<()> {
        if (self.still)() { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// What one of its descriptors leads to. (`O_PATH`: no filesystem is asked.)
    pub(super) fn directory(&self, number: u32) -> Result<OwnedFd> {
        open(self.process, &format!("fd/{number}"), OFlags::PATH).map_err(|_none| Errno::BADF)
    }

    /// The id of the program that one of its descriptors is.
    pub(super) fn program(&self, number: u32) -> Result<u32> {
        let link = readlinkat(self.process, format!("fd/{number}"), Vec::new()).map_err(|_none| Errno::BADF)?;
        if link.as_bytes() != PROGRAM {
            return Err(Errno::INVAL);
        }
        let info = read(self.process, &format!("fdinfo/{number}")).map_err(|_none| Errno::BADF)?;
        let info = String::from_utf8_lossy(&info);
        let id = info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
        id.ok_or(Errno::INVAL)
    }

    /// Its memory, to be written to.
    pub(super) fn memory(&self) -> Result<Writable> {
        let memory = Writable::of(self.process).map_err(|_| Errno::FAULT)?;
        self.waits()?;
        Ok(memory)
    }
}
