//! What a stage does to the process that becomes the user's program.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char};
use std::io;

/// `CLOSE_RANGE_CLOEXEC` of linux/close_range.h, since Linux 5.11.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// `KEYCTL_SETPERM` of linux/keyctl.h.
const SET_PERMISSIONS: libc::c_int = 5;

/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// The kernel's `struct sigaction` (handler, flags, restorer, mask; not the C library's) with everything zero:
/// `SIG_DFL`, no flags, an empty mask.
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// Bytes of the kernel's `sigset_t`.
const SIGNAL_SET_SIZE: usize = 8;

/// The highest signal number, `SIGRTMAX` of the kernel.
const LAST_SIGNAL: libc::c_int = 64;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sets every signal's disposition to its default, the C library's own two (32 and 33) and the real-time ones included.
/// `SIGKILL` and `SIGSTOP` have no other.
pub(crate) fn default_dispositions() -> io::Result<()> {
    for signal in (1..=LAST_SIGNAL).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the kernel reads one of its own sigaction structs, which is what DEFAULT_ACTION is, and writes nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT_ACTION.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SIGNAL_SET_SIZE,
            )
        };
        check(result)?;
    }
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2)).
pub(crate) fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: three integers; descriptors are marked, none is closed, so none that Rust owns becomes invalid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    check(result).map(drop)
}

/// Joins the session keyring `name`, making it when there is none (keyctl_join_session_keyring(3)); its serial number.
pub(crate) fn join_session_keyring(name: &CStr) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads a NUL-terminated string that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(result)
}

/// Sets a key's permissions (keyctl_setperm(3)).
pub(crate) fn set_key_permissions(key: libc::c_long, permissions: u32) -> io::Result<()> {
    // SAFETY: three integers.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, key, permissions) };
    check(result).map(drop)
}

/// Sets the scheduling policy and attributes of `pid`, 0 for the caller (sched_setattr(2)).
pub(crate) fn set_scheduler(pid: i32, wanted: &policy::plan::Scheduler) -> io::Result<()> {
    // SAFETY: sched_attr is plain integers, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    attributes.sched_policy = wanted.policy;
    attributes.sched_flags = wanted.flags;
    attributes.sched_nice = wanted.nice;
    attributes.sched_priority = wanted.priority;
    attributes.sched_runtime = wanted.runtime;
    attributes.sched_deadline = wanted.deadline;
    attributes.sched_period = wanted.period;
    // SAFETY: the kernel reads `size` bytes of a struct that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0) };
    check(result).map(drop)
}

/// Sets the I/O class (1-3) and level (0-7) of `pid`, 0 for the caller (ioprio_set(2)).
pub(crate) fn set_io_priority(pid: i32, class: u8, level: u8) -> io::Result<()> {
    let value = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: three integers.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) };
    check(result).map(drop)
}

/// Reads a resource limit of `pid`, 0 for the caller, and replaces it when a new one is given: soft and hard, all ones
/// for none (prlimit(2)).
pub(crate) fn limit(pid: i32, resource: u32, new: Option<(u64, u64)>) -> io::Result<(u64, u64)> {
    let new = new.map(|(soft, hard)| libc::rlimit64 { rlim_cur: soft, rlim_max: hard });
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads `new` unless it is null and writes `old`; both live through the call, and rlimit64 is the
    // layout that this call takes on every architecture.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, &raw mut old) };
    check(result)?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// A call of execve(2), laid out beforehand: making it allocates nothing, so that it needs no other system call.
#[derive(Debug)]
pub(crate) struct Execution {
    path: CString,
    argv: Strings,
    envp: Strings,
}

/// Strings, and the null-terminated array of pointers to them.
#[derive(Debug)]
struct Strings {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: Vec<CString>) -> Self {
        // A CString's bytes lie on the heap: they stay where they are when it is moved, and `_strings` never changes.
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }
}

impl Execution {
    pub(crate) fn new(path: CString, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self { path, argv: Strings::new(argv), envp: Strings::new(envp) }
    }

    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Replaces the caller's program; returns only when that fails.
    pub(crate) fn execute(&self) -> io::Result<Infallible> {
        // SAFETY: a string that ends with NUL and two arrays that end with a null pointer, of pointers to such strings;
        // `self` keeps all of them alive and unchanged.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.pointers.as_ptr(), self.envp.pointers.as_ptr()) };
        Err(io::Error::last_os_error())
    }
}

/// Has a child do something between fork(2) and execve(2). The caller must have one thread only, or `act` must do with
/// system calls: the child is a copy of it in which no other thread runs.
pub(crate) fn before_exec(
    command: &mut std::process::Command,
    act: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: what may go wrong is a lock that another thread holds; in a process with one thread nobody does. (The C
    // library's allocator is usable after fork(2) even so.)
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, act) };
}

/// Leaves the session keyring for a new one without a name (keyctl_join_session_keyring(3)). A kernel without keyrings
/// has none to leave.
pub(crate) fn leave_session_keyring() -> io::Result<()> {
    // SAFETY: a null pointer stands for "without a name".
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) };
    match check(result) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        result => result.map(drop),
    }
}
