//! clone3(2), as a stage uses it: a fork with namespaces, a pidfd and a cgroup.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Where clone3(2) returned.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// In the caller.
    Parent {
        /// The child's pid in the caller's pid namespace.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
    /// In the child.
    Child,
}

/// The child becomes a sibling: its parent is the caller's (clone(2) `CLONE_PARENT`).
pub(crate) const SIBLING: u64 = libc::CLONE_PARENT as u64;

/// `CLONE_INTO_CGROUP` of linux/sched.h, which libc types as a negative int on some targets.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks with `flags` (namespaces and [`SIBLING`]), into the cgroup v2 directory when one is given. The caller must have
/// one thread only: the child is a copy of it.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args is plain integers; zero is its documented default (clone(2)).
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the exit signal is the caller's own, and naming one is EINVAL.
    args.exit_signal = if flags & SIBLING != 0 { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no stack and no CLONE_VM, so this is a fork: the child goes on with a copy of everything. `args` and
    // `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        // SAFETY: on success the kernel has stored a descriptor that is ours alone.
        pid => Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}
