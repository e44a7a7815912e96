//! A bind mount or a clone of one mount alone, of a tree with locked mounts below: the kernel does not show what they hide, and
//! answers `EINVAL`. With them it may be had.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mount::Detached;
use userns::mountinfo;

use super::lock::{Lock, Mounts, unmount};
use super::path::{Place, is_directory, nofollow_of};
use super::{Caller, Outcome, Result, World, number_of, remount};

/// mount(2) with `MS_BIND`. What the kernel would do or refuse by itself, it does; where only locked mounts stand in the way,
/// they come along, and stay locked. Those of the container's own do not.
pub(super) fn mount(world: &World, caller: &Caller, source: &[u8], target: &[u8]) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let places = (Place::new(caller, libc::AT_FDCWD, source), Place::new(caller, libc::AT_FDCWD, target));
    let (Ok(source), Ok(target)) = places else { return Ok(Outcome::Continue) };
    // Names below /proc/sys are those of its network namespace.
    caller.join("net", LinkNameSpaceType::Network)?;
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    caller.enter()?;
    let Ok(source) = source.open(OFlags::empty(), false) else { return Ok(Outcome::Continue) };
    if !is_in_the_way(&source) {
        return Ok(Outcome::Continue);
    }
    let target = target.open(OFlags::empty(), false)?;
    // Not even so: it is unbindable, or in another namespace.
    let Ok(tree) = Detached::clone_of(&source, true, "a tree") else { return Ok(Outcome::Continue) };
    if is_directory(&source) != is_directory(&target) {
        // move_mount(2) has another number for it.
        return Err(Errno::NOTDIR);
    }
    tree.attach_at(target)?;
    leave_out_others(world, &tree)?;
    Ok(Outcome::Done)
}

/// Takes the mounts of an attached tree away that are not locked: of a bind without `MS_REC` they are no part, and whoever made
/// it expects to be able to unmount it.
fn leave_out_others(world: &World, tree: &Detached) -> Result<()> {
    let mounts = Mounts::read(world)?;
    let Some(top) = mounts.with_root(tree.fd()) else { return Ok(()) };
    let below = mountinfo::below(&mounts.all, top.id, &top.mount_point);
    if !below.iter().any(|mount| mounts.lock(world, mount) == Lock::Free) {
        return Ok(());
    }
    // What a copy shares with the mount that it is of would take that one's away, too.
    tree.set_propagation(policy::plan::Propagation::Slave, true).map_err(number_of)?;
    // Children first: what lies on another, or over it.
    for mount in below.iter().rev() {
        if mounts.lock(world, mount) == Lock::Free
            && let Ok(place) = mounts.open(mount)
        {
            let _stays = unmount(world, &place, UnmountFlags::DETACH);
        }
    }
    Ok(())
}

/// open_tree(2). A descriptor of a mount cannot be given to another process for it to keep, so where mount(2) is served the
/// caller is led to it: util-linux takes that where there is no open_tree, and asks for no other call then. That is
/// so for a clone that the kernel refuses, and for what begins a remount ([`super::remount`]).
pub(super) fn open_tree(world: &World, caller: &Caller, dirfd: i32, path: &[u8], flags: u32) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let has = |flag: u32| flags & flag != 0;
    let Ok(place) = Place::new(caller, dirfd, path) else { return Ok(Outcome::Continue) };
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    let is_clone = has(OpenTreeFlags::OPEN_TREE_CLONE.bits());
    let mounts = if is_clone { None } else { Some(Mounts::read(world)?) };
    caller.enter()?;
    let nofollow = nofollow_of(has(OpenTreeFlags::AT_SYMLINK_NOFOLLOW.bits()));
    let Ok(target) = place.open(nofollow, has(OpenTreeFlags::AT_EMPTY_PATH.bits())) else {
        return Ok(Outcome::Continue);
    };
    let is_served = match mounts {
        None => is_in_the_way(&target),
        Some(mounts) => remount::is_served(&mounts, &target),
    };
    if is_served { Err(Errno::NOSYS) } else { Ok(Outcome::Continue) }
}

/// Whether the kernel does not clone the one mount without those below.
#[expect(clippy::disallowed_methods, reason = "a question, of which nothing is kept")]
fn is_in_the_way(source: &OwnedFd) -> bool {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    matches!(rustix::mount::open_tree(source, c"", flags), Err(Errno::INVAL))
}
