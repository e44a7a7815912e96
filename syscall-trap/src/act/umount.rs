//! umount2(2) of a mount on which only locked mounts lie: they keep it busy, though nobody can unmount them one by one. So do
//! the mounts that stand for device nodes.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mountinfo::{self, MountEntry};

use super::lock::{Lock, Mounts, unmount};
use super::path::{Place, nofollow_of};
use super::{Caller, Kernel, Outcome, Result, World};

/// Unmounts it with all of them. A mount that is locked itself, one with a mount below that its owner could unmount, and one with
/// nothing below are the kernel's; but the container's own `/proc` and `/sys` are as busy as those of a machine, which the
/// kernel, to whom they are the host's, would not say.
pub(super) fn umount(world: &World, caller: &Caller, target: &[u8], flags: i32) -> Result<Outcome> {
    let has = |flag| flags & flag != 0;
    if has(libc::MNT_EXPIRE) || !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let Ok(place) = Place::new(caller, libc::AT_FDCWD, target) else { return Ok(Outcome::Continue) };
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    let mounts = Mounts::read(world)?;
    caller.enter()?;
    let Ok(target) = place.open(nofollow_of(has(libc::UMOUNT_NOFOLLOW)), false) else { return Ok(Outcome::Continue) };
    let Some(mount) = mounts.with_root(&target) else { return Ok(Outcome::Continue) };
    if is_the_containers(mount) && caller.is_of(world.user.as_fd())? && mounts.lock(world, mount) == Lock::Locked {
        return Err(Errno::BUSY);
    }
    let below = mountinfo::below(&mounts.all, mount.id, &mount.mount_point);
    // A device that was made there is a mount that its maker knows nothing of ([`super::mknod`]).
    let is_held = |mount: &&MountEntry| {
        world.is_device(mount) || matches!(mounts.lock(world, mount), Lock::Locked | Lock::Covered)
    };
    if has(libc::MNT_DETACH) || below.is_empty() || !below.iter().all(is_held) {
        return Ok(Outcome::Continue);
    }
    // Of one that is locked itself, or whose filesystem the caller may not force, the kernel says another thing.
    let force = if has(libc::MNT_FORCE) { UnmountFlags::FORCE } else { UnmountFlags::empty() };
    let done = match unmount(world, &target, force) {
        Err(Errno::BUSY) => unmount(world, &target, UnmountFlags::DETACH),
        done => done,
    };
    Ok(if done.is_ok() { Outcome::Done } else { Outcome::Continue })
}

/// Whether a mount lies where the container has its own procfs or sysfs.
fn is_the_containers(mount: &MountEntry) -> bool {
    Kernel::of(mount).is_some_and(|kernel| mount.mount_point == Path::new("/").join(kernel.place()))
}
