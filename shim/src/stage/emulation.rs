//! The files of /proc and /sys that tell of the container where the kernel tells of the host: each is bound over the
//! container's own.
//!
//! [`mount`] makes their filesystems when the stage has init at work, and hands the shim the devices, so that its loops run by
//! the time [`Emulated::bind`] needs them. Invariant: no path of ours touches the mounts before the shim has said that they are
//! served, as whoever looks a name up there waits for an answer; and a device is nowhere but in the shim after that: when
//! the shim dies the files answer ENOTCONN.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fsemu::table::{Kind, Node, Part};
use policy::plan::{Mount, MountFlags, MountKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, statx};
use rustix::io::Errno;
use userns::mount::Detached;
use userns::mountinfo::MountEntry;

use super::build::tell;
use super::channel::Channel;
use super::dev::path;
use super::message::{BuildOrder, EmulationServed, Failure, Report};
use super::mounts::{Builder, RDONLY};

/// The filesystems that the files of one container are on, in the order in which their devices are sent to the shim.
pub(crate) const PARTS: [Part; 2] = [Part::Cached, Part::Direct];

/// Where procfs and sysfs are mounted.
const PLACES: [&str; 2] = ["/proc", "/sys"];

/// The filesystems of emulated files, which are nowhere yet: one for each part.
pub(super) struct Emulated(Vec<(Part, Detached)>);

/// A filesystem of emulated files that is attached, by its root.
struct Shown {
    part: Part,
    root: OwnedFd,
}

/// Makes them, and has the shim serve them. None where the kernel has no FUSE, which is a note for the log, and where a
/// container has neither procfs nor sysfs.
pub(super) fn mount(control: &Channel, order: &BuildOrder) -> Result<Option<Emulated>, Failure> {
    if PLACES.iter().all(|place| mounted(order, place).is_none()) {
        return Ok(None);
    }
    let made: userns::Result<Vec<_>> = PARTS.iter().map(|part| Ok((*part, fsemu::fuse::mount()?))).collect();
    match made {
        Ok(made) => {
            let devices: Vec<_> = made.iter().map(|(_, (_, device))| device.as_fd()).collect();
            tell(control, &Report::Emulation, &devices)?;
            Ok(Some(Emulated(made.into_iter().map(|(part, (mount, _))| (part, mount)).collect())))
        }
        Err(cause) => {
            tell(control, &Report::Note(format!("runs without emulated files: {cause}")), &[])?;
            Ok(None)
        }
    }
}

/// What the kernel keeps for the container itself, by path: init's part, which is in all its namespaces. Neither the build stage nor
/// whoever acts later is in its pid namespace. `proc` is any procfs: `/proc/sys` goes by who looks.
pub(super) fn native(proc: BorrowedFd<'_>) -> Vec<String> {
    let look = |path: &str| {
        let path = path.strip_prefix("/proc/")?;
        let found = statx(proc, path, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
        Some((found.stx_uid, found.stx_mode.into()))
    };
    // As its user namespace names it.
    let root = 0;
    fsemu::table::native(root, look)
}

impl Emulated {
    /// Binds each file over the one that it stands for, where that is the kernel's, and shows the host's value: not where the
    /// spec has mounted something, nor where the kernel itself has a value of the container's ([`native`]).
    pub(super) fn bind(self, control: &Channel, builder: &Builder<'_>, native: Vec<String>) -> Result<(), Failure> {
        match control.receive::<EmulationServed>().map_err(Failure::at("wait for", "the emulated files"))? {
            Some((EmulationServed(true), _)) => {}
            // The shim knows why.
            Some((EmulationServed(false), _)) => return Ok(()),
            // The shim is gone, or has given the container up.
            None => std::process::exit(1),
        }
        // Of a mount that was never attached, which Linux 6.15 and later can clone: what comes of that can be cloned again
        // in any mount namespace (`may_copy_tree()` of fs/namespace.c), by one act stage after another.
        let mut clones: Vec<_> = self.0.iter().filter_map(|(_, mount)| clone(mount).ok()).collect();
        let shown =
            self.0.iter().map(|(part, mount)| show(*part, mount, builder.scratch)).collect::<Result<Vec<_>, _>>()?;
        if clones.len() < self.0.len() {
            clones = self.0.iter().map(|(_, mount)| clone(mount)).collect::<userns::Result<_>>()?;
        }
        let bound: Vec<_> = fsemu::table::bound(&native).collect();
        hand_over(control, &clones, native)?;
        let outer = if builder.order.nested { of_outer_eci()? } else { Vec::new() };
        for place in PLACES {
            let Some(spec) = mounted(builder.order, place) else { continue };
            let read_only = MountFlags { set: spec.flags.set & RDONLY, clear: 0 };
            let Some(top) = builder.tree.try_open(&path(place)?)? else { continue };
            let mount = look(&top, place)?.stx_mnt_id;
            // The last directory is that of the next node, as a rule.
            let mut last = None;
            for node in bound.iter().filter(|node| is_below(node, place)) {
                let Some((directory, name)) = node.path.rsplit_once('/') else { continue };
                let parent = match last.take() {
                    Some((of, parent)) if of == directory => parent,
                    _ => builder.tree.try_open(&path(directory)?)?,
                };
                let root = shown.iter().find(|shown| shown.part == node.part()).map(|shown| shown.root.as_fd());
                if let (Some(parent), Some(root)) = (&parent, root) {
                    cover(root, node, &Spot { parent, name, mount, outer: &outer, read_only })?;
                }
                last = Some((directory, parent));
            }
        }
        Ok(())
    }
}

/// Attaches a part where no container has a path to, as mounts can be cloned only from attached ones (before Linux 6.15), and
/// returns its root, of which every entry has been read once: a lookup asks the shim no more.
#[expect(clippy::disallowed_methods, reason = "a single name on a tmpfs of our own")]
fn show(part: Part, mount: &Detached, scratch: &Detached) -> Result<Shown, Failure> {
    let name = format!("emulated-{part:?}");
    rustix::fs::mkdirat(scratch.fd(), &name, Mode::RWXU).map_err(Failure::at("make a place for", "emulated files"))?;
    let open = |directory, name: &str, flags| {
        rustix::fs::openat(directory, name, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    open(scratch.fd(), &name, OFlags::PATH)
        .and_then(|place| mount.attach_at(place))
        .map_err(Failure::at("mount", "the emulated files"))?;
    let read = || -> rustix::io::Result<OwnedFd> {
        let root = open(mount.fd(), ".", OFlags::RDONLY)?;
        // Room for all of them, and none is asked for after the last: each call is a question to the shim.
        let mut entries = vec![MaybeUninit::uninit(); 64 << 10];
        let mut entries = RawDir::new(&root, &mut entries);
        for _ in 0..2 + fsemu::table::tops().filter(|node| node.part() == part).count() {
            entries.next().transpose()?;
        }
        Ok(root)
    };
    Ok(Shown { part, root: read().map_err(Failure::at("list", "the emulated files"))? })
}

/// Gives the shim the mounts, for new ones of procfs and sysfs in the container: clones, which are attached nowhere.
fn hand_over(control: &Channel, clones: &[Detached], native: Vec<String>) -> Result<(), Failure> {
    let clones: Vec<_> = clones.iter().map(Detached::fd).collect();
    tell(control, &Report::Emulated { native }, &clones)
}

fn clone(mount: &Detached) -> userns::Result<Detached> {
    Detached::clone_of(mount.fd(), false, mount.name())
}

/// Where a node may be bound.
struct Spot<'a> {
    parent: &'a userns::tree::Node,
    name: &'a str,
    /// The id of the mount that it must be on, as the kernel's own.
    mount: u64,
    /// The filesystems that it may be on instead ([`of_outer_eci`]).
    outer: &'a [(u32, u32)],
    /// Whether that is to be read-only.
    read_only: MountFlags,
}

/// Binds one entry of `root` over a file, if that is one of the host's.
fn cover(root: BorrowedFd<'_>, node: &Node, spot: &Spot<'_>) -> Result<(), Failure> {
    let Some(place) = there(spot.parent.child(spot.name))? else { return Ok(()) };
    let found = look(&place, node.path)?;
    let is_directory = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory;
    let alike = is_directory == matches!(node.kind, Kind::Empty | Kind::Mirror(_));
    let is_the_hosts =
        found.stx_mnt_id == spot.mount || spot.outer.contains(&(found.stx_dev_major, found.stx_dev_minor));
    if !is_the_hosts || !alike {
        return Ok(());
    }
    match there(Detached::clone_at(root, &node.name()))? {
        Some(clone) => {
            clone.set_flags(spot.read_only, false)?;
            Ok(clone.attach(&place)?)
        }
        None => Ok(()),
    }
}

/// In a container of eci's, the filesystems of the emulated files of that one: a procfs or sysfs that is mounted there comes
/// with them, and they tell of the outer container.
fn of_outer_eci() -> Result<Vec<(u32, u32)>, Failure> {
    let is_theirs = |mount: &MountEntry| {
        (mount.fstype.as_str(), mount.source.as_str()) == ("fuse", fsemu::fuse::SOURCE)
            && PLACES.iter().any(|place| mount.mount_point.starts_with(place))
    };
    let device = |mount: MountEntry| {
        let (major, minor) = mount.device.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let mut found: Vec<_> = userns::mountinfo::read()?.into_iter().filter(is_theirs).filter_map(device).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// None for what this kernel does not have.
fn there<T>(found: userns::Result<T>) -> Result<Option<T>, Failure> {
    match found {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// What the spec mounts there, if it is procfs or sysfs, and no bind mount: who binds the host's wants to see the host's.
fn mounted<'a>(order: &'a BuildOrder, place: &str) -> Option<&'a Mount> {
    let last = order.plan.mounts.iter().rfind(|mount| mount.destination.as_str() == place)?;
    matches!(last.kind, MountKind::Proc { .. } | MountKind::Sysfs).then_some(last)
}

fn is_below(node: &Node, place: &str) -> bool {
    node.path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

fn look(fd: impl AsFd, path: &str) -> Result<Statx, Failure> {
    statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID).map_err(Failure::at("stat", path))
}
