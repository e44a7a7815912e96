//! mount(2) with `MS_REMOUNT`, of filesystems whose owner the caller is, and mount_setattr(2) of a single mount. Newer tools begin
//! a remount with open_tree(2), which leads them to mount(2) ([`super::bind::open_tree`]); after that they know no way back, so
//! that fspick(2) is the kernel's.
//!
//! * procfs: covers become read-only or writable with the filesystem, and flags that are locked stay, whether the caller names
//!   them or not.
//! * sysfs: a read-only one is a read-only mount, with its covers; the filesystem is one for all of a network namespace.
//! * a single mount (`MS_BIND`) of either, or of a part (runc's read-only `/proc/sys`): covers become read-only or writable with
//!   it. A cover on a sysctl of the network is found in the container's own network namespace (`is_seen` of the kernel's
//!   `ctl_table_set`), since in the caller's it may have no name.
//! * any other single mount that becomes read-only: flags that are locked stay, too.
//! * tmpfs: util-linux reads the options of a mount in mountinfo and gives them back. Owners stand there as the host counts;
//!   they cannot be changed anyway (`shmem_reconfigure()` of mm/shmem.c leaves them), so they are left out.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use policy::plan::MountFlags;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags as Flags;
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};
use userns::mount::Detached;
use userns::mountinfo::{self, MountEntry};

use super::cover::{Kernel, READ_ONLY};
use super::lock::Mounts;
use super::option;
use super::path::{Place, nofollow_of};
use super::{Caller, Outcome, Result, World, number_of};

pub(super) fn remount(world: &World, caller: &Caller, target: &[u8], flags: u64, data: &[u8]) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let Ok(place) = Place::new(caller, libc::AT_FDCWD, target) else { return Ok(Outcome::Continue) };
    // The names below /proc/sys/net are those of the container's own: in the caller's they may be others.
    move_into_link_name_space(world.net.as_fd(), Some(LinkNameSpaceType::Network))?;
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    if flags & libc::MS_BIND != 0 {
        return single(world, caller, place, flags);
    }
    let mounts = Mounts::read(world)?;
    caller.enter()?;
    let Ok(target) = place.open(OFlags::empty(), false) else { return Ok(Outcome::Continue) };
    let Some(mount) = mounts.with_root(&target) else { return Ok(Outcome::Continue) };
    let options = option::split(data);
    match (mount.fstype.as_str(), options) {
        ("proc", Ok(options)) => {
            reconfigure_kernels(world, &target, mount, flags, &joined(&options))?;
            set_read_only(world, &mounts, Kernel::Proc, mount, (&target, read_only(flags)))?;
            Ok(Outcome::Done)
        }
        ("sysfs", Ok(options)) if options.iter().all(|(key, _)| matches!(key.as_str(), "ro" | "rw")) => {
            let asked = options.iter().fold(flags, |flags, (key, _)| match key.as_str() {
                "ro" => flags | libc::MS_RDONLY,
                _ => flags & !libc::MS_RDONLY,
            });
            let top = Detached::from_fd(rustix::io::fcntl_dupfd_cloexec(&target, 3)?, "a mount");
            top.set_flags(read_only(asked), false).map_err(number_of)?;
            top.set_flags(option::attributes(asked & !libc::MS_RDONLY), false).map_err(number_of)?;
            set_read_only(world, &mounts, Kernel::Sysfs, mount, (&target, read_only(asked)))?;
            Ok(Outcome::Done)
        }
        ("tmpfs", Ok(options)) => {
            let is_owner = |(key, _): &&(String, Option<String>)| matches!(key.as_str(), "uid" | "gid");
            let kept: Vec<_> = options.iter().filter(|option| !is_owner(option)).cloned().collect();
            if kept.len() == options.len() {
                return Ok(Outcome::Continue);
            }
            reconfigure(world, &target, flags, &joined(&kept))?;
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::Continue),
    }
}

/// The flags of one mount, and of the covers on it.
fn single(world: &World, caller: &Caller, place: Place, flags: u64) -> Result<Outcome> {
    caller.enter()?;
    let Ok(target) = place.open(OFlags::empty(), false) else { return Ok(Outcome::Continue) };
    let mounts = Mounts::of_tree(world, &target)?;
    let Some(mount) = mounts.with_root(&target) else { return Ok(Outcome::Continue) };
    match Kernel::of(mount) {
        None => match reconfigure(world, &target, flags, "") {
            // systemd-nspawn names nothing else, and so is refused on what lies on an engine's tmpfs. Who asks for less is refused.
            Err(Errno::PERM) if flags & libc::MS_RDONLY != 0 && mount.options.iter().all(|option| option != "ro") => {
                reconfigure(world, &target, flags | option::flags_of(&mount.options), "")?;
            }
            done => done?,
        },
        Some(kernel) => {
            reconfigure_kernels(world, &target, mount, flags, "")?;
            set_read_only(world, &mounts, kernel, mount, (&target, read_only(flags)))?;
        }
    }
    Ok(Outcome::Done)
}

/// mount_setattr(2): the same of one mount by itself. One that is attached nowhere has no covers, and is the kernel's.
pub(super) fn setattr(
    world: &World,
    caller: &Caller,
    (dirfd, path, flags): (i32, &[u8], u32),
    asked: MountFlags,
) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt"])? {
        return Ok(Outcome::Continue);
    }
    let flags = AtFlags::from_bits_retain(flags);
    let empty = flags.contains(AtFlags::EMPTY_PATH);
    let Ok(place) = Place::new(caller, dirfd, path) else { return Ok(Outcome::Continue) };
    move_into_link_name_space(world.net.as_fd(), Some(LinkNameSpaceType::Network))?;
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    caller.enter()?;
    let nofollow = nofollow_of(flags.contains(AtFlags::SYMLINK_NOFOLLOW));
    let Ok(target) = place.open(nofollow, empty) else { return Ok(Outcome::Continue) };
    let mounts = Mounts::of_tree(world, &target)?;
    let Some(mount) = mounts.with_root(&target) else { return Ok(Outcome::Continue) };
    let Some(kernel) = Kernel::of(mount) else { return Ok(Outcome::Continue) };
    let top = Detached::from_fd(rustix::io::fcntl_dupfd_cloexec(&target, 3)?, "a mount");
    top.set_flags(asked, false).map_err(number_of)?;
    let of_covers = MountFlags { set: asked.set & READ_ONLY.set, clear: asked.clear & READ_ONLY.set };
    set_read_only(world, &mounts, kernel, mount, (&target, of_covers))?;
    Ok(Outcome::Done)
}

/// Whether a remount of what lies there is served: a whole procfs or sysfs, or a tmpfs whose owner util-linux would feed back.
pub(super) fn is_served(mounts: &Mounts, target: &OwnedFd) -> bool {
    let has_owner = |mount: &MountEntry| {
        mount.super_options.iter().any(|option| option.starts_with("uid=") || option.starts_with("gid="))
    };
    mounts.with_root(target).is_some_and(|mount| match mount.fstype.as_str() {
        "proc" | "sysfs" => true,
        "tmpfs" => has_owner(mount),
        _ => false,
    })
}

/// The same of a procfs or sysfs. Flags that the caller does not name are taken away, which a lock of theirs does not let: those stay.
fn reconfigure_kernels(world: &World, top: &OwnedFd, mount: &MountEntry, flags: u64, data: &str) -> Result<()> {
    match reconfigure(world, top, flags, data) {
        Err(Errno::PERM) => reconfigure(world, top, flags | option::flags_of(&mount.options), data),
        done => done,
    }
}

/// mount(2) itself, as the caller, of a mount by its descriptor. Changes the working directory.
#[expect(clippy::disallowed_methods, reason = "a link of our own descriptor: no name of the container's is resolved")]
fn reconfigure(world: &World, mount: &OwnedFd, flags: u64, data: &str) -> Result<()> {
    rustix::process::fchdir(&world.proc)?;
    let path = format!("thread-self/fd/{}", mount.as_raw_fd());
    let flags = Flags::from_bits_retain(u32::try_from(flags & !libc::MS_REMOUNT).map_err(|_| Errno::INVAL)?);
    rustix::mount::mount_remount(path, flags, data)
}

/// Has the covers of a filesystem follow it.
fn set_read_only(
    world: &World,
    mounts: &Mounts,
    kernel: Kernel,
    of: &MountEntry,
    (top, flags): (&OwnedFd, MountFlags),
) -> Result<()> {
    for mount in mounts.on(of.id) {
        let Ok(path) = mount.mount_point.strip_prefix(&of.mount_point) else { continue };
        // What is mounted may be a part of the filesystem.
        let whole = of.root.join(path);
        let ours = world.covers.iter().any(|cover| {
            cover.of == kernel
                && Path::new("/").join(&cover.path) == whole
                && !cover.read_only
                && cover.explains(world, mount, of)
        });
        if !ours {
            continue;
        }
        let Ok(place) = userns::mount::open_below(top.as_fd(), Path::new(path)) else { continue };
        if mountinfo::id_of(&place)? == mount.id {
            // One that is read-only for good stays so.
            let _locked = Detached::from_fd(place, "a cover").set_flags(flags, false);
        }
    }
    Ok(())
}

fn read_only(flags: u64) -> MountFlags {
    match flags & libc::MS_RDONLY {
        0 => MountFlags { set: 0, clear: libc::MOUNT_ATTR_RDONLY },
        _ => READ_ONLY,
    }
}

fn joined(options: &[(String, Option<String>)]) -> String {
    let one = |(key, value): &(String, Option<String>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    options.iter().map(one).collect::<Vec<_>>().join(",")
}
