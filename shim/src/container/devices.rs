//! The devices of a privileged container: what the config's paths are on this host, and what its user does not get.

use std::path::PathBuf;

use policy::config;
use policy::plan::{DeviceKind, Plan};
use policy::privileged::{self, HostDevice};
use rustix::fs::{FileType, major, minor};

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
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => DeviceKind::Char,
        FileType::BlockDevice => DeviceKind::Block,
        _ => return Err("is no device".to_owned()),
    };
    Ok(HostDevice { kind, major: major(stat.st_rdev), minor: minor(stat.st_rdev) })
}
