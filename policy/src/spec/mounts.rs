//! `mounts`: what is mounted where.
//!
//! The order of the spec is kept: "the runtime MUST mount entries in the listed order", and engines list a directory
//! before what lies below it. Destinations are checked as text here; that no symlink of the image leads elsewhere is
//! seen to when they are opened.

use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, Mount as SpecMount};

use super::mount_options::Options;
use super::{mount_data, paths};
use crate::Refusal;
use crate::plan::{BindIds, ContainerPath, IdMapping, Mount, MountKind, Propagation};

/// Files of proc(5) that may be bound over, because a plain file can stand for them: what lxcfs and its like give.
/// Anything else below /proc would let a mount pose as a file that a program or the runtime trusts (CVE-2019-16884).
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Every mount of the spec, in its order.
pub(super) fn mounts(mounts: &[SpecMount], bundle: &Path) -> Result<Vec<Mount>, Refusal> {
    mounts.iter().enumerate().map(|(index, mount)| one(index, mount, bundle)).collect()
}

fn one(index: usize, mount: &SpecMount, bundle: &Path) -> Result<Mount, Refusal> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = paths::container_path(field("destination"), &paths::text(mount.destination()))?;
    let options = Options::parse(mount.options().as_deref().unwrap_or_default())
        .map_err(|reason| Refusal::new(field("options"), reason))?;
    let id_map = bind_ids(index, mount, &options)?;
    let kind = kind(index, mount, bundle, &options, id_map)?;
    check_destination(&destination, &kind).map_err(|reason| {
        Refusal::new(field("destination"), format!("{} {reason}", paths::quoted(destination.as_str())))
    })?;
    check_kind(&kind, &options).map_err(|reason| Refusal::new(field("options"), reason))?;
    Ok(Mount {
        destination,
        kind,
        flags: options.flags,
        recursive_flags: options.recursive_flags,
        propagation: options.propagation,
        copy_up: options.copy_up,
        index,
    })
}

fn kind(
    index: usize,
    mount: &SpecMount,
    bundle: &Path,
    options: &Options,
    id_map: BindIds,
) -> Result<MountKind, Refusal> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let fstype = mount.typ().as_deref().unwrap_or_default();
    // With bind or rbind the type is a dummy, whatever it says.
    let fstype = if options.bind.is_some() { "bind" } else { fstype };
    mount_data::check(fstype, &options.data).map_err(|reason| Refusal::new(field("options"), reason)).or_else(
        // An unknown type is the better message.
        |refusal| if KNOWN_TYPES.contains(&fstype) { Err(refusal) } else { Ok(()) },
    )?;
    let data = || options.data.clone();
    let source = || match mount.source() {
        Some(source) => paths::clean(field("source"), &paths::text(source), 4095).map(|()| Some(paths::text(source))),
        None => Ok(None),
    };
    Ok(match fstype {
        "proc" => MountKind::Proc { data: data() },
        "sysfs" => MountKind::Sysfs,
        "mqueue" => MountKind::Mqueue,
        "cgroup" | "cgroup2" => MountKind::Cgroup,
        "devpts" => MountKind::Devpts { data: data() },
        "tmpfs" => MountKind::Tmpfs { data: data() },
        "overlay" | "ramfs" => MountKind::Filesystem {
            fstype: fstype.to_owned(),
            source: source()?.map(std::borrow::Cow::into_owned),
            data: data(),
        },
        "bind" => {
            let Some(source) = mount.source() else { return Err(Refusal::new(field("source"), "is missing")) };
            let source = paths::host_path(field("source"), source, bundle)?;
            MountKind::Bind { source, recursive: options.bind.unwrap_or_default(), id_map }
        }
        "none" | "" => {
            let reason = format!("{} needs the option bind or rbind", paths::quoted(fstype));
            return Err(Refusal::new(field("type"), reason));
        }
        other => {
            let reason = format!("{} is not a filesystem that a container can mount", paths::quoted(other));
            return Err(Refusal::new(field("type"), reason));
        }
    })
}

const KNOWN_TYPES: &[&str] =
    &["proc", "sysfs", "mqueue", "cgroup", "cgroup2", "devpts", "tmpfs", "overlay", "ramfs", "bind"];

fn check_destination(destination: &ContainerPath, kind: &MountKind) -> Result<(), &'static str> {
    let path = destination.as_str();
    if path == "/" {
        // It would cover the root with everything mounted so far, and the locks with it.
        return Err("would cover the root filesystem; root.path is the place for another one");
    }
    if path == "/proc" && !matches!(kind, MountKind::Proc { .. }) {
        return Err("must be a mount of type proc");
    }
    if path.starts_with("/proc/") && !(matches!(kind, MountKind::Bind { .. }) && PROC_FILES.contains(&path)) {
        return Err("lies below /proc and is not one of the files that a bind mount may stand for");
    }
    Ok(())
}

fn check_kind(kind: &MountKind, options: &Options) -> Result<(), String> {
    let bind = matches!(kind, MountKind::Bind { .. });
    if bind && let Some((Propagation::Shared, recursive)) = options.propagation {
        let name = if recursive { "rshared" } else { "shared" };
        // mount_namespaces(7): what enters a less privileged mount namespace becomes a slave.
        return Err(format!("\"{name}\" would share mounts with the host, which a user namespace forbids; use rslave"));
    }
    if !bind && options.id_map.is_some() {
        return Err("\"idmap\" and \"ridmap\" are for bind mounts".to_owned());
    }
    if options.copy_up && !matches!(kind, MountKind::Tmpfs { .. }) {
        return Err("\"tmpcopyup\" is for tmpfs".to_owned());
    }
    Ok(())
}

/// `uidMappings` and `gidMappings` of a bind mount. Without them, `idmap` asks for the container's own map, which every
/// bind mount has anyway.
fn bind_ids(index: usize, mount: &SpecMount, options: &Options) -> Result<BindIds, Refusal> {
    let uid = mappings(index, "uidMappings", mount.uid_mappings().as_deref().unwrap_or_default())?;
    let gid = mappings(index, "gidMappings", mount.gid_mappings().as_deref().unwrap_or_default())?;
    match (uid.is_empty(), gid.is_empty()) {
        (true, true) => return Ok(BindIds::Container),
        (false, false) => {}
        (true, false) => return Err(Refusal::new(format!("mounts[{index}].uidMappings"), "is missing")),
        (false, true) => return Err(Refusal::new(format!("mounts[{index}].gidMappings"), "is missing")),
    }
    let bind = options.bind.is_some() || mount.typ().as_deref() == Some("bind");
    if !bind {
        return Err(Refusal::new(format!("mounts[{index}].uidMappings"), "is for bind mounts"));
    }
    Ok(BindIds::Explicit { uid, gid, recursive: options.id_map.unwrap_or_default() })
}

/// How many lines user_namespaces(7) takes.
const MOST_MAPPINGS: usize = 340;

fn mappings(index: usize, name: &str, entries: &[LinuxIdMapping]) -> Result<Vec<IdMapping>, Refusal> {
    let refuse = |reason: String| Err(Refusal::new(format!("mounts[{index}].{name}"), reason));
    if entries.len() > MOST_MAPPINGS {
        return refuse(format!("has more than {MOST_MAPPINGS} entries"));
    }
    let mut lines: Vec<IdMapping> = Vec::with_capacity(entries.len());
    for entry in entries {
        let line = IdMapping { container_id: entry.container_id(), host_id: entry.host_id(), size: entry.size() };
        let shown = format!("{{{} {} {}}}", line.container_id, line.host_id, line.size);
        let end = |first: u32| first.checked_add(line.size);
        let (Some(container_end), Some(host_end), true) = (end(line.container_id), end(line.host_id), line.size > 0)
        else {
            return refuse(format!("{shown} is not a range of ids"));
        };
        let apart = |other: &IdMapping| {
            let clear = |first: u32, end: u32, other_first: u32| {
                end <= other_first || u64::from(first) >= u64::from(other_first) + u64::from(other.size)
            };
            clear(line.container_id, container_end, other.container_id) && clear(line.host_id, host_end, other.host_id)
        };
        if !lines.iter().all(apart) {
            return refuse(format!("{shown} overlaps another entry"));
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
