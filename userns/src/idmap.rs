//! User namespaces that only carry an id map for a mount (`idmap` and `ridmap` with mappings of their own).
//!
//! mount_setattr(2) takes an id map as the descriptor of a user namespace. The container's own namespace serves for its
//! own map; for any other, a namespace is made here by a child that lives until the maps are written. The descriptor
//! keeps the namespace alive, no process does.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use policy::idmap::IdMap;
use policy::plan::IdMapping;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions};

use crate::{Error, Result, sys};

/// Makes a user namespace with these maps and returns its descriptor.
///
/// `proc` is the root of a procfs of the caller's own pid namespace. It is meant for the single-threaded stage: the child
/// is forked without an exec, and holds copies of all descriptors until it is reaped, before this returns.
///
/// # Errors
/// What the kernel says to the clone or to the maps (user_namespaces(7): at most 340 lines, no overlaps).
pub fn user_namespace(proc: impl AsFd, uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let proc = proc.as_fd();
    let child = sys::clone_into_user_namespace()
        .map_err(|errno| Error::failed("make", "a user namespace for a mount", errno))?;
    let made = write_maps(proc, child.pid, uid, gid);
    // Killed, since another thread's child may hold a copy of the pipe too. The pid is ours until it is reaped; errors
    // mean that the caller ignores SIGCHLD and the child is gone.
    let _ = rustix::process::kill_process(child.pid, rustix::process::Signal::KILL);
    drop(child.hold);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child.pid), WaitOptions::empty()));
    made
}

/// The namespace of a container's own map, for tests and for a caller that has no process in it yet.
///
/// # Errors
/// As [`user_namespace`].
pub fn user_namespace_of(proc: impl AsFd, map: IdMap) -> Result<OwnedFd> {
    let line = [IdMapping { container_id: 0, host_id: map.host, size: map.size }];
    user_namespace(proc, &line, &line)
}

fn write_maps(proc: impl AsFd, pid: Pid, uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let proc = proc.as_fd();
    let pid = pid.as_raw_nonzero();
    let open = |name: &str, flags| {
        rustix::fs::openat(proc, format!("{pid}/{name}"), flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::failed("open", format!("/proc/{pid}/{name}"), errno))
    };
    for (name, lines) in [("uid_map", uid), ("gid_map", gid)] {
        let text = lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", line.container_id, line.host_id, line.size);
            text
        });
        let file = open(name, OFlags::WRONLY)?;
        rustix::io::write(&file, text.as_bytes())
            .map_err(|errno| Error::failed("write the id map", text.trim_end(), errno))?;
    }
    open("ns/user", OFlags::RDONLY)
}
