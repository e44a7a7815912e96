//! Mounts: what is mounted where, with which attributes and ids.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ContainerPath;

/// A mount that the engine asks for in the Create request (containerd's mount package), to be assembled on the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootMount {
    /// `overlay`, `bind`, `erofs`, …
    pub fstype: String,
    /// Device, directory or image file.
    pub source: String,
    /// Where below the root it is mounted; empty for the root itself.
    pub target: String,
    /// Options as containerd spells them.
    pub options: Vec<String>,
}

/// mount_setattr(2) attributes, as a set to raise and a set to clear (`MOUNT_ATTR_*` values).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// Attributes that are set.
    pub set: u64,
    /// Attributes that are cleared (for atime: `MOUNT_ATTR__ATIME`).
    pub clear: u64,
}

/// Propagation types of mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// `MS_PRIVATE`
    Private,
    /// `MS_SLAVE`
    Slave,
    /// `MS_SHARED`
    Shared,
    /// `MS_UNBINDABLE`
    Unbindable,
}

/// One mount of the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is attached.
    pub destination: ContainerPath,
    /// What is mounted.
    pub kind: MountKind,
    /// Attributes of the top mount.
    pub flags: MountFlags,
    /// Attributes of the mount and everything below (`rro`, `rnosuid`, … of the runtime spec).
    pub recursive_flags: MountFlags,
    /// Propagation, and whether it is recursive.
    pub propagation: Option<(Propagation, bool)>,
    /// `tmpcopyup`: what the image has at the destination is copied into the new tmpfs.
    pub copy_up: bool,
    /// The entry's index in `mounts` of the spec, for messages.
    pub index: usize,
}

/// What a [`Mount`] mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// proc(5) of the container's pid namespace; `data` are its options (`hidepid=…`).
    Proc {
        /// fsconfig(2) keys and values.
        data: Vec<(String, Option<String>)>,
    },
    /// sysfs(5) of the container's network namespace.
    Sysfs,
    /// mqueue of the container's ipc namespace (mq_overview(7)).
    Mqueue,
    /// The cgroup hierarchies as the container's cgroup namespace shows them: cgroup2, or a tmpfs with the v1 ones.
    Cgroup,
    /// A new devpts instance; ids in `data` are the container's.
    Devpts {
        /// fsconfig(2) keys and values.
        data: Vec<(String, Option<String>)>,
    },
    /// A new tmpfs; ids in `data` (`uid=`, `gid=`) are the container's.
    Tmpfs {
        /// fsconfig(2) keys and values.
        data: Vec<(String, Option<String>)>,
    },
    /// A bind mount of a file or directory of the host.
    Bind {
        /// Its absolute path on the host (relative ones are joined to the bundle).
        source: PathBuf,
        /// `rbind`.
        recursive: bool,
        /// How its owners are shown.
        id_map: BindIds,
    },
    /// Another filesystem, mounted by the host's root on behalf of the container (`overlay`, `ramfs`, …).
    Filesystem {
        /// Its name, one of those that policy allows.
        fstype: String,
        /// Its source, when it has one.
        source: Option<String>,
        /// fsconfig(2) keys and values.
        data: Vec<(String, Option<String>)>,
    },
}

/// How the owners of a bind mount's files are shown inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindIds {
    /// Through the container's own map: a file of host id n belongs to container id n. What every bind gets.
    Container,
    /// `idmap`/`ridmap` with mappings of its own: container-side, filesystem-side and size, as mount_setattr(2) takes
    /// them from a user namespace with these maps.
    Explicit {
        /// `uidMappings` of the mount.
        uid: Vec<IdMapping>,
        /// `gidMappings` of the mount.
        gid: Vec<IdMapping>,
        /// `ridmap`.
        recursive: bool,
    },
}

/// One line of an id map as the runtime spec writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}
