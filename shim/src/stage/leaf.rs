//! The leaf that init lives in where there is cgroup v2 alone: its cgroup namespace, and the limits that it repeats.
//!
//! The root of a cgroup namespace is the group of whoever makes it, and that is to be the container's own; but a group
//! that hands controllers to its children has no processes (cgroups(7)), and to move init out of it would wait for an RCU
//! grace period. So a process that lives for nothing else makes the namespace in the container's group and ends, then the
//! controllers are handed down, and then init is cloned into the leaf. Its user namespace is that process's, because a
//! cgroup namespace belongs to the user namespace of its maker.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use policy::plan::NamespaceKind;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::build::{Fds, new_user_namespace};
use super::channel::Channel;
use super::helper::{self, Birth, Helper};
use super::message::{BuildOrder, Failure};
use super::namespaces;
use crate::container::cgroup::{repeat_limits_of, write};

/// How often the controllers are handed down to a group whose last process is on its way out.
const ATTEMPTS: usize = 500;

/// Makes the container's cgroup namespace, and its user namespace unless there is one to join: what init then joins.
pub(super) fn make_namespaces(
    control: &Channel,
    order: &BuildOrder,
    fds: &Fds,
    own: BorrowedFd<'_>,
    proc: BorrowedFd<'_>,
) -> Result<Vec<(NamespaceKind, OwnedFd)>, Failure> {
    let new = new_user_namespace(order);
    let flags = if new { libc::CLONE_NEWUSER as u64 } else { 0 };
    let birth = Birth { name: "the maker of the cgroup namespace", flags, group: Some(own) };
    let make = |_: &Channel| {
        namespaces::join_user(&fds.joined)?;
        namespaces::unshare(UnshareFlags::NEWCGROUP).map_err(Failure::at("unshare", "the cgroup namespace"))
    };
    helper::run(control, &birth, make, |maker| take(order, maker, proc, new))
}

fn take(
    order: &BuildOrder,
    maker: &Helper,
    proc: BorrowedFd<'_>,
    new: bool,
) -> Result<Vec<(NamespaceKind, OwnedFd)>, Failure> {
    maker.done()?;
    let mut made = Vec::new();
    if new {
        namespaces::write_maps(order.id_map, proc, maker.pid)?;
        made.push((NamespaceKind::User, namespaces::open_of(proc, maker.pid, NamespaceKind::User)?));
    }
    made.push((NamespaceKind::Cgroup, namespaces::open_of(proc, maker.pid, NamespaceKind::Cgroup)?));
    Ok(made)
}

/// Hands the leaf its controllers, while nobody is in either group (then the kernel waits for nothing), and repeats the
/// limits in it. A controller that does not come is none whose limit could be read.
pub(super) fn hand_down(own: BorrowedFd<'_>, leaf: BorrowedFd<'_>) {
    for controller in ["+memory", "+cpu"] {
        for _ in 0..ATTEMPTS {
            if write(own, "cgroup.subtree_control", controller) != Err(Errno::BUSY) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    repeat_limits_of(own, leaf);
}

/// Sets a limit of one process, once init is alone: the group was made with room for whoever cloned it.
pub(super) fn limit_to_one(order: &BuildOrder, own: BorrowedFd<'_>) -> Result<(), Failure> {
    match order.plan.cgroup.resources.pids_limit {
        Some(0 | 1) => write(own, "pids.max", "1").map_err(Failure::at("set", "linux.resources.pids.limit")),
        _ => Ok(()),
    }
}
