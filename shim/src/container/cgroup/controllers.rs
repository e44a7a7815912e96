//! The settings of the controllers that have one for each device, size or adapter, and the files of v2 by their names, as
//! runc maps them.

use policy::Refusal;
use policy::plan::{BlockDevice, Resources};

use super::limits::{Setting, Settings, Version, v1_only};

/// Block devices. A weight is BFQ's where that scheduler is there, and else, on v2, io.cost's, which has another range.
pub(super) fn io(resources: &Resources, version: Version) -> Settings {
    let io = &resources.block_io;
    let mut settings: Vec<Setting> =
        io.weight.map(|weight| self::weight("weight".into(), None, weight, version)).into_iter().collect();
    for (index, (device, weight)) in io.weight_device.iter().enumerate() {
        settings.push(self::weight(format!("weightDevice[{index}]"), Some(*device), *weight, version));
    }
    for (name, v1, v2, rates) in [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", &io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", &io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", &io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", &io.throttle_write_iops_device),
    ] {
        for (index, (device, rate)) in rates.iter().enumerate() {
            let (file, content) = match (version, rate) {
                (Version::V1, rate) => (v1, format!("{device} {rate}")),
                (Version::V2, 0) => ("io.max", format!("{device} {v2}=max")),
                (Version::V2, rate) => ("io.max", format!("{device} {v2}={rate}")),
            };
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            settings.push(Setting::new(field, format!("{device} {rate}"), file, content).optional_if(*rate == 0));
        }
    }
    Ok(settings)
}

fn weight(name: String, device: Option<BlockDevice>, weight: u16, version: Version) -> Setting {
    let of_device = |weight: u64| device.map_or(weight.to_string(), |device| format!("{device} {weight}"));
    let (field, value) = (format!("linux.resources.blockIO.{name}"), of_device(weight.into()));
    let (bfq, other) = match (version, device) {
        (Version::V1, None) => ("blkio.bfq.weight", "blkio.weight"),
        (Version::V1, Some(_)) => ("blkio.bfq.weight_device", "blkio.weight_device"),
        (Version::V2, _) => ("io.bfq.weight", "io.weight"),
    };
    let others = if version == Version::V1 { weight.into() } else { io_weight(weight) };
    Setting::new(field, &value, bfq, &value).or(other, of_device(others))
}

/// From BFQ's 10-1000 to 1-10000, as runc does.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// Huge pages in use and, where the kernel counts them (since 5.7), reserved ones.
pub(super) fn hugetlb(resources: &Resources, version: Version) -> Settings {
    let suffix = if version == Version::V1 { "limit_in_bytes" } else { "max" };
    let both = resources.hugepage_limits.iter().enumerate().flat_map(|(index, limit)| {
        let size = &limit.page_size;
        let setting = |kind: &str| {
            let value = format!("{size} {}", limit.limit);
            let field = format!("linux.resources.hugepageLimits[{index}]");
            Setting::new(field, value, format!("hugetlb.{size}{kind}.{suffix}"), limit.limit)
        };
        [setting(""), setting(".rsvd").optional_if(true)]
    });
    Ok(both.collect())
}

/// The same on v1 and v2.
pub(super) fn rdma(resources: &Resources, _: Version) -> Settings {
    let one = |limit: &policy::plan::RdmaLimit| {
        let part = |name: &str, value: Option<u32>| value.map_or(String::new(), |value| format!(" {name}={value}"));
        let limits = part("hca_handle", limit.hca_handles) + &part("hca_object", limit.hca_objects);
        let field = format!("linux.resources.rdma[{:?}]", limit.device);
        Setting::new(field, limits.trim_start(), "rdma.max", format!("{}{limits}", limit.device))
    };
    Ok(resources.rdma.iter().map(one).collect())
}

/// The class of packets: v1 only.
pub(super) fn net_cls(resources: &Resources, version: Version) -> Settings {
    let field = "linux.resources.network.classID";
    match resources.network_class_id {
        None => Ok(Vec::new()),
        Some(class) if version == Version::V2 => v1_only(field, class),
        Some(class) => Ok(vec![Setting::new(field, class, "net_cls.classid", class)]),
    }
}

/// The priority of packets by interface: v1 only.
pub(super) fn net_prio(resources: &Resources, version: Version) -> Settings {
    let mut settings = Vec::new();
    for (index, (name, priority)) in resources.network_priorities.iter().enumerate() {
        let (field, value) = (format!("linux.resources.network.priorities[{index}]"), format!("{name} {priority}"));
        if version == Version::V2 {
            return v1_only(&field, value);
        }
        settings.push(Setting::new(field, &value, "net_prio.ifpriomap", &value));
    }
    Ok(settings)
}

/// One file of v2, each line of its value by itself, with the controller that it belongs to.
///
/// # Errors
/// Where that controller is v1's.
pub(super) fn unified<'a>(
    file: &'a str,
    value: &str,
    version: impl Fn(&str) -> Version,
) -> Result<(&'a str, Vec<Setting>), Refusal> {
    let controller = file.split_once('.').map_or(file, |(controller, _)| controller);
    let field = format!("linux.resources.unified[{file:?}]");
    if version(controller) == Version::V1 {
        let reason = "is a file of cgroup v2, and here its controller is cgroup v1's";
        return Err(Refusal::new(field, format!("{}: {reason}", one_line(value))));
    }
    let lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok((controller, lines.map(|line| Setting::new(field.clone(), line, file.to_owned(), line)).collect()))
}

fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "controllers_tests.rs"]
mod tests;
