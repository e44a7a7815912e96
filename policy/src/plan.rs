//! The plan: everything that is done to make one container, as plain data.
//!
//! A plan is made from the spec alone ([`crate::spec`]); it speaks of container ids and paths inside the container, and
//! carries no descriptor. What depends on the host joins it when it is executed: the id map ([`crate::idmap`]), the
//! namespaces that are joined ([`crate::namespaces`]), the root filesystem's mounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An absolute path inside the container, without `.` or `..`, without repeated or trailing slashes, and without NUL.
/// Only `userns::tree` turns one into a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPath(pub(crate) String);

impl ContainerPath {
    /// The root.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Parses a path as the runtime spec gives it: absolute, normalised lexically.
    ///
    /// # Errors
    /// The reason, when the path is relative, empty, has a `..` component or a NUL byte, or is longer than 4095 bytes.
    pub fn parse(path: &str) -> Result<Self, &'static str> {
        if path.len() > 4095 {
            return Err("is longer than 4095 bytes");
        }
        if path.contains('\0') {
            return Err("has a NUL byte");
        }
        if !path.starts_with('/') {
            return Err("is not an absolute path");
        }
        let mut clean = String::with_capacity(path.len());
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err("has a .. component");
            }
            clean.push('/');
            clean.push_str(part);
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(clean))
    }

    /// The path as the container's processes spell it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components below the root, in order; none for the root itself.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Whether `self` is `other` or lies below it.
    pub fn starts_with(&self, other: &ContainerPath) -> bool {
        other.0 == "/" || self.0 == other.0 || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl std::fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// Sysctls of the container's own namespaces: name with dots (`net.ipv4.ip_forward`), value.
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
}

/// The kinds of namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// mount_namespaces(7)
    Mount,
    /// pid_namespaces(7)
    Pid,
    /// ipc_namespaces(7)
    Ipc,
    /// uts_namespaces(7)
    Uts,
    /// network_namespaces(7)
    Network,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
}

impl std::fmt::Display for NamespaceKind {
    /// The name that the runtime spec gives it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        })
    }
}

/// One namespace of the container: made new, or joined by a path of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceWish {
    /// Its kind; each kind occurs once.
    pub kind: NamespaceKind,
    /// The path to join, as the spec gives it; none for a new one (also where the spec leaves the kind out).
    pub path: Option<PathBuf>,
    /// Whether the spec names the kind at all.
    pub named: bool,
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

/// `c`, `b` or `p` of mknod(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A device node of the spec (`linux.devices`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where it appears.
    pub path: ContainerPath,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: DeviceOwner,
}

/// Who owns a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceOwner {
    /// The container's ids: nodes that are harmless (null, zero, full, random, urandom, tty, ptmx, console, fuse,
    /// net/tun).
    Container {
        /// uid inside.
        uid: u32,
        /// gid inside.
        gid: u32,
    },
    /// The host's owner and mode, as the spec gives them: the container's processes pass only as "other", unless the
    /// engine's user opened the node on the host.
    Host {
        /// uid on the host.
        uid: u32,
        /// gid on the host.
        gid: u32,
    },
}

/// A process: the container's first, or one that is exec'd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Its size, columns and rows, when the spec gives one.
    pub console_size: Option<(u16, u16)>,
    /// Working directory inside the container.
    pub cwd: ContainerPath,
    /// Arguments; the first is the program.
    pub args: Vec<String>,
    /// Environment, `NAME=value` each.
    pub env: Vec<String>,
    /// uid inside.
    pub uid: u32,
    /// gid inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub additional_gids: Vec<u32>,
    /// umask(2), if the spec gives one.
    pub umask: Option<u32>,
    /// The five sets of capabilities(7).
    pub capabilities: Capabilities,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// setrlimit(2): resource number, soft, hard.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): class (1 real time, 2 best effort, 3 idle) and level 0-7.
    pub io_priority: Option<(u8, u8)>,
    /// sched_setaffinity(2) before an exec'd process enters the cgroup, as a list (`0-3,7`). The first process does not
    /// use it (runtime-spec, `execCPUAffinity`); its execs take it over.
    pub cpu_affinity_initial: Option<String>,
    /// sched_setaffinity(2) once an exec'd process is in the cgroup; as above.
    pub cpu_affinity_final: Option<String>,
    /// personality(2).
    pub personality: Option<u64>,
    /// AppArmor profile, with how strictly it is meant.
    pub apparmor: Option<AppArmor>,
    /// SELinux process label.
    pub selinux_label: Option<String>,
    /// The spec's seccomp profile, as its JSON; `syscall-trap` compiles it.
    pub seccomp: Option<oci_spec::runtime::LinuxSeccomp>,
}

/// An AppArmor profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppArmor {
    /// Its name.
    pub profile: String,
    /// Whether it is an engine's default one, which forbids every mount: left off where the container may mount.
    pub engine_default: bool,
}

/// The five sets of capabilities(7), bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `CapBnd`
    pub bounding: u64,
    /// `CapEff`
    pub effective: u64,
    /// `CapPrm`
    pub permitted: u64,
    /// `CapInh`
    pub inheritable: u64,
    /// `CapAmb`
    pub ambient: u64,
}

/// A resource limit of getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*` number.
    pub policy: u32,
    /// `SCHED_FLAG_*` bits.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// `linux.cgroupsPath` and `linux.resources`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The path as the spec gives it (checked: no `..`), if it gives one.
    pub path: Option<CgroupPath>,
    /// The limits.
    pub resources: Resources,
}

/// The two forms that engines use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupPath {
    /// A path below every hierarchy's root (or, when relative, below the shim's own group).
    Cgroupfs(String),
    /// `slice:prefix:name`
    Systemd {
        /// `system.slice`
        slice: String,
        /// `docker`
        prefix: String,
        /// The container's id.
        name: String,
    },
}

/// Limits of a cgroup. None means that the spec says nothing and the kernel's default stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Device rules, in order; empty: the default ones only.
    pub devices: Vec<DeviceRule>,
    /// Bytes; -1 is no limit.
    pub memory_limit: Option<i64>,
    /// Bytes; -1 is no limit.
    pub memory_reservation: Option<i64>,
    /// Memory plus swap, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// 0-100, cgroup v1 only.
    pub memory_swappiness: Option<u64>,
    /// cgroup v1 only.
    pub disable_oom_killer: Option<bool>,
    /// 2-262144 (cgroup v1's scale).
    pub cpu_shares: Option<u64>,
    /// Microseconds in each period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds.
    pub cpu_burst: Option<u64>,
    /// 1: `SCHED_IDLE` (cpu.idle).
    pub cpu_idle: Option<i64>,
    /// Microseconds, cgroup v1 only.
    pub cpu_realtime_runtime: Option<i64>,
    /// Microseconds, cgroup v1 only.
    pub cpu_realtime_period: Option<u64>,
    /// A list (`0-3`).
    pub cpuset_cpus: Option<String>,
    /// A list (`0`).
    pub cpuset_mems: Option<String>,
    /// Processes; -1 is no limit.
    pub pids_limit: Option<i64>,
}

/// One rule of the device cgroup (`linux.resources.devices`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Kind; none means all.
    pub kind: Option<DeviceKind>,
    /// Major number; none means all.
    pub major: Option<u32>,
    /// Minor number; none means all.
    pub minor: Option<u32>,
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `m`
    pub mknod: bool,
}

#[cfg(test)]
mod tests {
    use super::ContainerPath;

    #[test]
    fn container_paths_are_absolute_and_normalised() {
        let parse = |path| ContainerPath::parse(path).map(|path| path.as_str().to_owned());
        assert_eq!(parse("/a//b/./c/"), Ok("/a/b/c".into()));
        assert_eq!(parse("/"), Ok("/".into()));
        assert!(parse("a").is_err() && parse("").is_err() && parse("/a/../b").is_err() && parse("/a\0").is_err());
    }

    #[test]
    fn starts_with_compares_whole_components() {
        let path = |text| ContainerPath::parse(text).expect("a path");
        assert!(path("/proc/sys").starts_with(&path("/proc")) && path("/a").starts_with(&path("/")));
        assert!(!path("/process").starts_with(&path("/proc")));
    }
}
