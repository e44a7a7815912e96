//! pidfd_send_signal(2) with any signal, real-time ones too (systemd is stopped by SIGRTMIN+3), which rustix's `Signal`
//! cannot name.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Sends signal `number`; 0 only asks whether the process is there.
///
/// # Errors
/// `ESRCH` when it is gone, `EINVAL` when there is no such signal.
pub(crate) fn send(pidfd: BorrowedFd<'_>, number: u32) -> io::Result<()> {
    let number = i32::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for as long as it is borrowed; a null info is allowed (pidfd_send_signal(2)).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, info, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor of the process that has `pid` now.
///
/// # Errors
/// `ESRCH` when there is none.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}
