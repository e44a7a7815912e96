//! Executes the plan's mounts onto the container's tree: each is made detached, given its flags and its id map, and then
//! attached to a descriptor below the root; no path is resolved twice.

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::plan::{ContainerPath, DeviceKind, Mount, MountFlags, MountKind, NamespaceKind};
use rustix::fs::{AtFlags, FileType, Gid, PROC_SUPER_MAGIC, Uid};
use rustix::io::Errno;
use userns::child::with_children_in;
use userns::mount::Detached;
use userns::tree::{Node, Tree};

use super::binds::{Opened, Source, Sources, mount_failed};
use super::message::{BuildOrder, Failure};
use super::{copy_up, dev, namespaces, procfs};

/// `MOUNT_ATTR_RDONLY` of mount_setattr(2).
pub(super) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// fsconfig(2) keys and values.
pub(super) type Data = [(String, Option<String>)];

/// What building the tree takes.
pub(super) struct Builder<'a> {
    /// The container.
    pub(super) order: &'a BuildOrder,
    /// Its tree; the root mount is attached.
    pub(super) tree: &'a Tree,
    /// A tmpfs that no container has a path to.
    pub(super) scratch: &'a Detached,
    /// The host's procfs.
    pub(super) proc: BorrowedFd<'a>,
    /// Its init, as the host counts.
    pub(super) init: i32,
    /// Mounts that become read-only when the tree is complete: what is mounted or made below them comes first.
    late: RefCell<Vec<Detached>>,
    /// What procfs are to show less of when they have their masks: `subset=pid` can be taken back by their owner, who is the
    /// container's root (`proc_parse_subset_param()` of fs/proc/root.c reads `,` as no subset).
    subsets: RefCell<Vec<(Detached, Box<Data>)>>,
    /// The root of the tmpfs that was mounted on `/dev`, unless the spec binds something else there. A volume may have
    /// come to cover it since, through a symlink of the image, and gets no device nodes for that.
    dev: RefCell<Option<OwnedFd>>,
    /// What hides files and directories, once there is something to hide.
    covers: OnceCell<dev::Covers>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        order: &'a BuildOrder,
        tree: &'a Tree,
        scratch: &'a Detached,
        proc: BorrowedFd<'a>,
        init: i32,
    ) -> Self {
        let (late, subsets, dev, covers) = Default::default();
        Self { order, tree, scratch, proc, init, late, subsets, dev, covers }
    }

    /// Makes every mount of the spec, in its order, with the sources of those that are bind mounts, and a `/dev` of our own
    /// where the spec has none: device nodes never go to the image's tree.
    pub(super) fn mounts(&self, sources: Sources) -> Result<(), Failure> {
        if self.order.plan.mount_label.is_some() && !self.host_has_selinux()? {
            return Err(Failure::line("linux.mountLabel: this host has no SELinux"));
        }
        let mounts = &self.order.plan.mounts;
        if !mounts.iter().any(|mount| mount.destination.as_str() == dev::DEV) {
            self.attach_new(&dev::default_mount()?)?;
        }
        for (mount, source) in mounts.iter().zip(sources.0) {
            let made = match &source {
                Opened::Bind(source) => self.bind(mount, source),
                Opened::Layers(layers) => self.filesystem(mount, ("overlay", layers.source.as_deref()), &layers.data),
                Opened::Nothing => self.attach_new(mount),
            };
            made.map_err(|failure| mount_failed(mount, failure))?;
        }
        Ok(())
    }

    /// Whether the kernel has its filesystem (proc_filesystems(5)).
    fn host_has_selinux(&self) -> Result<bool, Failure> {
        let text = namespaces::read_below(self.proc, "filesystems")?;
        Ok(text.lines().any(|line| line.ends_with("\tselinuxfs")))
    }

    fn attach_new(&self, mount: &Mount) -> Result<(), Failure> {
        let (detached, at) = match &mount.kind {
            MountKind::Proc { data } => (self.procfs(data)?, self.plain_directory(&mount.destination)?),
            MountKind::Sysfs => (self.sysfs()?, self.plain_directory(&mount.destination)?),
            MountKind::Mqueue => (self.mqueue()?, self.tree.mountpoint_dir(&mount.destination)?),
            MountKind::Devpts { data } => (
                Detached::filesystem("devpts", Some("devpts"), &self.options(data)?, &[])?,
                self.tree.mountpoint_dir(&mount.destination)?,
            ),
            MountKind::Tmpfs { data } => return self.tmpfs(mount, data),
            MountKind::Cgroup => return super::cgroupfs::mount(self, mount),
            MountKind::Filesystem { fstype, source, data } => {
                return self.filesystem(mount, (fstype, source.as_deref()), data);
            }
            MountKind::Bind { .. } => return Err(Failure::line("its source was not opened")),
        };
        self.finish(mount, detached, &at, true)
    }

    fn filesystem(&self, mount: &Mount, (fstype, source): (&str, Option<&str>), data: &Data) -> Result<(), Failure> {
        let detached = Detached::filesystem(fstype, source, &self.options(data)?, &[])?;
        let at = self.tree.mountpoint_dir(&mount.destination)?;
        self.finish(mount, detached, &at, true)
    }

    fn bind(&self, mount: &Mount, source: &Source) -> Result<(), Failure> {
        let at = match source.directory {
            true => self.tree.mountpoint_dir(&mount.destination)?,
            false => self.tree.mountpoint_file(&mount.destination)?,
        };
        self.prepare(mount, &source.detached, &at, mount.flags)?;
        if mount.destination.as_str() == dev::DEV {
            *self.dev.borrow_mut() = None;
        }
        if source.has_covers() { source.cover(self.covers()?) } else { Ok(()) }
    }

    /// Refuses a place to which only a symlink of the image can have led: the root directory, which the mount would cover,
    /// and procfs, where it would pose as a file that others trust, or keep masks and read-only paths from the real one
    /// (CVE-2019-16884, CVE-2025-52565). What lies below `/proc` by its name, policy has allowed.
    pub(super) fn check_place(&self, at: &Node, destination: &ContainerPath) -> Result<(), Failure> {
        let root = rustix::fs::fstat(self.tree.root()).map_err(Failure::at("stat", "the container's root"))?;
        let stat = at.stat()?;
        if (stat.st_dev, stat.st_ino) == (root.st_dev, root.st_ino) {
            return Err(Failure::line("is a symlink in the image to /, and would cover the root filesystem"));
        }
        let below_proc = destination.as_str() == "/proc" || destination.as_str().starts_with("/proc/");
        let filesystem = rustix::fs::fstatfs(at.fd()).map_err(Failure::at("statfs", at.path()))?;
        if !below_proc && filesystem.f_type == PROC_SUPER_MAGIC {
            return Err(Failure::line("leads to procfs through a symlink in the image"));
        }
        Ok(())
    }

    /// A device that is bound from the `/dev` that we see, where we cannot make it: see [`dev::own`].
    pub(super) fn own_device(&self, path: &str, kind: DeviceKind, number: (u32, u32)) -> Option<OwnedFd> {
        if self.order.nested { dev::own(path, kind, number) } else { None }
    }

    /// The `/dev` of our own, if it is one.
    pub(super) fn own_dev(&self) -> Option<OwnedFd> {
        self.dev.take()
    }

    /// Gives a new filesystem its flags and its propagation, and attaches it; `late` puts its read-only flag off.
    pub(super) fn finish(&self, mount: &Mount, detached: Detached, at: &Node, late: bool) -> Result<(), Failure> {
        let mut flags = mount.flags;
        let late = late && flags.set & RDONLY != 0;
        if late {
            flags.set &= !RDONLY;
        }
        self.prepare(mount, &detached, at, flags)?;
        if mount.destination.as_str() == dev::DEV {
            let ours = matches!(mount.kind, MountKind::Tmpfs { .. });
            let keep = || rustix::io::fcntl_dupfd_cloexec(detached.fd(), 3).map_err(Failure::at("keep", dev::DEV));
            *self.dev.borrow_mut() = ours.then(keep).transpose()?;
        }
        if late {
            self.late.borrow_mut().push(detached);
        }
        Ok(())
    }

    fn prepare(&self, mount: &Mount, detached: &Detached, at: &Node, flags: MountFlags) -> Result<(), Failure> {
        self.check_place(at, &mount.destination)?;
        detached.set_flags(flags, false)?;
        detached.set_flags(mount.recursive_flags, true)?;
        if let Some((propagation, recursive)) = mount.propagation {
            detached.set_propagation(propagation, recursive)?;
        }
        Ok(detached.attach(at)?)
    }

    /// The ipc namespace makes its mqueue filesystem itself, when it is cloned: by the host's root, who owns the
    /// directory until we give it to the container's.
    #[expect(clippy::disallowed_methods, reason = "by descriptor, of a mount that is not attached yet")]
    fn mqueue(&self) -> Result<Detached, Failure> {
        let mqueue = Detached::filesystem("mqueue", Some("mqueue"), &[], &[])?;
        let root = self.order.id_map.host;
        let (uid, gid) = (Some(Uid::from_raw(root)), Some(Gid::from_raw(root)));
        rustix::fs::chownat(mqueue.fd(), "", uid, gid, AtFlags::EMPTY_PATH)
            .map_err(Failure::at("change the owner of", "mqueue"))?;
        Ok(mqueue)
    }

    /// proc and sysfs go to a real directory of the image, never through a symlink of it (CVE-2019-19921,
    /// CVE-2023-27561: LSM labels and masks would land elsewhere).
    fn plain_directory(&self, destination: &ContainerPath) -> Result<Node, Failure> {
        match self.tree.open_nofollow(destination) {
            Ok(node) if node.file_type()? == FileType::Symlink => {
                Err(Failure::line("is a symlink in the image where a directory must be"))
            }
            _ => Ok(self.tree.mountpoint_dir(destination)?),
        }
    }

    fn tmpfs(&self, mount: &Mount, data: &Data) -> Result<(), Failure> {
        let (at, is_new) = match self.tree.try_open(&mount.destination) {
            Ok(Some(node)) if node.is_dir()? => (node, false),
            _ => (self.tree.mountpoint_dir(&mount.destination)?, true),
        };
        let mut options = self.options(data)?;
        // As runc does, or a tmpfs over /root would be everybody's; one in a new place has the kernel's own mode, 1777.
        if !is_new && !options.iter().any(|(key, _)| key == "mode") {
            options.push(("mode".to_owned(), Some(format!("{:o}", at.stat()?.st_mode & 0o7777))));
        }
        let detached = Detached::filesystem("tmpfs", Some("tmpfs"), &options, &[])?;
        if mount.copy_up {
            copy_up::copy(at.as_fd(), detached.fd())?;
        }
        self.finish(mount, detached, &at, true)
    }

    /// A procfs of the container's pid namespace, detached.
    fn procfs(&self, data: &Data) -> Result<Detached, Failure> {
        let (subset, data): (Vec<_>, Vec<_>) = data.iter().cloned().partition(|(key, _)| key == "subset");
        let pid = namespaces::open_of(self.proc, self.init, NamespaceKind::Pid)?;
        let made = match Detached::procfs_of(pid.as_fd(), &data) {
            Err(error) if error.errno() == Some(Errno::NOSYS) => {
                let made = with_children_in(pid.as_fd(), || self.by_mount("proc", &data));
                made.map_err(Failure::at("join", "the pid namespace"))??
            }
            made => made?,
        };
        if !subset.is_empty() {
            let kept = rustix::io::fcntl_dupfd_cloexec(made.fd(), 3).map_err(Failure::at("keep", "a procfs"))?;
            self.subsets.borrow_mut().push((Detached::from_fd(kept, "proc"), subset.into()));
        }
        Ok(made)
    }

    /// A sysfs of the network namespace, which this process has joined.
    fn sysfs(&self) -> Result<Detached, Failure> {
        match Detached::filesystem("sysfs", Some("sysfs"), &[], &[]) {
            Err(error) if error.errno() == Some(Errno::NOSYS) => self.by_mount("sysfs", &[]),
            made => Ok(made?),
        }
    }

    /// As it is had in a container of eci's.
    fn by_mount(&self, fstype: &'static str, data: &Data) -> Result<Detached, Failure> {
        let user = namespaces::open_of(self.proc, self.init, NamespaceKind::User)?;
        procfs::by_mount(fstype, user.as_fd(), data)
    }

    /// Ids in a filesystem's options are the container's; the mounter is the host's root. `linux.mountLabel` is an option
    /// of every filesystem that SELinux does not label by itself (mount(8), "context=").
    fn options(&self, data: &Data) -> Result<Vec<(String, Option<String>)>, Failure> {
        let label = self.order.plan.mount_label.iter().map(|label| Ok(("context".to_owned(), Some(label.clone()))));
        data.iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("uid" | "gid", Some(id)) => id
                    .parse()
                    .ok()
                    .and_then(|id| self.order.id_map.to_host(id))
                    .map(|host| (key.clone(), Some(host.to_string())))
                    .ok_or_else(|| Failure::line(format!("{key}={id} is not an id of the container"))),
                _ => Ok((key.clone(), value.clone())),
            })
            .chain(label)
            .collect()
    }

    /// The last changes to the tree: read-only and masked paths, then what had to wait for them.
    pub(super) fn hide_and_protect(&self) -> Result<(), Failure> {
        for path in &self.order.plan.readonly_paths {
            if let Some(node) = self.tree.try_open(path)? {
                let bind = Detached::clone_of(&node, true, node.path())?;
                bind.set_flags(MountFlags { set: RDONLY, clear: 0 }, true)?;
                bind.attach(&node)?;
            }
        }
        self.mask()?;
        for mount in self.late.take() {
            mount.set_flags(MountFlags { set: RDONLY, clear: 0 }, false)?;
        }
        for (procfs, subset) in self.subsets.take() {
            procfs.reconfigure(&subset)?;
        }
        Ok(())
    }

    /// Covers files with a null device and directories with an empty tmpfs. Both are our own, on a filesystem that no
    /// container has ever had a path to (CVE-2025-31133: a mask that was bound from the container's `/dev/null`).
    fn mask(&self) -> Result<(), Failure> {
        for path in &self.order.plan.masked_paths {
            let Some(node) = self.tree.try_open(path)? else { continue };
            self.covers()?.of(node.is_dir()?)?.attach(&node)?;
        }
        Ok(())
    }

    fn covers(&self) -> Result<&dev::Covers, Failure> {
        if let Some(covers) = self.covers.get() {
            return Ok(covers);
        }
        let null = self.own_device("/dev/null", DeviceKind::Char, dev::NULL);
        let covers = dev::Covers::new(self.scratch, null)?;
        Ok(self.covers.get_or_init(|| covers))
    }
}
