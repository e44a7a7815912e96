//! `/dev`: a tmpfs of our own with the nodes that the runtime spec promises, the spec's devices, and the console.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::plan::{ContainerPath, DeviceKind, DeviceNode, DeviceOwner, Mount, MountFlags, MountKind};
use rustix::fs::{FileType, Mode, OFlags, Uid, makedev};
use userns::mount::Detached;
use userns::tree::{Node, Tree};

use super::message::Failure;
use super::mounts::Builder;
use super::terminal::{self, Terminal};

/// Where it is.
pub(super) const DEV: &str = "/dev";

/// Runtime spec, config-linux, "Default Devices": name, major, minor.
const DEFAULT_NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The number of `/dev/null`.
pub(super) const NULL: (u32, u32) = (1, 3);

/// Runtime spec, "Dev symbolic links", and `ptmx` of the container's own devpts.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The `/dev` of a spec that has none.
pub(super) fn default_mount() -> Result<Mount, Failure> {
    let value = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    Ok(Mount {
        destination: path(DEV)?,
        kind: MountKind::Tmpfs { data: vec![value("mode", "755"), value("size", "65536k")] },
        flags: MountFlags { set: libc::MOUNT_ATTR_NOSUID, clear: 0 },
        recursive_flags: MountFlags::default(),
        propagation: None,
        copy_up: false,
        index: usize::MAX,
    })
}

/// Fills `/dev`. Returns the terminal, when the process has one.
///
/// A `/dev` that the spec binds from elsewhere is left as it is: its nodes are the user's choice.
#[expect(clippy::disallowed_methods, reason = "single names below a descriptor of our own tmpfs")]
pub(super) fn populate(builder: &Builder<'_>) -> Result<Option<Terminal>, Failure> {
    let plan = &builder.order.plan;
    let dev = builder.own_dev();
    if let Some(dev) = &dev {
        for (name, major, minor) in DEFAULT_NODES {
            match builder.own_device(&format!("{DEV}/{name}"), DeviceKind::Char, (major, minor)) {
                Some(own) => bind(&own, dev.as_fd(), name)?,
                None => node(dev.as_fd(), name, FileType::CharacterDevice, (major, minor), 0o666)?,
            }
        }
        for (name, target) in LINKS {
            match rustix::fs::symlinkat(target, dev.as_fd(), name) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(Failure::at("link", format!("/dev/{name}"))(errno)),
            }
        }
    }
    for device in &plan.devices {
        make(builder, device, dev.as_ref())?;
    }
    if !plan.process.terminal {
        return Ok(None);
    }
    console(builder).map(Some)
}

/// A node in a directory, owned by the container's root (this process's filesystem ids).
#[expect(clippy::disallowed_methods, reason = "single names below a descriptor of our own tmpfs")]
fn node(
    directory: BorrowedFd<'_>,
    name: &str,
    kind: FileType,
    (major, minor): (u32, u32),
    mode: u32,
) -> Result<(), Failure> {
    match rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(mode), makedev(major, minor)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(Failure::at("make device", name)(errno)),
    }
}

/// A bind of a node that there is, over an empty file in a directory.
fn bind(own: &OwnedFd, directory: BorrowedFd<'_>, name: &str) -> Result<(), Failure> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o666)) {
        Ok(place) => Detached::clone_of(own, false, name)?.attach_at(place).map_err(Failure::at("make device", name)),
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(Failure::at("make device", name)(errno)),
    }
}

/// A device of the spec. Its node is made in our own `/dev`; one with another place lies on a filesystem of our own and is
/// bound to its place: nothing is left in the image's tree but, where the image has no such file, an empty one.
fn make(builder: &Builder<'_>, device: &DeviceNode, dev: Option<&OwnedFd>) -> Result<(), Failure> {
    let owner = match device.owner {
        DeviceOwner::Container { uid, gid } => {
            builder.order.id_map.to_host(uid).zip(builder.order.id_map.to_host(gid)).ok_or_else(|| {
                Failure::line(format!("make device {}: its owner is not an id of the container", device.path))
            })?
        }
        DeviceOwner::Host { uid, gid } => (uid, gid),
    };
    let number = (device.major, device.minor);
    if let Some(own) = builder.own_device(device.path.as_str(), device.kind, number) {
        return bind_at(builder, device, Detached::clone_of(own, false, device.path.as_str())?);
    }
    if let Some((parent, name)) = device.path.as_str().rsplit_once('/')
        && let Some(dev) = dev
        && device.path.starts_with(&path(DEV)?)
    {
        let parent = builder.tree.mountpoint_dir(&path(parent)?)?;
        let own = rustix::fs::fstat(dev).map_err(Failure::at("stat", DEV))?;
        if parent.stat()?.st_dev == own.st_dev {
            parent.mknod(name, device.kind, number, device.mode, owner)?;
            return Ok(());
        }
    }
    let name = device.path.as_str().replace('/', "-");
    let scratch = rustix::io::fcntl_dupfd_cloexec(builder.scratch.fd(), 3).map_err(Failure::at("keep", "a tmpfs"))?;
    let made =
        Tree::new(scratch).open(&ContainerPath::root())?.mknod(&name, device.kind, number, device.mode, owner)?;
    bind_at(builder, device, Detached::clone_of(made, false, device.path.as_str())?)
}

/// Attaches a clone of a node to a device's place.
fn bind_at(builder: &Builder<'_>, device: &DeviceNode, node: Detached) -> Result<(), Failure> {
    let place = builder.tree.mountpoint_file(&device.path)?;
    builder
        .check_place(&place, &device.path)
        .map_err(|failure| Failure::line(format!("make device {}: {}", device.path, failure.line)))?;
    Ok(node.attach(&place)?)
}

/// A device of the `/dev` that we see ourselves, at that place, of this kind and number.
///
/// In a user namespace nobody may make one (mknod(2)), and a node that another eci makes on behalf is that of an unlinked
/// file, which the kernel lets nobody mount again (`d_set_mounted()` of fs/dcache.c). A bind of ours has the owner and the mode
/// that this one has.
pub(super) fn own(path: &str, kind: DeviceKind, (major, minor): (u32, u32)) -> Option<OwnedFd> {
    let kind = match kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        // That one can be made.
        DeviceKind::Fifo => return None,
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&node).ok()?;
    let is_it = FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == makedev(major, minor);
    is_it.then_some(node)
}

/// The terminal and `/dev/console`, both of the container's own devpts.
fn console(builder: &Builder<'_>) -> Result<Terminal, Failure> {
    let process = &builder.order.plan.process;
    let devpts = builder.tree.open(&path("/dev/pts")?)?;
    let devpts =
        rustix::fs::openat(devpts.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Failure::at("open", "/dev/pts"))?;
    let terminal = terminal::open(devpts.as_fd(), process.console_size)?;
    let owner = builder.order.id_map.to_host(process.uid).map(Uid::from_raw);
    rustix::fs::fchown(&terminal.slave, owner, None).map_err(Failure::at("change the owner of", "the terminal"))?;
    let console = path("/dev/console")?;
    let place: Node = builder.tree.mountpoint_file(&console)?;
    builder.check_place(&place, &console).map_err(|failure| Failure::line(format!("{console}: {}", failure.line)))?;
    Detached::clone_of(&terminal.slave, false, "the terminal")?.attach(&place)?;
    Ok(terminal)
}

/// What masked paths are covered with.
pub(super) struct Covers {
    file: OwnedFd,
    directory: OwnedFd,
}

impl Covers {
    /// A null device (`null` where one cannot be made) and an empty directory, read-only, on a tmpfs of our own.
    #[expect(clippy::disallowed_methods, reason = "single names below a descriptor of our own tmpfs")]
    pub(super) fn new(scratch: &Detached, null: Option<OwnedFd>) -> Result<Self, Failure> {
        rustix::fs::mkdirat(scratch.fd(), "empty", Mode::from_raw_mode(0o555))
            .map_err(Failure::at("make", "a mask"))?;
        let open = |name| open_path(scratch.fd(), name).map_err(Failure::at("open", "a mask"));
        let file = match null {
            Some(null) => null,
            None => {
                node(scratch.fd(), "null", FileType::CharacterDevice, NULL, 0o666)?;
                open("null")?
            }
        };
        Ok(Self { file, directory: open("empty")? })
    }

    /// One cover, ready to be attached.
    pub(super) fn of(&self, directory: bool) -> Result<Detached, Failure> {
        let source = if directory { &self.directory } else { &self.file };
        let cover = Detached::clone_of(source, false, "a mask")?;
        let hard = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        cover.set_flags(MountFlags { set: hard, clear: 0 }, false)?;
        Ok(cover)
    }
}

/// A tmpfs for what is bound to its place from outside the tree. The caller attaches it where the root will cover it:
/// mounts can be cloned only from attached ones (before Linux 6.15).
pub(super) fn scratch() -> Result<Detached, Failure> {
    Ok(Detached::filesystem("tmpfs", Some("tmpfs"), &[("mode".into(), Some("755".into()))], &[])?)
}

fn open_path(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A path of our own choice.
pub(super) fn path(text: &str) -> Result<ContainerPath, Failure> {
    ContainerPath::parse(text).map_err(|reason| Failure::line(format!("{text} {reason}")))
}
