//! Covers: what lies over files of a procfs or sysfs that the container or one of its inner containers mounts.
//!
//! Main type: [`Cover`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use userns::mount::{Detached, open_below};
use userns::mountinfo::MountEntry;

use super::world::Emulated;
use super::{Result, World, number_of};
use policy::plan::MountFlags;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// The kernel's two filesystems that have covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    /// proc(5)
    Proc,
    /// sysfs(5)
    Sysfs,
}

/// One file or directory that is covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// In which filesystem.
    pub of: Kernel,
    /// Where, relative to its root. What does not exist is not covered.
    pub path: PathBuf,
    /// By what.
    pub shows: Shows,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Whether it lies in the container's own filesystem and in no other: it hides nothing there, and is not put on new ones.
    pub own_only: bool,
}

/// What a [`Cover`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shows {
    /// Nothing: a null device, or an empty directory.
    Nothing,
    /// What is there anyway, with all that is mounted below.
    Itself,
    /// An entry of the root directory of a filesystem of emulated files.
    Emulated {
        /// Which of [`super::Setup::emulated`].
        filesystem: usize,
        /// Its name there.
        name: String,
    },
}

impl Kernel {
    /// As filesystems(5) has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
        }
    }

    /// The namespace that decides what a new one shows, and whose owner may mount it.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::Proc => "pid",
            Self::Sysfs => "net",
        }
    }

    /// Directories that are empty for good, for others to mount on (`proc_create_mount_point`, `sysfs_create_mount_point`):
    /// what lies on them hides nothing.
    pub(super) fn is_empty_for_good(self, path: &Path) -> bool {
        let list: &[&str] = match self {
            Self::Proc => &["fs/nfsd", "sys/fs/binfmt_misc"],
            Self::Sysfs => &[
                "firmware/efi/efivars",
                "fs/bpf",
                "fs/cgroup",
                "fs/fuse/connections",
                "fs/pstore",
                "fs/resctrl",
                "fs/selinux",
                "fs/smackfs",
                "hypervisor/s390",
                "kernel/config",
                "kernel/debug",
                "kernel/security",
                "kernel/tracing",
            ],
        };
        list.iter().any(|empty| path == Path::new(empty))
    }
}

impl Cover {
    /// Puts it on `tree`, a filesystem of its kind.
    pub(super) fn put(&self, world: &World, tree: &Detached) -> Result<()> {
        if self.own_only {
            return Ok(());
        }
        let place = match open_below(tree.fd(), &self.path) {
            // The kernel has no such file, or the mount's own options leave it out.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            place => place?,
        };
        let stat = rustix::fs::fstat(&place)?;
        let clone = match &self.shows {
            Shows::Itself => Detached::clone_of(&place, true, "a cover").map_err(number_of)?,
            Shows::Nothing => {
                let nothing = world.nothing(is_directory(&stat));
                Detached::clone_of(nothing, false, "a cover").map_err(number_of)?
            }
            Shows::Emulated { filesystem, name } => match emulated(world, *filesystem, name, &stat)? {
                Some(clone) => clone,
                None => return Ok(()),
            },
        };
        if self.read_only {
            clone.set_flags(READ_ONLY, self.shows == Shows::Itself).map_err(number_of)?;
        }
        clone.attach_at(place)
    }

    /// Whether `mount`, which lies at [`Cover::path`] of the mount `of`, hides no more than this cover does.
    pub(super) fn explains(&self, world: &World, mount: &MountEntry, of: &MountEntry) -> bool {
        match &self.shows {
            Shows::Nothing => true,
            Shows::Itself => mount.device == of.device && mount.root == Path::new("/").join(&self.path),
            Shows::Emulated { filesystem, name } => {
                let is_of = |emulated: &Emulated| mount.device == emulated.device;
                world.emulated.get(*filesystem).is_some_and(is_of) && mount.root == Path::new("/").join(name)
            }
        }
    }
}

/// `MOUNT_ATTR_RDONLY`.
pub(super) const READ_ONLY: MountFlags = MountFlags { set: libc::MOUNT_ATTR_RDONLY, clear: 0 };

/// A clone of an emulated file for the kernel's `place`. None where there is none, and where a namespace has a value of its own
/// at the place: root of its user namespace may write that.
fn emulated(world: &World, filesystem: usize, name: &str, place: &Stat) -> Result<Option<Detached>> {
    let Some(root) = world.emulated.get(filesystem) else { return Ok(None) };
    let is_its_own = place.st_uid != 0 && place.st_mode & 0o200 != 0;
    let entry = match open_below(root.fd(), Path::new(name)) {
        _ if is_its_own => return Ok(None),
        Err(Errno::NOENT) => return Ok(None),
        entry => entry?,
    };
    if is_directory(&rustix::fs::fstat(&entry)?) != is_directory(place) {
        return Ok(None);
    }
    Detached::clone_of(entry, false, "a cover").map(Some).map_err(number_of)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
