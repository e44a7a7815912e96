//! A bind mount or a clone of one mount alone, of a tree with locked mounts below: the kernel does not show what they hide, and
//! answers `EINVAL`. With them it may be had.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mount::Detached;

use super::path::Place;
use super::{Caller, Outcome, Result};

/// mount(2) with `MS_BIND`. What the kernel would do or refuse by itself, it does; where only locked mounts stand in the way,
/// they come along, and stay locked.
pub(super) fn mount(caller: &Caller, source: &[u8], target: &[u8]) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let places = (Place::new(caller, libc::AT_FDCWD, source), Place::new(caller, libc::AT_FDCWD, target));
    let (Ok(source), Ok(target)) = places else { return Ok(Outcome::Continue) };
    become_caller(caller)?;
    let Ok(source) = source.open(OFlags::empty(), false) else { return Ok(Outcome::Continue) };
    if !is_in_the_way(&source) {
        return Ok(Outcome::Continue);
    }
    let target = target.open(OFlags::empty(), false)?;
    // Not even so: it is unbindable, or in another namespace.
    let Ok(tree) = Detached::clone_of(&source, true, "a tree") else { return Ok(Outcome::Continue) };
    let is_directory = |fd: &OwnedFd| -> Result<bool> {
        Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
    };
    if is_directory(&source)? != is_directory(&target)? {
        // move_mount(2) has another number for it.
        return Err(Errno::NOTDIR);
    }
    tree.attach_at(target)?;
    Ok(Outcome::Done)
}

/// open_tree(2) with `OPEN_TREE_CLONE`. A descriptor of a mount cannot be given to another process for it to keep, so the
/// caller is led to mount(2): util-linux takes that where there is no open_tree.
pub(super) fn open_tree(caller: &Caller, dirfd: i32, path: &[u8], flags: u32) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let Ok(place) = Place::new(caller, dirfd, path) else { return Ok(Outcome::Continue) };
    become_caller(caller)?;
    let nofollow = if has(libc::AT_SYMLINK_NOFOLLOW) { OFlags::NOFOLLOW } else { OFlags::empty() };
    match place.open(nofollow, has(libc::AT_EMPTY_PATH)) {
        Ok(source) if is_in_the_way(&source) => Err(Errno::NOSYS),
        _ => Ok(Outcome::Continue),
    }
}

/// Joins the caller's mount namespace and becomes the caller.
pub(super) fn become_caller(caller: &Caller) -> Result<()> {
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    caller.enter()?;
    caller.act_as()
}

/// Whether the kernel does not clone the one mount without those below.
#[expect(clippy::disallowed_methods, reason = "a question, of which nothing is kept")]
fn is_in_the_way(source: &OwnedFd) -> bool {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    matches!(rustix::mount::open_tree(source, c"", flags), Err(Errno::INVAL))
}
