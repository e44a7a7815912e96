//! umount2(2) of a mount on which only locked mounts lie: they keep it busy, though nobody can unmount them one by one. So do
//! the mounts that stand for device nodes.

use rustix::fs::OFlags;
use rustix::mount::UnmountFlags;
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mountinfo;

use super::lock::{Lock, Mounts, unmount};
use super::path::Place;
use super::{Caller, Outcome, Result, World};

/// Unmounts it with all of them. A mount that is locked itself (the container's own `/proc`), one with a mount below that its
/// owner could unmount, and one with nothing below are the kernel's.
pub(super) fn umount(world: &World, caller: &Caller, target: &[u8], flags: i32) -> Result<Outcome> {
    if flags & (libc::MNT_DETACH | libc::MNT_EXPIRE) != 0 || !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let Ok(place) = Place::new(caller, libc::AT_FDCWD, target) else { return Ok(Outcome::Continue) };
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    let mounts = Mounts::read(world)?;
    caller.enter()?;
    let nofollow = if flags & libc::UMOUNT_NOFOLLOW != 0 { OFlags::NOFOLLOW } else { OFlags::empty() };
    let Ok(target) = place.open(nofollow, false) else { return Ok(Outcome::Continue) };
    let id = mountinfo::id_of(&target)?;
    let Some(mount) = mounts.all.iter().find(|mount| mount.id == id) else { return Ok(Outcome::Continue) };
    let below = mountinfo::below(&mounts.all, id, &mount.mount_point);
    // A device that was made there is a mount that its maker knows nothing of ([`super::mknod`]).
    let is_held = |mount: &&mountinfo::MountEntry| {
        world.is_device(mount) || matches!(mounts.lock(world, mount), Lock::Locked | Lock::Covered)
    };
    if below.is_empty() || mounts.lock(world, mount) != Lock::Free || !below.iter().all(is_held) {
        return Ok(Outcome::Continue);
    }
    let Ok(()) = unmount(world, &target, UnmountFlags::DETACH) else { return Ok(Outcome::Continue) };
    Ok(Outcome::Done)
}
