//! Installs the compiled seccomp programs: the last thing before execve(2).
//!
//! The base filter and the trap filter come before the spec's profile, which need not allow seccomp(2), nor what it takes to
//! hand the listener over.

use std::io;
use std::os::fd::AsFd;

use super::channel::Channel;
use super::message::{Program, Report, TrapsServed};

/// Installs `programs`, in their order. Of what they answer for a call the kernel takes the strictest (seccomp(2)).
///
/// The shim at the other end of `control` serves what is trapped before the next program is installed.
pub(super) fn install(programs: &[Program], control: &Channel) -> io::Result<()> {
    for program in programs {
        let filter = program.into();
        match program.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER {
            0 => syscall_trap::sys::install(&filter, program.flags)?,
            _ => trap(&filter, control)?,
        }
    }
    Ok(())
}

/// Refuses what is let through only where it is trapped.
fn unserved() -> io::Result<()> {
    let filter = syscall_trap::filter::base::unserved().map_err(io::Error::other)?;
    syscall_trap::sys::install(&filter, filter.flags)
}

/// Installs the trap filter, and waits until the shim has its listener, of which nothing is left here.
fn trap(filter: &syscall_trap::filter::Program, control: &Channel) -> io::Result<()> {
    match syscall_trap::sys::listen(filter) {
        Ok(listener) => control.send(&Report::Listener, &[listener.as_fd()])?,
        // Of a process tree one listener is all there is (EBUSY): an eci inside an eci goes without.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOSYS | libc::EINVAL)) => {
            unserved()?;
            return control.send(&Report::Note(format!("runs without traps: {error}")), &[]);
        }
        Err(error) => return Err(error),
    }
    match control.receive::<TrapsServed>()? {
        Some(_) => Ok(()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shim does not serve its traps")),
    }
}
