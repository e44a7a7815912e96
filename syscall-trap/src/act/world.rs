//! What the helper keeps between acts.
//!
//! Its mount namespace (*A*) has none of the host's mounts: a tmpfs with what covers show, and a shared one, `/t`. A second
//! mount namespace (*B*), in which no process lives, belongs to the container's user namespace and is a slave of the first:
//! what is attached below `/t` appears in B with everything below it locked by the kernel (`attach_recursive_mnt()` and
//! `lock_mnt_tree()` of fs/namespace.c), and a clone that is taken there keeps the locks. So no act needs to make a
//! namespace.
//!
//! Main types: [`Setup`], [`World`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use userns::mount::Detached;
use userns::mountinfo::MountEntry;

use super::cover::READ_ONLY;
use super::running::Running;
use super::spare::Spare;
use super::tidy::Tidier;
use super::{Cover, Result, number_of};
use crate::sys::process::{self as sys, Forked};

/// What a [`World`] is made from.
#[derive(Debug)]
pub struct Setup {
    /// The container's user namespace.
    pub user: OwnedFd,
    /// The container's network namespace.
    pub net: OwnedFd,
    /// What lies over files of a new procfs or sysfs.
    pub covers: Vec<Cover>,
    /// The roots of the emulated files' filesystems: detached mounts.
    pub emulated: Vec<OwnedFd>,
    /// Devices that may be made: major and minor number.
    pub devices: Vec<(u32, u32)>,
    /// How long an act may take. A filesystem of the container's own can make it wait for ever.
    pub limit: Duration,
}

/// What the helper keeps.
#[derive(Debug)]
pub struct World {
    /// A procfs of the helper's pid namespace, which is attached nowhere.
    pub(super) proc: OwnedFd,
    pub(super) user: OwnedFd,
    pub(super) net: OwnedFd,
    /// The helper's own mount namespace.
    own: OwnedFd,
    /// The one in which mounts are locked.
    locking: OwnedFd,
    pub(super) covers: Vec<Cover>,
    /// None where there are none, and where the kernel gives those of the container only once (before Linux 6.15).
    pub(super) emulated: Vec<Emulated>,
    pub(super) null: OwnedFd,
    empty: OwnedFd,
    /// The superblock on which devices are made, as mountinfo names it.
    made_on: String,
    pub(super) devices: Vec<(u32, u32)>,
    pub(super) limit: Duration,
    pub(super) tidier: Tidier,
    pub(super) running: Vec<Running>,
    pub(super) spare: Option<Spare>,
    pub(super) count: u64,
}

/// A filesystem of emulated files.
#[derive(Debug)]
pub(super) struct Emulated {
    /// As mountinfo names the superblock.
    pub(super) device: String,
}

/// Where a filesystem of emulated files is attached, in A.
pub(super) fn place_of_emulated(number: usize) -> String {
    format!("/emulated-{number}")
}

/// Where a new filesystem is given its covers, in A.
pub(super) const STAGING: &str = "/s";
/// What B sees.
pub(super) const SHARED: &str = "/t";
/// Where device nodes are made.
pub(super) const DEVICES: &str = "/d";

impl World {
    /// Leaves the host's mounts for ever, and makes both namespaces. For a process with one thread and the host's rights, of the
    /// host's pid namespace, which becomes non-dumpable.
    ///
    /// # Errors
    /// The kernel's answer to the step that failed.
    pub fn new(setup: Setup) -> Result<Self> {
        use rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(NotDumpable)?;
        // Whatever an act's process leaves is reaped here.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        rustix::process::umask(Mode::empty());
        let proc = Detached::filesystem("proc", Some("proc"), &[], &[]).map_err(number_of)?.into_fd();
        leave_the_host()?;
        let (null, empty) = furnish()?;
        // Those of a stage that has died went with its mount namespace, where they could only be moved there.
        let emulated = match setup.emulated.into_iter().enumerate().map(adopt).collect::<Result<_>>() {
            Err(Errno::INVAL) => Vec::new(),
            emulated => emulated?,
        };
        let own = open(proc.as_fd(), "thread-self/ns/mnt")?;
        let locking = locking_namespace(proc.as_fd(), setup.user.as_fd())?;
        let mut covers = setup.covers;
        // Parents first; of two at one place, the later one on top.
        covers.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self {
            proc,
            user: setup.user,
            net: setup.net,
            own,
            locking,
            covers,
            emulated,
            made_on: device_of(null.as_fd())?,
            null,
            empty,
            devices: setup.devices,
            limit: setup.limit,
            tidier: Tidier::new()?,
            running: Vec::new(),
            spare: None,
            count: 0,
        })
    }

    /// What hides a file, or a directory.
    pub(super) fn nothing(&self, directory: bool) -> BorrowedFd<'_> {
        if directory { self.empty.as_fd() } else { self.null.as_fd() }
    }

    /// Whether a mount stands for a device node that was made by [`World::device`].
    pub(super) fn is_device(&self, mount: &MountEntry) -> bool {
        mount.device == self.made_on && mount.root.starts_with(DEVICES)
    }

    /// Returns from a caller's mount namespace to A.
    pub(super) fn come_home(&self) -> Result<()> {
        move_into_link_name_space(self.own.as_fd(), Some(LinkNameSpaceType::Mount))
    }

    /// Has `make` attach a filesystem of act `number`'s to a directory and put on it what belongs there, and returns the
    /// whole as a container may have it: with everything below its top locked, and the flags of the top, too. The process is in B
    /// then.
    #[expect(clippy::disallowed_methods, reason = "our own tmpfs")]
    pub(super) fn locked(&self, number: u64, make: impl FnOnce(OwnedFd) -> Result<Detached>) -> Result<Detached> {
        let place = |directory: &str| -> Result<OwnedFd> {
            let path = format!("{directory}/{number}");
            rustix::fs::mkdirat(CWD, &path, Mode::RWXU)?;
            rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        };
        let made = make(place(STAGING)?)?;
        // As one tree, since the top of what is propagated is not locked itself.
        made.attach_at(place(SHARED)?)?;
        move_into_link_name_space(self.locking.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let at = rustix::fs::openat(
            CWD,
            format!("{SHARED}/{number}"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let locked = Detached::clone_of(at, true, "a tree").map_err(number_of)?;
        locked.set_propagation(policy::plan::Propagation::Private, true).map_err(number_of)?;
        Ok(locked)
    }

    /// A device node of act `number`'s, of this mode (with the caller's filesystem ids as its owner), that the process can bind
    /// somewhere. In A.
    #[expect(clippy::disallowed_methods, reason = "our own tmpfs")]
    pub(super) fn device(&self, number: u64, mode: Mode, device: u64) -> Result<Detached> {
        let path = format!("{DEVICES}/{number}");
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, device)?;
        let node = rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Detached::clone_of(node, false, "a device").map_err(number_of)
    }
}

/// A mount namespace with nothing but a tmpfs.
#[expect(clippy::disallowed_methods, reason = "in a mount namespace of our own")]
fn leave_the_host() -> Result<()> {
    sys::unshare(UnshareFlags::NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = tmpfs()?;
    root.attach_at(open(CWD, "/")?)?;
    rustix::process::fchdir(root.fd())?;
    // "." over ".": pivot_root(2), NOTES.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Makes what A has. Returns what covers show that hide.
#[expect(clippy::disallowed_methods, reason = "our own tmpfs")]
fn furnish() -> Result<(OwnedFd, OwnedFd)> {
    for (directory, mode) in [(STAGING, 0o700), (SHARED, 0o755), ("/e", 0o555), (DEVICES, 0o777)] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(mode))?;
    }
    rustix::fs::mknodat(CWD, "/null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    let shared = tmpfs()?;
    shared.set_propagation(policy::plan::Propagation::Shared, false).map_err(number_of)?;
    shared.attach_at(open(CWD, SHARED)?)?;
    // A mount of its own, so that a clone of it is read-only for good.
    let empty = Detached::clone_of_path("/e".as_ref(), false).map_err(number_of)?;
    empty.set_flags(READ_ONLY, false).map_err(number_of)?;
    empty.attach_at(open(CWD, "/e")?)?;
    Ok((open(CWD, "/null")?, empty.into_fd()))
}

fn tmpfs() -> Result<Detached> {
    let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let options = [option("mode", "755"), option("size", "1m")];
    Detached::filesystem("tmpfs", Some("eci"), &options, &[]).map_err(number_of)
}

/// Attaches the emulated files in A, where each can be cloned. The mount is cloned itself where the kernel lets detached ones
/// be (Linux 6.15), so that another helper can be given it after this one; else it is moved.
#[expect(clippy::disallowed_methods, reason = "our own tmpfs")]
fn adopt((number, mount): (usize, OwnedFd)) -> Result<Emulated> {
    let place = place_of_emulated(number);
    rustix::fs::mkdirat(CWD, &place, Mode::RWXU)?;
    let clone = Detached::clone_of(&mount, false, "the emulated files");
    let mount = clone.unwrap_or_else(|_| Detached::from_fd(mount, "the emulated files"));
    mount.attach_at(open(CWD, &place)?)?;
    Ok(Emulated { device: device_of(mount.fd())? })
}

/// The superblock of a file, as mountinfo names it.
fn device_of(file: BorrowedFd<'_>) -> Result<String> {
    let device = rustix::fs::fstat(file)?.st_dev;
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Makes B: a copy of A in the container's user namespace.
fn locking_namespace(proc: BorrowedFd<'_>, user: BorrowedFd<'_>) -> Result<OwnedFd> {
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (wait, done) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::fork()? {
        Forked::Child => {
            drop(done);
            let made = move_into_link_name_space(user, Some(LinkNameSpaceType::User))
                .and_then(|()| sys::unshare(UnshareFlags::NEWNS))
                .and_then(|()| rustix::io::write(&tell, b"."));
            if made.is_ok() {
                let _end = rustix::io::read(&wait, &mut [0_u8; 1]);
            }
            sys::exit(0)
        }
        Forked::Parent(pid) => {
            drop(tell);
            let made = rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut [0_u8; 1]));
            let namespace = match made {
                Ok(1) => open(proc, &format!("{}/ns/mnt", pid.as_raw_nonzero())),
                _ => Err(Errno::PERM),
            };
            drop(done);
            rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()))?;
            namespace
        }
    }
}

fn open(directory: impl AsFd, path: &str) -> Result<OwnedFd> {
    // A namespace cannot be opened with O_PATH and joined.
    let flags = if path.contains("/ns/") { OFlags::RDONLY } else { OFlags::PATH };
    rustix::fs::openat(directory, path, flags | OFlags::CLOEXEC, Mode::empty())
}
