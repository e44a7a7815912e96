//! A container's devices against what this host has: what the config's paths for privileged ones are and what their users do
//! not get, and whose a device is that the host does not know.

use std::path::{Path, PathBuf};

use policy::config;
use policy::plan::{DeviceKind, DeviceNode, DeviceOwner, Plan};
use policy::privileged::{self, HostDevice};
use rustix::fs::{FileType, Stat, lstat, major, minor};

/// Limits a plan that asks for every device of the host to those that the config gives.
pub(super) fn limit(plan: Plan, config: &config::Devices, container: &str) -> Plan {
    if !privileged::wants_every_device(&plan) {
        return plan;
    }
    let (plan, left_out) = privileged::limit(plan, &allowed(config, container));
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|node| node.path.as_str()).collect();
        log::debug!(container = container; "a privileged container does not get the host's {}", names.join(", "));
    }
    plan
}

/// The devices of `[devices] privileged`. A path that is none, or that this host does not have, gives nothing.
fn allowed(config: &config::Devices, container: &str) -> Vec<HostDevice> {
    let default = || config::Devices::DEFAULT_PRIVILEGED.iter().map(PathBuf::from).collect();
    let paths = config.privileged.clone().unwrap_or_else(default);
    let device = |path: &PathBuf| match look(path) {
        Ok(device) => Some(device),
        Err(reason) if config.privileged.is_some() => {
            log::warn!(container = container; "devices.privileged: {}: {reason}", path.display());
            None
        }
        Err(_) => None,
    };
    paths.iter().filter_map(device).collect()
}

fn look(path: &PathBuf) -> Result<HostDevice, String> {
    let stat = rustix::fs::stat(path).map_err(|errno| errno.to_string())?;
    device(&stat).ok_or_else(|| "is no device".to_owned())
}

fn device(stat: &Stat) -> Option<HostDevice> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => DeviceKind::Char,
        FileType::BlockDevice => DeviceKind::Block,
        _ => return None,
    };
    Some(HostDevice { kind, major: major(stat.st_rdev), minor: minor(stat.st_rdev) })
}

/// A device for which this host has neither a driver nor a node has no owner of the host's to keep: the spec's ids are
/// then what the runtime spec says of them, ids of the container.
pub(super) fn own_unknown(mut plan: Plan) -> Plan {
    for node in &mut plan.devices {
        if let DeviceOwner::Host { uid, gid } = node.owner
            && !has_driver(node)
            && !has_node(Path::new("/dev"), node)
        {
            node.owner = DeviceOwner::Container { uid, gid };
        }
    }
    plan
}

/// Whether a driver has the device's major number. Where that cannot be read it counts as there.
fn has_driver(node: &DeviceNode) -> bool {
    std::fs::read_to_string("/proc/devices").map_or(true, |drivers| lists(&drivers, node))
}

/// Whether `/proc/devices` (proc_devices(5)) lists a driver for the device.
fn lists(drivers: &str, node: &DeviceNode) -> bool {
    let (chars, blocks) = drivers.split_once("Block devices:").unwrap_or((drivers, ""));
    let lines = if node.kind == DeviceKind::Block { blocks } else { chars };
    let majors = lines.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    majors.into_iter().any(|major| major == node.major)
}

/// Whether the filesystem of this directory has a node of the device in or below it. A node may be there before its driver,
/// which then comes with the first open.
fn has_node(dir: &Path, node: &DeviceNode) -> bool {
    let Ok(here) = lstat(dir) else { return false };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| match lstat(&path) {
        Ok(stat) if stat.st_dev != here.st_dev => false,
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => has_node(&path, node),
        Ok(stat) => device(&stat).is_some_and(|it| it.is(node)),
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use policy::plan::ContainerPath;

    use super::*;

    fn node(kind: DeviceKind, major: u32, minor: u32) -> DeviceNode {
        let path = ContainerPath::parse("/dev/x").expect("a path");
        DeviceNode { path, kind, major, minor, mode: 0o600, owner: DeviceOwner::Host { uid: 11, gid: 22 } }
    }

    #[test]
    fn a_driver_is_found_by_kind_and_major() {
        let drivers = "Character devices:\n  1 mem\n 10 misc\n\nBlock devices:\n  7 loop\n259 blkext\n";
        assert!(lists(drivers, &node(DeviceKind::Char, 10, 5)));
        assert!(lists(drivers, &node(DeviceKind::Block, 259, 1)));
        for absent in [node(DeviceKind::Char, 7, 0), node(DeviceKind::Block, 10, 0), node(DeviceKind::Char, 25, 0)] {
            assert!(!lists(drivers, &absent), "{absent:?}");
        }
    }

    #[test]
    fn a_node_is_found_by_its_numbers_whatever_its_name() {
        assert!(has_node(Path::new("/dev"), &node(DeviceKind::Char, 1, 3)));
        assert!(!has_node(Path::new("/dev"), &node(DeviceKind::Block, 1, 3)));
        assert!(!has_node(Path::new("/dev"), &node(DeviceKind::Char, 4095, 3)));
    }
}
