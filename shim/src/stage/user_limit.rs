//! `[container] max_user_namespaces`: a limit that the container's root cannot raise.
//!
//! The sysctl of the container's own user namespace would not do: whoever has CAP_SYS_RESOURCE in a user namespace may write
//! its `user.max_user_namespaces`, and it counts for each of the namespace's users by itself. But the kernel counts a user
//! namespace in every one above it, too, there as one of the user who made the one below (namespaces(7), inc_ucount() of
//! kernel/ucount.c). So a limited container lives two user namespaces below the host's: the upper one has the container's
//! map, no process, and the limit; in it the container's own counts as one, and all that the container ever makes, at
//! whatever depth and as whatever user, counts against the same limit.
//!
//! Inside, `/proc/self/uid_map` shows the map to the upper namespace, which is the identity.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::idmap::IdMap;
use policy::plan::NamespaceKind;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::UnshareFlags;

use super::channel::Channel;
use super::message::{BuildOrder, Failure, Report};
use super::{namespaces, process, tell_of_self};
use crate::sys::clone::{Cloned, clone3};

/// Below `/proc/sys`. The kernel shows the file of the opener's own user namespace.
const SYSCTL: &str = "sys/user/max_user_namespaces";

/// Makes both user namespaces and returns the lower one, mapped, for init to join: in it no more than `limit` user namespaces
/// exist at a time.
pub(super) fn make(
    control: &Channel,
    order: &BuildOrder,
    limit: u32,
    proc: BorrowedFd<'_>,
) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = pair()?;
    match clone3(libc::CLONE_NEWUSER as u64, None).map_err(Failure::at("clone", "a maker of user namespaces"))? {
        Cloned::Child => {
            drop(ours);
            let made = descend(control, &theirs, limit, proc);
            let _gone = theirs.send(&made.err(), &[]);
            // Until the other side has what it needs.
            let _gone = theirs.receive::<()>();
            std::process::exit(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let made = take(control, order, &ours, pid, proc);
            drop(ours);
            let _status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            made
        }
    }
}

/// The maker's part, in the upper namespace: once that is mapped, sets the limit and makes the lower one. Only a process
/// whose ids are mapped may (user_namespaces(7)).
fn descend(control: &Channel, stage: &Channel, limit: u32, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    tell_of_self(control, &Report::Helper)?;
    if stage.receive::<()>().map_err(Failure::at("listen to", "the build stage"))?.is_none() {
        std::process::exit(1);
    }
    let with_our_own = limit.saturating_add(1).min(i32::MAX.unsigned_abs());
    namespaces::write_below(proc, SYSCTL, &with_our_own.to_string())?;
    process::become_root()?;
    namespaces::unshare(UnshareFlags::NEWUSER).map_err(Failure::at("unshare", "the user namespace"))
}

/// The stage's part.
fn take(
    control: &Channel,
    order: &BuildOrder,
    maker: &Channel,
    pid: i32,
    proc: BorrowedFd<'_>,
) -> Result<OwnedFd, Failure> {
    namespaces::write_maps(order.id_map, proc, pid)?;
    let upper = namespaces::open_of(proc, pid, NamespaceKind::User)?;
    maker.send(&(), &[]).map_err(Failure::at("tell", "the maker of user namespaces"))?;
    heard(maker)?;
    let identity = IdMap { host: 0, ..order.id_map };
    inside(control, upper, || namespaces::write_maps(identity, proc, pid))?;
    namespaces::open_of(proc, pid, NamespaceKind::User)
}

/// Acts in a user namespace, as nobody of it with every capability: a map is written from the namespace above.
fn inside(control: &Channel, user: OwnedFd, act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (ours, theirs) = pair()?;
    match clone3(0, None).map_err(Failure::at("clone", "a helper"))? {
        Cloned::Child => {
            drop(ours);
            let told = tell_of_self(control, &Report::Helper);
            let acted = told.and_then(|()| namespaces::join_user(&[(NamespaceKind::User, user)])).and_then(|()| act());
            let _gone = theirs.send(&acted.err(), &[]);
            std::process::exit(0)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let acted = heard(&ours);
            let _status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            acted
        }
    }
}

fn pair() -> Result<(Channel, Channel), Failure> {
    Channel::pair().map_err(Failure::at("make", "a socket pair"))
}

/// What a helper says at its end.
fn heard(helper: &Channel) -> Result<(), Failure> {
    match helper.receive::<Option<Failure>>().map_err(Failure::at("listen to", "a maker of user namespaces"))? {
        Some((None, _)) => Ok(()),
        Some((Some(failure), _)) => Err(failure),
        None => Err(Failure::line("a maker of user namespaces ended before it was done")),
    }
}
