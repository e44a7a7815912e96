//! `linux.resources` of the controllers that have a limit for each device, size or adapter, and the files of cgroup v2.

use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxHugepageLimit, LinuxNetwork, LinuxRdma, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::paths::{clean, quoted};
use crate::Refusal;
use crate::plan::{BlockDevice, BlockIo, HugepageLimit, RdmaLimit, Resources};

/// Block devices. As in runc a weight of 0 is one that is not set.
pub(super) fn block_io(block_io: &LinuxBlockIo) -> Result<BlockIo, Refusal> {
    let rates = |name, devices: &Option<Vec<LinuxThrottleDevice>>| rates(name, devices.as_deref().unwrap_or_default());
    Ok(BlockIo {
        weight: block_io.weight().map_or(Ok(None), |it| weight("blockIO.weight".into(), it))?,
        weight_device: weights(block_io.weight_device().as_deref().unwrap_or_default())?,
        throttle_read_bps_device: rates("throttleReadBpsDevice", block_io.throttle_read_bps_device())?,
        throttle_write_bps_device: rates("throttleWriteBpsDevice", block_io.throttle_write_bps_device())?,
        throttle_read_iops_device: rates("throttleReadIOPSDevice", block_io.throttle_read_iops_device())?,
        throttle_write_iops_device: rates("throttleWriteIOPSDevice", block_io.throttle_write_iops_device())?,
    })
}

fn weights(devices: &[LinuxWeightDevice]) -> Result<Vec<(BlockDevice, u16)>, Refusal> {
    let mut all = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        let weight = device.weight().map_or(Ok(None), |it| weight(format!("{field}.weight"), it))?;
        let device = block_device(&field, device.major(), device.minor())?;
        all.extend(weight.map(|weight| (device, weight)));
    }
    Ok(all)
}

fn weight(field: String, weight: u16) -> Result<Option<u16>, Refusal> {
    match weight {
        0 => Ok(None),
        10..=1000 => Ok(Some(weight)),
        _ => refuse(field, format!("{weight} is not from 10 to 1000")),
    }
}

fn rates(name: &str, devices: &[LinuxThrottleDevice]) -> Result<Vec<(BlockDevice, u64)>, Refusal> {
    let one = |(index, device): (usize, &LinuxThrottleDevice)| {
        let field = format!("blockIO.{name}[{index}]");
        Ok((block_device(&field, device.major(), device.minor())?, device.rate()))
    };
    devices.iter().enumerate().map(one).collect()
}

fn block_device(field: &str, major: i64, minor: i64) -> Result<BlockDevice, Refusal> {
    let number = |name: &str, value: i64| {
        u32::try_from(value).or_else(|_| refuse(format!("{field}.{name}"), format!("{value} is not a device number")))
    };
    Ok(BlockDevice { major: number("major", major)?, minor: number("minor", minor)? })
}

/// Huge pages: every limit counts, 0 as well, which is what the kubelet sends for a pod that has none.
pub(super) fn hugepages(limits: &[LinuxHugepageLimit]) -> Result<Vec<HugepageLimit>, Refusal> {
    let mut all: Vec<HugepageLimit> = Vec::new();
    for (index, limit) in limits.iter().enumerate() {
        let field = |name: &str| format!("hugepageLimits[{index}].{name}");
        let size = limit.page_size();
        if !is_page_size(size) {
            return refuse(field("pageSize"), format!("{} is not a size like 64KB, 2MB or 1GB", quoted(size)));
        }
        if all.iter().any(|before| before.page_size == *size) {
            return refuse(field("pageSize"), format!("{} is there twice", quoted(size)));
        }
        let Ok(bytes) = u64::try_from(limit.limit()) else {
            return refuse(field("limit"), format!("{} is negative", limit.limit()));
        };
        all.push(HugepageLimit { page_size: size.clone(), limit: bytes });
    }
    Ok(all)
}

/// As the kernel spells sizes in the names of its files, which this becomes part of.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|digits| {
        !digits.starts_with('0') && (1..=6).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit())
    })
}

/// The class of packets, 0 being none, and the priorities of interfaces.
pub(super) fn network(network: &LinuxNetwork, plan: &mut Resources) -> Result<(), Refusal> {
    let priorities = network.priorities().as_deref().unwrap_or_default();
    for (index, priority) in priorities.iter().enumerate() {
        let name = priority.name();
        // IFNAMSIZ of linux/if.h counts a NUL; the rest is dev_valid_name() of the kernel.
        let valid = !name.is_empty() && name.len() < 16 && name != "." && name != "..";
        if !valid || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
            let reason = format!("{} is not the name of an interface", quoted(name));
            return refuse(format!("network.priorities[{index}].name"), reason);
        }
    }
    plan.network_priorities =
        priorities.iter().map(|priority| (priority.name().clone(), priority.priority())).collect();
    plan.network_class_id = network.class_id().filter(|class| *class != 0);
    Ok(())
}

/// Adapters, in the order of their names.
pub(super) fn rdma(devices: &HashMap<String, LinuxRdma>) -> Result<Vec<RdmaLimit>, Refusal> {
    let mut all = Vec::new();
    for (device, limit) in devices {
        let field = format!("rdma[{device:?}]");
        if device.is_empty()
            || device.len() > 63
            || !device.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        {
            return refuse(field, "is not the name of a device");
        }
        let (hca_handles, hca_objects) = (limit.hca_handles(), limit.hca_objects());
        if hca_handles.is_none() && hca_objects.is_none() {
            return refuse(field, "has no limit");
        }
        all.push(RdmaLimit { device: device.clone(), hca_handles, hca_objects });
    }
    all.sort_by(|one, other| one.device.cmp(&other.device));
    Ok(all)
}

/// The files of `cgroup.` that limit something; all others move, freeze or kill processes, or change what the group is.
const CGROUP_LIMITS: [&str; 2] = ["cgroup.max.depth", "cgroup.max.descendants"];

/// Files of cgroup v2, in the order of their names.
pub(super) fn unified(files: &HashMap<String, String>) -> Result<Vec<(String, String)>, Refusal> {
    for (file, value) in files {
        let field = format!("unified[{file:?}]");
        let letters = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let controller = file.split_once('.').map_or("", |(controller, _)| controller);
        if file.len() > 255 || controller.is_empty() || !file.chars().all(letters) {
            return refuse(field, "is not the name of a controller's file");
        }
        if controller == "cgroup" && !CGROUP_LIMITS.contains(&file.as_str()) {
            return refuse(field, "controls the group itself, which is the runtime's");
        }
        clean(format!("linux.resources.{field}"), value, 4095)?;
        if value.trim().is_empty() {
            return refuse(field, "is empty");
        }
    }
    let mut all: Vec<_> = files.iter().map(|(file, value)| (file.clone(), value.clone())).collect();
    all.sort();
    Ok(all)
}

fn refuse<T>(name: impl std::fmt::Display, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(format!("linux.resources.{name}"), reason))
}

#[cfg(test)]
#[path = "controllers_tests.rs"]
mod tests;
