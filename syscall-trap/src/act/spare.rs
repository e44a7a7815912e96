//! The process of the next act, forked before it is needed: a fork and the page faults of its child take a third of a
//! millisecond, which nobody waits for when nothing else is to be done.
//!
//! Main type: [`Spare`].

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal, setpgid};

use super::cover::Kernel;
use super::lock::Mounts;
use super::option::Atime;
use super::running::answer;
use super::visible::visible;
use super::{Act, Caller, Outcome, Result, World};
use crate::sys::process::{self as sys, Forked};

/// A process that waits for its one act. It leads a group of all that it clones.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) pid: Pid,
    pub(super) process: OwnedFd,
    /// On which it is told its act; it ends where nobody can tell it any more.
    order: OwnedFd,
}

/// Longer than any order: a path and a page of options, each byte a number in JSON.
const MAX_ORDER: usize = 64 << 10;

impl Spare {
    pub(super) fn new(world: &World) -> Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match sys::fork()? {
            Forked::Parent(pid) => Ok(Self { pid, process: pidfd_open(pid, PidfdFlags::empty())?, order: ours }),
            Forked::Child => {
                drop(ours);
                let _its_own = setpgid(None, None);
                // As far as it can be had: a change of ids clears it.
                let _ends_with_us = set_parent_process_death_signal(Some(Signal::KILL));
                world.rehearse();
                world.obey(&theirs);
                sys::exit(0)
            }
        }
    }

    /// Has it do an act: its number, the view that its caller is to have, and what is to be done. `fds` are the caller's
    /// directory in procfs, and the socket on which it is answered.
    pub(super) fn tell(&self, order: (u64, Option<u64>, &Act), fds: [&OwnedFd; 2]) -> Result<()> {
        let order = serde_json::to_vec(&order).map_err(|_| Errno::INVAL)?;
        if order.len() > MAX_ORDER {
            return Err(Errno::NAMETOOLONG);
        }
        sys::send_beside(self.order.as_fd(), &order, &fds.map(AsFd::as_fd))
    }
}

impl World {
    /// Runs through what most acts begin with, for the pages of memory alone: what is read is that of this process.
    fn rehearse(&self) {
        let Ok(own) = super::caller::open(self.proc.as_fd(), "thread-self", rustix::fs::OFlags::PATH) else { return };
        let Ok(nobody) = rustix::io::fcntl_dupfd_cloexec(&own, 3) else { return };
        let _caller = Caller::new(own, None, nobody);
        if let Some(mounts) = Mounts::below(&self.null) {
            std::hint::black_box(visible(self, &mounts, Kernel::Proc, Atime::asked(0)));
        }
        // The mounts of a container, as they are read: the heap keeps what it has once had.
        std::hint::black_box(vec![1_u8; 64 << 10]);
    }

    /// Waits for the order, and does it.
    fn obey(&self, order: &OwnedFd) {
        let mut bytes = vec![0; MAX_ORDER];
        let Ok((length, fds)) = sys::receive_beside(order.as_fd(), &mut bytes) else { return };
        let Ok([caller, reply]) = <[OwnedFd; 2]>::try_from(fds) else { return };
        let order = serde_json::from_slice::<(u64, Option<u64>, Act)>(bytes.get(..length).unwrap_or_default());
        let Ok((number, view, act)) = order else {
            return answer(&reply, Outcome::Errno(libc::EINVAL));
        };
        let supervisor = rustix::io::fcntl_dupfd_cloexec(&reply, 3);
        let outcome = match supervisor.and_then(|supervisor| Caller::new(caller, view, supervisor)) {
            Ok(caller) => act.perform(self, number, &caller),
            Err(_gone) => Outcome::Continue,
        };
        answer(&reply, outcome);
    }
}
