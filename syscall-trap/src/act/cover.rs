//! Covers: what lies over files of a procfs or sysfs that the container or one of its inner containers mounts.
//!
//! Main type: [`Cover`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use userns::mount::{Detached, open_below};
use userns::mountinfo::MountEntry;

use super::world::{Emulated, place_of_emulated};
use super::{Result, World, number_of};
use policy::plan::MountFlags;
use rustix::fs::{AtFlags, CWD, FileType};
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
        /// Whether a view has it too ([`super::World::begin`]).
        by_groups: bool,
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

    /// Where it is mounted, as a rule, below the root.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sys",
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
    /// Puts it on `tree`, a filesystem of its kind that is attached in A and is the working directory.
    /// For a caller with a `view`, an emulated file of that.
    pub(super) fn put(&self, world: &World, view: Option<u64>, tree: &Detached) -> Result<()> {
        if self.own_only {
            return Ok(());
        }
        if let Shows::Emulated { filesystem, name, by_groups } = &self.shows {
            // Without what it shows, nothing is to be had: the kernel's own file would be seen.
            world.emulated.get(*filesystem).ok_or(Errno::PERM)?;
            let mut directory = place_of_emulated(*filesystem);
            if let Some(view) = view.filter(|_| *by_groups) {
                directory.push_str(&format!("/{view}"));
            }
            return self.bind_emulated(&directory, name, tree);
        }
        let place = match open_below(tree.fd(), &self.path) {
            Err(errno) if is_not_there(errno) => return Ok(()),
            place => place?,
        };
        let itself = self.shows == Shows::Itself;
        let clone = if itself {
            Detached::clone_of(&place, true, "a cover").map_err(number_of)?
        } else {
            let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory;
            Detached::clone_of(world.nothing(is_directory), false, "a cover").map_err(number_of)?
        };
        if self.read_only {
            clone.set_flags(READ_ONLY, itself).map_err(number_of)?;
        }
        clone.attach_at(place)
    }

    /// Binds an emulated file by its path, in two calls instead of ten: there are scores of them for each new procfs. Nothing is
    /// put where there is no such file, or one of another type, nor where a namespace has a value of its own: root of its user
    /// namespace may write that.
    #[expect(
        clippy::disallowed_methods,
        reason = "names of the table's: none is a link in procfs or sysfs, and no process of the container's sees A"
    )]
    fn bind_emulated(&self, directory: &str, name: &str, tree: &Detached) -> Result<()> {
        let stat = match rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(errno) if is_not_there(errno) => return Ok(()),
            stat => stat?,
        };
        let is_its_own = stat.st_uid != 0 && stat.st_mode & 0o200 != 0;
        if is_its_own || FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Ok(());
        }
        match rustix::mount::mount_bind(format!("{directory}/{name}"), &self.path) {
            Err(errno) if is_not_there(errno) => Ok(()),
            Ok(()) if self.read_only => {
                let cover = Detached::from_fd(open_below(tree.fd(), &self.path)?, "a cover");
                cover.set_flags(READ_ONLY, false).map_err(number_of)
            }
            bound => bound,
        }
    }

    /// Whether `mount`, which lies at [`Cover::path`] of the mount `of`, hides no more than this cover does.
    pub(super) fn explains(&self, world: &World, mount: &MountEntry, of: &MountEntry) -> bool {
        match &self.shows {
            Shows::Nothing => true,
            Shows::Itself => mount.device == of.device && is_root(&mount.root, &self.path),
            // Of whatever view: an inner container's are those that its own inner containers find.
            Shows::Emulated { filesystem, name, by_groups } => {
                let is_of = |emulated: &Emulated| mount.device == emulated.device;
                let is_of_a_view = || *by_groups && mount.root.iter().count() == 3 && mount.root.ends_with(name);
                let is_it = is_root(&mount.root, name.as_ref());
                world.emulated.get(*filesystem).is_some_and(is_of) && (is_it || is_of_a_view())
            }
        }
    }
}

/// Whether the root of a mount is what `path`, relative to the filesystem's root, names.
fn is_root(root: &Path, path: &Path) -> bool {
    root.strip_prefix("/").is_ok_and(|root| root == path)
}

/// `MOUNT_ATTR_RDONLY`.
pub(super) const READ_ONLY: MountFlags = MountFlags { set: libc::MOUNT_ATTR_RDONLY, clear: 0 };

/// The kernel has no such file, or the mount's own options leave it out; or it is of another type (mount(2)).
fn is_not_there(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
