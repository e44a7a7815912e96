//! The plan: everything that is done to make one container, as plain data.
//!
//! A plan is made from the spec alone ([`crate::spec`]); it speaks of container ids and paths inside the container, and
//! carries no descriptor. What depends on the host joins it when it is executed: the id map ([`crate::idmap`]), the
//! namespaces that are joined ([`crate::namespaces`]), the root filesystem's mounts.

mod cgroup;
mod controllers;
mod device;
mod hooks;
mod mount;
mod namespace;
mod path;
mod process;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use cgroup::{Cgroup, CgroupPath, Resources};
pub use controllers::{BlockDevice, BlockIo, HugepageLimit, RdmaLimit};
pub use device::{DeviceKind, DeviceNode, DeviceOwner, DeviceRule};
pub use hooks::{Hook, Hooks};
pub use mount::{BindIds, IdMapping, Mount, MountFlags, MountKind, Propagation, RootMount};
pub use namespace::{NamespaceKind, NamespaceWish};
pub use path::ContainerPath;
pub use process::{AppArmor, Capabilities, Process, Rlimit, Scheduler};

/// One container, ready to be built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Which namespaces are made and which are joined.
    pub namespaces: Vec<NamespaceWish>,
    /// The id map that the spec brings, if it brings one; otherwise a lease decides.
    pub id_map: Option<crate::idmap::IdMap>,
    /// `root` of the spec.
    pub root: Root,
    /// The spec's mounts, in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<ContainerPath>,
    /// Paths that are made read-only, with everything below.
    pub readonly_paths: Vec<ContainerPath>,
    /// Device nodes made in the container besides the default ones.
    pub devices: Vec<DeviceNode>,
    /// Sysctls of the container's namespaces: name with dots (`net.ipv4.ip_forward`), value. A dot inside a part of the
    /// name stands as `/`, as in sysctl(8): the path below /proc/sys has the two swapped.
    pub sysctl: Vec<(String, String)>,
    /// The uts namespace's host name.
    pub hostname: Option<String>,
    /// The uts namespace's NIS domain name.
    pub domainname: Option<String>,
    /// SELinux label of mounts (`linux.mountLabel`).
    pub mount_label: Option<String>,
    /// The container's first process.
    pub process: Process,
    /// The cgroup path as the spec gives it, and its limits.
    pub cgroup: Cgroup,
    /// Programs of the operator's at the turns of its life.
    pub hooks: Hooks,
}

/// `root` of the spec, and what concerns the root mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Path on the host, absolute (relative ones are joined to the bundle).
    pub path: PathBuf,
    /// Whether the root mount is made read-only at the end.
    pub readonly: bool,
    /// `linux.rootfsPropagation`, applied inside the container's own mount namespace.
    pub propagation: Option<Propagation>,
}
