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

use std::os::fd::{BorrowedFd, OwnedFd};

use policy::idmap::IdMap;
use policy::plan::NamespaceKind;
use rustix::thread::UnshareFlags;

use super::channel::Channel;
use super::helper::{self, Birth, Helper};
use super::message::{BuildOrder, Failure};
use super::{namespaces, process};

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
    let birth = Birth { name: "a maker of user namespaces", flags: libc::CLONE_NEWUSER as u64, group: None };
    helper::run(control, &birth, |stage| descend(stage, limit, proc), |maker| take(control, order, maker, proc))
}

/// The maker's part, in the upper namespace: once that is mapped, sets the limit and makes the lower one. Only a process
/// whose ids are mapped may (user_namespaces(7)).
fn descend(stage: &Channel, limit: u32, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    helper::until_told(stage)?;
    let with_our_own = limit.saturating_add(1).min(i32::MAX.unsigned_abs());
    namespaces::write_below(proc, SYSCTL, &with_our_own.to_string())?;
    process::become_root()?;
    namespaces::unshare(UnshareFlags::NEWUSER).map_err(Failure::at("unshare", "the user namespace"))
}

/// The stage's part.
fn take(control: &Channel, order: &BuildOrder, maker: &Helper, proc: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    namespaces::write_maps(order.id_map, proc, maker.pid)?;
    let upper = namespaces::open_of(proc, maker.pid, NamespaceKind::User)?;
    maker.go_on()?;
    maker.done()?;
    // A map is written from the namespace above: as nobody of it, with every capability.
    let identity = IdMap { host: 0, ..order.id_map };
    let map = |_: &Channel| {
        namespaces::join_user(&[(NamespaceKind::User, upper)])?;
        namespaces::write_maps(identity, proc, maker.pid)
    };
    helper::run(control, &Birth { name: "a writer of maps", flags: 0, group: None }, map, Helper::done)?;
    namespaces::open_of(proc, maker.pid, NamespaceKind::User)
}
