//! From a single-threaded stage to the user's program: everything that one process needs of its own.
//!
//! [`host::apply`] is for the host's root, before or beside the process. The process itself, inside all of its
//! namespaces and with every capability in the container's user namespace, calls [`prepare`], waits for Start, and
//! calls [`Prepared::become_and_exec`].
//!
//! # The order, and its reasons
//! [`prepare`], while the container is created, so that whatever is wrong shows then:
//! 1. ids are checked against the map, before anything is done with them;
//! 2. the container's root: what is made from here on (the keyring, a missing working directory) is the container's;
//! 3. security modules, while every write to procfs is still permitted; the keyring, which takes its SELinux label;
//! 4. session, terminal, signals, personality, CPUs: they need nothing and nothing needs them;
//! 5. the working directory as root, which may search what the user may not;
//! 6. the bounding set (needs `CAP_SETPCAP`), groups, gid, uid, with permitted capabilities kept, then the program's
//!    effective and inheritable sets: from here on the kernel judges as it will judge the program;
//! 7. the working directory once more if root could not enter it, `HOME`, and the program, looked up as its user.
//!
//! [`Prepared::become_and_exec`], after Start:
//! 8. every descriptor above 2 becomes close-on-exec;
//! 9. ambient capabilities, then with `noNewPrivileges`: that bit, the final sets, the seccomp filter; without it the
//!    filter while `CAP_SYS_ADMIN` is effective, which installing it takes;
//! 10. execve(2), **the only system call after the filter**: a profile needs to allow nothing that the program does not
//!     need itself (one that forbids sendmsg(2) hides why an execve failed).
//!
//! Invariant: the user's program starts with what the spec says and nothing of the shim's: no descriptor, capability,
//! key, signal disposition, secure bit. A step that fails ends the process; what is merely weaker than asked, where the
//! spec means it as an effort, is a note for the log.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use nix::sys::personality::{self, Persona};
use policy::idmap::IdMap;
use policy::plan::{Capabilities, Process};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::umask;
use userns::tree::Tree;

use self::environment::Environment;
pub(crate) use self::error::StageError;
pub(crate) use self::signals::reset as reset_signals;
pub(crate) use self::user::{become_owner, become_root};
use crate::sys;
use crate::sys::process::Execution;

pub(crate) mod affinity;
mod capabilities;
mod cwd;
mod environment;
mod error;
pub(crate) mod host;
#[cfg(test)]
mod kernel_tests;
mod keyring;
mod limits;
mod lsm;
mod oom;
mod procfs;
mod program;
mod signals;
mod terminal;
mod user;

/// The umask of a program whose spec gives none: runc's.
const DEFAULT_UMASK: u32 = 0o022;

/// What [`prepare`] needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The process.
    pub(crate) process: &'a Process,
    /// The container's ids.
    pub(crate) id_map: IdMap,
    /// The container's id; names the session keyring.
    pub(crate) id: &'a str,
    /// Whether the stage's session keyring is left as it is.
    pub(crate) no_new_keyring: bool,
    /// Whether a missing working directory is made: for a container's first process.
    pub(crate) create_cwd: bool,
    /// The root of a procfs of the container's pid namespace, detached and our own.
    pub(crate) procfs: BorrowedFd<'a>,
}

/// A process that lacks only its final privileges, its filter and its program.
#[derive(Debug)]
pub(crate) struct Prepared {
    program: Execution,
    capabilities: Capabilities,
    permitted: u64,
    no_new_privileges: bool,
    notes: Vec<String>,
}

/// Makes the calling process, whose descriptors 0 to 2 are the program's already, into the program's user. See the
/// module's documentation for the order.
///
/// # Errors
/// The step that failed. The process has then lost part of its privileges and can only report and exit.
pub(crate) fn prepare(setup: &Setup<'_>) -> Result<Prepared, StageError> {
    let process = setup.process;
    let mut notes = Vec::new();
    user::check(process, setup.id_map)?;
    let mut environment = Environment::parse(&process.env)?;
    let held = capabilities::held()?;
    let (sets, smaller) = capabilities::attainable(process.capabilities, held);
    notes.extend(smaller);

    user::become_root()?;
    umask(Mode::from_raw_mode(DEFAULT_UMASK));
    notes.extend(confine(setup, sets.bounding)?);
    settle(process)?;

    let tree = own_tree().map_err(|errno| StageError::step("opening", "the container's root", errno))?;
    let entered = cwd::enter_as_root(&tree, &process.cwd, setup.create_cwd)?;
    capabilities::limit_bounding(sets.bounding, held)?;
    user::become_user(process)?;
    capabilities::set(sets.effective, held.permitted, sets.inheritable)?;
    cwd::enter_as_user(&tree, &process.cwd, entered)?;
    environment.default_home(&tree, setup.procfs, process.uid);
    umask(Mode::from_raw_mode(process.umask.unwrap_or(DEFAULT_UMASK)));

    let name = process.args.first().ok_or_else(|| StageError::step("reading", "process.args", "is empty"))?;
    let program = program::find(name, environment.get("PATH"))?;
    let program = argument(program.as_os_str().as_bytes())?;
    let args = process.args.iter().map(|arg| argument(arg.as_bytes())).collect::<Result<_, _>>()?;
    Ok(Prepared {
        program: Execution::new(program, args, environment.into_strings()?),
        capabilities: sets,
        permitted: held.permitted,
        no_new_privileges: process.no_new_privileges,
        notes,
    })
}

/// Security modules and the session keyring.
fn confine(setup: &Setup<'_>, bounding: u64) -> Result<Vec<String>, StageError> {
    let mut notes = Vec::new();
    let label = setup.process.selinux_label.as_deref();
    if let Some(profile) = &setup.process.apparmor {
        notes.extend(lsm::apparmor(setup.procfs, profile, bounding)?);
    }
    if let Some(label) = label {
        lsm::selinux(setup.procfs, label)?;
    }
    if !setup.no_new_keyring {
        notes.extend(keyring::join(setup.id, setup.procfs, label)?);
    }
    Ok(notes)
}

/// What a process inherits and no one else depends on.
fn settle(process: &Process) -> Result<(), StageError> {
    terminal::start_session(process.terminal)?;
    signals::reset()?;
    if let Some(persona) = process.personality {
        let failed = |cause| StageError::step("setting", "linux.personality", cause);
        let bits = i32::try_from(persona).map_err(|_| failed(Errno::INVAL))?;
        personality::set(Persona::from_bits_retain(bits))
            .map_err(|errno| failed(Errno::from_raw_os_error(errno as i32)))?;
    }
    if let Some(list) = &process.cpu_affinity_final {
        affinity::set(None, "process.execCPUAffinity.final", list)?;
    }
    Ok(())
}

/// The tree that the process stands in.
fn own_tree() -> Result<Tree, Errno> {
    openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Tree::new)
}

fn argument(bytes: &[u8]) -> Result<CString, StageError> {
    CString::new(bytes).map_err(|_| StageError::step("reading", "process.args", "has a NUL byte"))
}

impl Prepared {
    /// What is weaker than the spec asks, a line each, for the log.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Gives up what the program may not have, lets `filter` install the seccomp filters, and executes the program.
    /// Between `filter` and execve(2) no system call is made.
    ///
    /// # Errors
    /// The step that failed, above all an execve(2). Never returns otherwise.
    pub(crate) fn become_and_exec(self, filter: impl FnOnce() -> io::Result<()>) -> Result<Infallible, StageError> {
        let sets = self.capabilities;
        let filter = || filter().map_err(|error| StageError::step("installing", "the seccomp filter", error));
        sys::process::close_on_exec_from(3)
            .map_err(|error| StageError::step("marking close-on-exec", "descriptors above 2", error))?;
        capabilities::set_ambient(sets.ambient)?;
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true)
                .map_err(|errno| StageError::step("setting", "process.noNewPrivileges", errno))?;
            capabilities::set(sets.effective, sets.permitted, sets.inheritable)?;
            filter()?;
        } else {
            // Permitted and effective do not outlive execve(2): it computes them anew from inheritable, ambient,
            // bounding and the file, and looks at the old ones only under noNewPrivileges or a tracer. So they need not
            // be lowered after the filter, which would have to allow capset(2).
            let admin = capabilities::SYS_ADMIN & self.permitted;
            capabilities::set(sets.effective | admin, sets.permitted | admin, sets.inheritable)?;
            filter()?;
        }
        program::execute(&self.program)
    }
}
