//! The system calls of this crate that neither rustix nor nix offers: seccomp(2) with its ioctls, reading the memory of
//! another process, and what acts on behalf need ([`process`]).
//!
//! Invariant: nothing here sets `no_new_privs`. A caller without it needs CAP_SYS_ADMIN in its user namespace, and
//! whether the process may gain privileges by execve is the profile's neighbour in the spec, not the profile's business.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::filter::Program;

pub mod bpf;
pub(crate) mod cgroup;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod notify;
pub(crate) mod process;

/// Installs `program` on the calling thread, with `flags` (bits of seccomp(2), as a rule [`Program::flags`]).
///
/// # Errors
/// Those of seccomp(2): EACCES without `no_new_privs` and without CAP_SYS_ADMIN, EINVAL for a program or flags that the
/// kernel refuses. A flag that makes the call return a descriptor is EINVAL here. When TSYNC finds a thread that cannot
/// follow, the error names its id.
pub fn install(program: &Program, flags: u64) -> io::Result<()> {
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    match seccomp(program, flags)? {
        0 => Ok(()),
        tid => Err(io::Error::other(format!("thread {tid} has filters of its own and cannot follow"))),
    }
}

/// Installs a `program` that traps on the calling thread, and returns its listener, which is close-on-exec. A kernel before
/// Linux 5.19 knows no `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` and goes without: there a signal interrupts a trapped call.
///
/// # Errors
/// Those of seccomp(2): EBUSY where a filter above has a listener, and as [`install`].
pub fn listen(program: &Program) -> io::Result<OwnedFd> {
    let flags = program.flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match seccomp(program, flags) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            seccomp(program, flags & !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        }
        result => result,
    }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: with this flag a success is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What seccomp(2) returns that is no error.
fn seccomp(program: &Program, flags: u64) -> io::Result<libc::c_long> {
    let mut code: Vec<libc::sock_filter> =
        program.instructions.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    let len = u16::try_from(code.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let prog = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    // SAFETY: `prog` points to `len` instructions that live until the call returns; the kernel copies and checks them,
    // and writes nothing to our memory.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const prog) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}
