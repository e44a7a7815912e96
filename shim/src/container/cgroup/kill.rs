//! The end of every process of a container.
//!
//! cgroup v2 has a file for it (`cgroup.kill`, Linux 5.14). v1 has none: the tree is frozen so that no fork outruns the
//! list, each process is sent SIGKILL through a pidfd, and the tree is thawed, because a frozen process of v1 does not
//! even die. An inner engine may have frozen groups of its own, so every group of the tree is thawed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::error::{Error, step};
use super::{Group, tree};
use crate::sys::signal;

/// How many descriptors of processes are held at once: a container has more processes than we may have descriptors.
const AT_ONCE: usize = 64;

/// Kills until no group has a process any more, or `deadline`.
pub(super) fn kill_all(groups: &[Group], deadline: Instant) -> Result<(), Error> {
    let freezer = freezer(groups);
    let unified = groups.iter().find(|group| group.hierarchy.is_v2()).map(|group| group.dir.as_path());
    if let Some(group) = unified.and_then(|dir| tree::open(dir).ok()) {
        // Where the file is missing, or a process is not in the unified group (its stage died half way), the list helps.
        let _ = tree::write(group.as_fd(), "cgroup.kill", "1");
        thaw(freezer);
    }
    // The rest of a process's exit is short, so the first look is for those that cgroup.kill does not reach.
    for round in 0.. {
        let Some((dir, pids)) = first_alive(groups)? else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(Error::StillAlive { path: dir.into(), count: pids.len() });
        }
        if round > 0 || unified.is_none() {
            freeze(freezer);
        }
        let killed = kill(dir);
        thaw(freezer);
        wait_for_exit(&killed, Duration::from_millis(100));
        if killed.is_empty() {
            tree::wait(dir, 5);
        }
    }
    Ok(())
}

/// The group of v1's freezer.
pub(super) fn freezer(groups: &[Group]) -> Option<&Path> {
    groups.iter().find(|group| group.hierarchy.has_v1("freezer")).map(|group| group.dir.as_path())
}

/// The first group with processes.
fn first_alive(groups: &[Group]) -> Result<Option<(&Path, Vec<u32>)>, Error> {
    for group in groups {
        let pids = tree::processes(&group.dir).map_err(step("list the processes of", &group.dir))?;
        if !pids.is_empty() {
            return Ok(Some((&group.dir, pids)));
        }
    }
    Ok(None)
}

/// Sends SIGKILL to what is in the tree, and returns the last that it was sent to.
fn kill(dir: &Path) -> Vec<OwnedFd> {
    let list = || Ok::<_, Error>(tree::processes(dir).unwrap_or_default());
    let kill = |_, pidfd: BorrowedFd<'_>| drop(signal::send(pidfd, Signal::KILL.as_raw().cast_unsigned()));
    each_by_descriptor(list, kill).unwrap_or_default()
}

/// Calls `with` for each process of a list, with its pid and a descriptor, of which it holds [`AT_ONCE`] and returns the last. A pid is only
/// trusted when it is in the list, which is sorted, again after its descriptor has been opened: by then that cannot be a stranger's who
/// got a dead process's number.
pub(super) fn each_by_descriptor<E>(
    list: impl Fn() -> Result<Vec<u32>, E>,
    with: impl Fn(u32, BorrowedFd<'_>),
) -> Result<Vec<OwnedFd>, E> {
    let mut last = Vec::new();
    for some in list()?.chunks(AT_ONCE) {
        // Those before are let go of first.
        last.clear();
        let opened: Vec<_> = some.iter().filter_map(|pid| Some((*pid, signal::open(*pid).ok()?))).collect();
        let still = list()?;
        let confirmed = opened.into_iter().filter(|(pid, _)| still.binary_search(pid).is_ok());
        last.extend(confirmed.map(|(pid, pidfd)| {
            with(pid, pidfd.as_fd());
            pidfd
        }));
    }
    Ok(last)
}

fn wait_for_exit(pidfds: &[OwnedFd], at_most: Duration) {
    let deadline = Instant::now() + at_most;
    for pidfd in pidfds {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    }
}

fn freeze(freezer: Option<&Path>) {
    if let Some(group) = freezer.and_then(|dir| tree::open(dir).ok()) {
        let _ = tree::write(group.as_fd(), "freezer.state", "FROZEN");
    }
}

/// Thaws the tree of v1's freezer.
pub(super) fn thaw(freezer: Option<&Path>) {
    if let Some(group) = freezer.and_then(|dir| tree::open(dir).ok()) {
        let thaw = |group: std::os::fd::BorrowedFd<'_>| {
            let _ = tree::write(group, "freezer.state", "THAWED");
        };
        let _ = tree::walk(group.as_fd(), thaw, |_, _| {});
    }
}
