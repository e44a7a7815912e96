//! mount(2) of a new procfs or sysfs: built with the covers that the container's own has, locked, and attached where the
//! caller asks.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use userns::mount::Detached;
use userns::mountinfo;

use super::cover::{Kernel, READ_ONLY};
use super::lock::{Mounts, is_locked};
use super::option::{self, Atime};
use super::path::{Place, is_directory};
use super::visible::{Visible, visible};
use super::{Caller, Outcome, Result, World, number_of};

/// What fsconfig(2) sets.
type Options = Vec<(String, Option<String>)>;

/// The arguments of mount(2): target, flags, data.
type Arguments<'a> = (&'a [u8], u64, &'a [u8]);

pub(super) fn mount(
    world: &World,
    number: u64,
    caller: &Caller,
    kernel: Kernel,
    (target, flags, data): Arguments<'_>,
) -> Result<Outcome> {
    if !caller.may(CapabilitySet::SYS_ADMIN, &["mnt", kernel.namespace()])? {
        return Ok(Outcome::Continue);
    }
    let place = Place::new(caller, libc::AT_FDCWD, target)?;
    let seen = seen(world, caller, kernel, Atime::asked(flags))?;
    if seen == Visible::No {
        return Ok(Outcome::Continue);
    }
    // Whose own is read-only gets a read-only one, where the kernel would give none that can be written to.
    let read_only = flags & libc::MS_RDONLY != 0 || seen == Visible::ReadOnly;
    world.come_home()?;
    let tree = world.locked(number, |staging| {
        // Names below /proc/sys are those of these two.
        caller.join("net", LinkNameSpaceType::Network)?;
        caller.join("ipc", LinkNameSpaceType::InterProcessCommunication)?;
        let (made, after) = superblock(caller, kernel, read_only, data)?;
        made.set_flags(Atime::asked(flags).attributes(), false).map_err(number_of)?;
        made.attach_at(staging)?;
        rustix::process::fchdir(made.fd())?;
        world
            .covers
            .iter()
            .filter(|cover| cover.of == kernel)
            .try_for_each(|cover| cover.put(world, caller.view, &made))?;
        if !after.is_empty() {
            made.reconfigure(&after).map_err(number_of)?;
        }
        if seen == Visible::ReadOnly {
            made.set_flags(READ_ONLY, true).map_err(number_of)?;
        }
        Ok(made)
    })?;
    // What the caller asked for, it may undo.
    tree.set_flags(option::attributes(flags), false).map_err(number_of)?;
    if read_only {
        tree.set_flags(READ_ONLY, true).map_err(number_of)?;
    }
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    caller.enter()?;
    let target = place.open(OFlags::empty(), false)?;
    attach(world, &tree, &target)?;
    Ok(Outcome::Done)
}

/// What the caller's mount namespace shows, which this process is in then. Where that is everything, it is where everybody looks,
/// as a rule, and of all other mounts nothing need be known.
#[expect(
    clippy::disallowed_methods,
    reason = "in the caller's root, and nothing but a mount id is taken of what is found"
)]
fn seen(world: &World, caller: &Caller, kernel: Kernel, atime: Atime) -> Result<Visible> {
    let root = caller.link("root")?;
    caller.join("mnt", LinkNameSpaceType::Mount)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let usual = openat2(root, kernel.place(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let below = usual.ok().and_then(Mounts::below);
    if below.is_some_and(|mounts| visible(world, &mounts, kernel, atime) == Visible::Yes && !mounts.have_changed()) {
        return Ok(Visible::Yes);
    }
    // The kernel looks under a lock. Here a mount that is taken away meanwhile looks as if nobody could take it away, and one of which
    // the first half was read as if nothing masked it.
    for _ in 0..LOOKS {
        let mounts = Mounts::read(world)?;
        let found = visible(world, &mounts, kernel, atime);
        if !mounts.have_changed() {
            return Ok(found);
        }
    }
    Ok(Visible::No)
}

/// How often mounts are looked at that change all the time: each look takes about a millisecond.
const LOOKS: u32 = 100;

/// Attaches a tree as mount(2) does (`do_add_mount()` of fs/namespace.c), whose errors move_mount(2) has not.
fn attach(world: &World, tree: &Detached, target: &OwnedFd) -> Result<()> {
    if !is_directory(target.as_fd()) {
        return Err(Errno::NOTDIR);
    }
    // The same filesystem at the same place; but a plain bind of `/` brings that one along, which the kernel's own does not.
    let is_there = mountinfo::same_superblock(target, tree.fd())? && mountinfo::id_of_root(target)?.is_some();
    if is_there && !is_locked(world, target) {
        return Err(Errno::BUSY);
    }
    tree.attach_at(target)
}

/// The filesystem itself, of the caller's namespaces, and the options that it is to be given once it has its covers: with
/// `subset=pid` there is nothing to cover, and its owner can take that back (`proc_parse_subset_param()` of fs/proc/root.c
/// reads `,` as no subset).
fn superblock(caller: &Caller, kernel: Kernel, read_only: bool, data: &[u8]) -> Result<(Detached, Options)> {
    let mut options = option::split(data)?;
    if kernel == Kernel::Sysfs {
        // It is one for all of a network namespace, so that only a mount of it is read-only.
        let made = Detached::filesystem(kernel.name(), Some(kernel.name()), &options, &[]).map_err(number_of)?;
        return Ok((made, Vec::new()));
    }
    for (key, value) in &mut options {
        if let ("gid", Some(group)) = (key.as_str(), &value) {
            let group = group.parse().map_err(|_| Errno::INVAL)?;
            *value = Some(caller.host_group(group)?.to_string());
        }
        // `pidns` is not the caller's to say here: it would name a file of ours.
        if key == "pidns" || key == "source" {
            return Err(Errno::INVAL);
        }
    }
    if read_only {
        options.push(("ro".to_owned(), None));
    }
    let (after, options): (Options, Options) = options.into_iter().partition(|(key, _)| key == "subset");
    let pid = caller.namespace("pid")?;
    let made = Detached::procfs_of(pid.as_fd(), &options).map_err(number_of)?;
    Ok((made, after))
}
