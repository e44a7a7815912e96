//! What the operator's config gives a container beyond its spec: `[container] grants = "system"` makes every plain
//! container one that system software runs in (systemd, an inner container engine).
//!
//! * [`container`] changes a plan: the process, masked and read-only paths, the mounts of `/proc`, `/sys` and the cgroup tree.
//! * [`process`] changes one process: the first one, and each that is exec'd.
//!
//! What is given is given within the container's user namespace, so none of it is the host's. What the user takes away stays
//! away: a capability of those that engines usually give, a profile that allows everything but what it names.
//!
//! Invariant: only the config widens. With `grants = "spec"` a plan leaves as it came, and nothing of an image, a label or an
//! environment is looked at.

mod seccomp;

use crate::config::Grants;
use crate::plan::{Capabilities, ContainerPath, Mount, MountFlags, MountKind, Plan, Process};
use crate::spec::mount_options::{NODEV, NOEXEC, NOSUID, RDONLY};

pub use seccomp::SYSTEM_CALLS;

/// Capabilities 0 (CAP_CHOWN) to 40 (CAP_CHECKPOINT_RESTORE): all that Linux 6.18 has.
const EVERY: u64 = (1 << 41) - 1;

/// The fourteen that engines give a container by default: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
/// NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP (containerd's `defaultUnixCaps`, Docker's
/// `DefaultCapabilities`). One that a spec lacks is one that somebody dropped.
const USUAL: u64 = 1 << 0
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

/// Masked paths that system software reads, and that tell nothing of the host: the kernel refuses kcore and kmsg to whoever is
/// not root of the first user namespace, and shows zeroes for addresses in kallsyms.
const UNMASKED: &[&str] = &["/proc", "/proc/sys", "/proc/kcore", "/proc/kallsyms", "/proc/kmsg"];

/// Read-only paths that system software writes to. What the kernel keeps for the whole host stays closed to the container's
/// root; what engines list besides (`/proc/bus`, `/proc/sysrq-trigger`, …) stays read-only.
const WRITABLE: &[&str] = &["/proc", "/proc/sys"];

const CGROUP: &str = "/sys/fs/cgroup";

const NOSUID_NODEV_NOEXEC: u64 = NOSUID | NODEV | NOEXEC;

/// A plan with what the config grants.
pub fn container(mut plan: Plan, grants: Grants) -> Plan {
    if grants == Grants::Spec {
        return plan;
    }
    plan.process = process(plan.process, grants);
    plan.masked_paths.retain(|path| !UNMASKED.contains(&path.as_str()));
    plan.readonly_paths.retain(|path| !WRITABLE.contains(&path.as_str()));
    for mount in &mut plan.mounts {
        if matches!(mount.kind, MountKind::Proc { .. } | MountKind::Sysfs | MountKind::Cgroup) {
            mount.flags.set &= !RDONLY;
            mount.recursive_flags.set &= !RDONLY;
        }
    }
    add_cgroups(&mut plan.mounts);
    plan
}

/// A process with what the config grants. Root of the container has every capability of its user namespace, save those of
/// [`USUAL`] that its spec lacks; a spec that has none of them was told to drop all, and is left so. Any other user has the
/// spec's. What is inheritable and ambient is the spec's for root, too (CVE-2022-24769).
pub fn process(mut process: Process, grants: Grants) -> Process {
    if grants == Grants::Spec {
        return process;
    }
    let Capabilities { bounding, .. } = process.capabilities;
    if process.uid == 0 && bounding & USUAL != 0 {
        let every = EVERY & !(USUAL & !bounding);
        process.capabilities =
            Capabilities { bounding: every, effective: every, permitted: every, ..process.capabilities };
    }
    process.seccomp = process.seccomp.map(seccomp::loosened);
    process
}

/// The cgroup tree where a spec has a sysfs and leaves it out (`ctr run` does), right after that sysfs: what is mounted below
/// comes later.
fn add_cgroups(mounts: &mut Vec<Mount>) {
    let sysfs =
        mounts.iter().position(|mount| matches!(mount.kind, MountKind::Sysfs) && mount.destination.as_str() == "/sys");
    let covered = mounts.iter().any(|mount| mount.destination.as_str() == CGROUP);
    let (Some(sysfs), false, Ok(destination)) = (sysfs, covered, ContainerPath::parse(CGROUP)) else { return };
    let cgroup = Mount {
        destination,
        kind: MountKind::Cgroup,
        flags: MountFlags { set: NOSUID_NODEV_NOEXEC, clear: 0 },
        recursive_flags: MountFlags::default(),
        propagation: None,
        copy_up: false,
        index: mounts.get(sysfs).map_or(0, |mount| mount.index),
    };
    mounts.insert(sysfs + 1, cgroup);
}

#[cfg(test)]
mod tests;
