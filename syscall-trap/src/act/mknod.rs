//! mknod(2) of devices that harm nobody: a user namespace cannot have the right, whatever the device (`vfs_mknod()` of
//! fs/namei.c).
//!
//! The node is made by the host's root with the caller's filesystem ids, where the caller may make a file. On a filesystem of
//! the container's own no device can be opened (`SB_I_NODEV`): there the device is mounted on an empty file.
//!
//! The console is another thing: the device of that number is the host's, and such a node is never made. What the container has
//! as its console, a terminal, is mounted on an empty file; where it has none the node is that of null.

use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags, makedev};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mount::Detached;

use super::path::Place;
use super::{Caller, Outcome, Result, World};
use crate::sys::process as sys;

/// Major and minor number of the host's console (Documentation/admin-guide/devices.txt of Linux).
const CONSOLE: (u32, u32) = (5, 1);

/// The same of null.
const NULL: (u32, u32) = (1, 3);

/// The slave sides of terminals (`UNIX98_PTY_SLAVE_MAJOR` of linux/major.h).
const TERMINALS: RangeInclusive<u32> = 136..=143;

/// The arguments of mknodat(2): directory, path, mode, device.
type Arguments<'a> = (i32, &'a [u8], u32, u64);

#[expect(
    clippy::disallowed_methods,
    reason = "a single name below the descriptor of a directory that the caller may write"
)]
pub(super) fn mknod(
    world: &World,
    number: u64,
    caller: &Caller,
    (dirfd, path, mode, device): Arguments<'_>,
) -> Result<Outcome> {
    let numbers = (rustix::fs::major(device), rustix::fs::minor(device));
    if !world.devices.contains(&numbers) || FileType::from_raw_mode(mode) != FileType::CharacterDevice {
        return Ok(Outcome::Continue);
    }
    // Those of the container's own user namespace only: root of another has never had the right to make one.
    if !caller.may(CapabilitySet::MKNOD, &["mnt"])? || !caller.is_of(world.user.as_fd())? {
        return Ok(Outcome::Continue);
    }
    let Some((place, name)) = Place::new(caller, dirfd, path)?.split() else { return Ok(Outcome::Continue) };
    let mode = Mode::from_raw_mode(mode & 0o7777);
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    let console = if numbers == CONSOLE { console(caller)? } else { None };
    let device = if numbers == CONSOLE { makedev(NULL.0, NULL.1) } else { device };
    let directory = sys::handed_over(|| writable(caller, place))?;
    userns::creds::take(caller.status.uid, caller.status.gid)?;
    // The kernel knows when it counts: not beside a default ACL.
    rustix::process::umask(Mode::from_raw_mode(caller.status.umask));
    if let Some(console) = console {
        return on_a_file(caller, (&directory, &name), mode, |file| console.attach_at(file));
    }
    match rustix::fs::mknodat(&directory, &name, FileType::CharacterDevice, mode, device) {
        // An overlay of the container's own makes it with the rights of who has mounted it (`ovl_override_creds()`).
        // A FUSE filesystem does not let the host's root in ([`Caller::enter`]).
        Err(Errno::PERM | Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
        Ok(()) if can_be_opened(world, &directory, &name, device)? => return Ok(Outcome::Done),
        Ok(()) => rustix::fs::unlinkat(&directory, &name, AtFlags::empty())?,
    }
    on_a_file(caller, (&directory, &name), mode, |file| cover(world, number, caller, mode, device, file))
}

/// Has something mounted on a new and empty file of the caller's.
#[expect(clippy::disallowed_methods, reason = "a single name below that directory")]
fn on_a_file(
    caller: &Caller,
    (directory, name): (&OwnedFd, &[u8]),
    mode: Mode,
    mount: impl FnOnce(&OwnedFd) -> Result<()>,
) -> Result<Outcome> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = sys::handed_over(|| {
        caller.enter()?;
        rustix::fs::openat(directory, name, flags, mode)
    })?;
    let mounted = mount(&file);
    if mounted.is_err() {
        let _same = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
    mounted.map(|()| Outcome::Done)
}

/// The terminal that the caller has as its console, as it may open it; none where it has none. The process is in the caller's mount
/// namespace.
fn console(caller: &Caller) -> Result<Option<Detached>> {
    let found = sys::handed_over(|| {
        caller.enter()?;
        let place = Place::new(caller, libc::AT_FDCWD, b"/dev/console")?;
        place.open(OFlags::empty(), false)
    });
    let Ok(found) = found else { return Ok(None) };
    let stat = rustix::fs::fstat(&found)?;
    let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && TERMINALS.contains(&rustix::fs::major(stat.st_rdev));
    // One that is seen through another mount namespace cannot be had.
    Ok(is_terminal.then(|| Detached::clone_of(found, false, "the console").ok()).flatten())
}

/// The directory of a new file, where the caller may make it.
fn writable(caller: &Caller, place: Place) -> Result<OwnedFd> {
    caller.enter()?;
    let directory = place.open(OFlags::DIRECTORY, true)?;
    // With the filesystem ids and the capabilities of now: AT_EACCESS.
    rustix::process::fchdir(&directory)?;
    rustix::fs::accessat(CWD, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(directory)
}

/// Whether the new node of a device is more than a name here. A mount with `nodev` is the caller's wish. Whoever may write in the directory
/// may have put another device in its place, one that the container has not been given: only what is found to be the node is opened.
/// Changes the working directory.
fn can_be_opened(world: &World, directory: &OwnedFd, name: &[u8], device: u64) -> Result<bool> {
    if rustix::fs::fstatvfs(directory)?.f_flag.contains(StatVfsMountFlags::NODEV) {
        return Ok(true);
    }
    let found = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(node) = rustix::fs::openat(directory, name, found, Mode::empty()) else { return Ok(true) };
    let stat = rustix::fs::fstat(&node)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != device {
        return Ok(true);
    }
    rustix::process::fchdir(&world.proc)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let link = format!("thread-self/fd/{}", node.as_raw_fd());
    // Another error is the device's own.
    Ok(!matches!(rustix::fs::openat(CWD, link, flags, Mode::empty()), Err(Errno::ACCESS)))
}

/// Mounts the device on an empty file of the caller's.
fn cover(world: &World, number: u64, caller: &Caller, mode: Mode, device: u64, file: &OwnedFd) -> Result<()> {
    world.come_home()?;
    let node = world.device(number, mode, device)?;
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    node.attach_at(file)
}
