//! What systemd is told of a scope: its own properties, and the limits as properties.
//!
//! Pure. The names and units are those of org.freedesktop.systemd1(5) and systemd.resource-control(5), and the choice is
//! runc's: what systemd has no property for stays in the group's files alone, which systemd then leaves alone.

use policy::Refusal;
use policy::plan::Resources;
use zvariant::Value;

use super::super::cpuset::mask;
use super::super::devices::{self, Rule};
use super::super::limits::weight;

/// A name and a value.
pub(super) type Property = (&'static str, Value<'static>);

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;

/// What the kernel has where a spec gives a quota alone, in microseconds.
const PERIOD: u64 = 100_000;

/// Versions that brought a property: CPUQuotaPeriodUSec, AllowedCPUs, a weight of 0 (`cpu.idle`).
const QUOTA_PERIOD: u32 = 242;
const ALLOWED_CPUS: u32 = 244;
const IDLE: u32 = 252;

/// The properties that make it a container's. With the accounting on, systemd enables every controller that it knows on
/// the way to the group; with `Delegate` the group's inside is the container's.
pub(super) fn of_scope(slice: &str, name: &str, pid: u32, unified: bool) -> Vec<Property> {
    let io = if unified { "IOAccounting" } else { "BlockIOAccounting" };
    vec![
        ("Description", Value::from(format!("eci container {name}"))),
        ("Slice", Value::from(slice.to_owned())),
        ("Delegate", Value::from(true)),
        ("DefaultDependencies", Value::from(false)),
        ("CollectMode", Value::from("inactive-or-failed")),
        ("MemoryAccounting", Value::from(true)),
        ("CPUAccounting", Value::from(true)),
        (io, Value::from(true)),
        ("TasksAccounting", Value::from(true)),
        ("PIDs", Value::from(vec![pid])),
    ]
}

/// The limits that are given, checked already.
pub(super) fn limits(resources: &Resources, unified: bool, version: u32) -> Vec<Property> {
    let mut all = if unified { unified_limits(resources, version) } else { v1_limits(resources) };
    all.extend(quota(resources.cpu_quota, resources.cpu_period, version));
    if let Some(limit) = resources.pids_limit {
        // As in the group's file: no fork is a limit of one.
        all.push(("TasksMax", amount(if limit == 0 { 1 } else { limit })));
    }
    all
}

fn v1_limits(resources: &Resources) -> Vec<Property> {
    let weight = resources.block_io.weight.filter(|&weight| weight != 0);
    [
        given(resources.memory_limit).map(|limit| ("MemoryLimit", amount(limit))),
        resources.cpu_shares.filter(|&shares| shares != 0).map(|shares| ("CPUShares", Value::from(shares))),
        weight.map(|weight| ("BlockIOWeight", Value::from(u64::from(weight)))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unified_limits(resources: &Resources, version: u32) -> Vec<Property> {
    let limit = given(resources.memory_limit);
    let swap = match (given(resources.memory_swap), limit) {
        (Some(total @ 0..), Some(limit @ 0..)) => Some(total.saturating_sub(limit)),
        (Some(-1), _) => Some(-1),
        _ => None,
    };
    let weight = match (resources.cpu_idle, resources.cpu_shares.filter(|&shares| shares != 0)) {
        (Some(1), _) => (version >= IDLE).then_some(0),
        (_, shares) => shares.map(weight),
    };
    let io = resources.block_io.weight.filter(|&weight| weight != 0).map(super::super::controllers::io_weight);
    let mut all: Vec<Property> = [
        limit.map(|limit| ("MemoryMax", amount(limit))),
        // No protection, where v1's soft limit of -1 is no limit.
        given(resources.memory_reservation).map(|low| ("MemoryLow", amount(low.max(0)))),
        swap.map(|swap| ("MemorySwapMax", amount(swap))),
        weight.map(|weight| ("CPUWeight", Value::from(weight))),
        io.map(|weight| ("IOWeight", Value::from(weight))),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend(sets(resources.cpuset_cpus.as_deref(), resources.cpuset_mems.as_deref(), version));
    for (file, value) in &resources.unified {
        all.extend(of_file(file, value.trim(), version));
    }
    all
}

/// A file of v2 that systemd has a property for.
fn of_file(file: &str, value: &str, version: u32) -> Vec<Property> {
    let name = match file {
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = words.next().map(|word| word.parse().unwrap_or(-1));
            return quota_of(quota, words.next().and_then(|word| word.parse().ok()), version);
        }
        "cpuset.cpus" => return sets(Some(value), None, version),
        "cpuset.mems" => return sets(None, Some(value), version),
        "cpu.weight" => "CPUWeight",
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return Vec::new(),
    };
    let number = if value == "max" { Some(INFINITY) } else { value.parse().ok() };
    number.map(|number| (name, Value::from(number))).into_iter().collect()
}

/// None for a field that is absent or zero.
fn given(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value != 0)
}

fn amount(value: i64) -> Value<'static> {
    Value::from(u64::try_from(value).unwrap_or(INFINITY))
}

fn quota(quota: Option<i64>, period: Option<u64>, version: u32) -> Vec<Property> {
    quota_of(given(quota), period.filter(|&period| period != 0), version)
}

/// Microseconds in each second. systemd counts whole percents, so it is the next one: a quota that systemd writes is never
/// less than what the spec gives.
fn quota_of(quota: Option<i64>, period: Option<u64>, version: u32) -> Vec<Property> {
    let mut all = Vec::new();
    if let Some(quota) = quota {
        let of_second = |quota: u64| {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(PERIOD));
            u64::try_from(exact.div_ceil(10_000) * 10_000).unwrap_or(INFINITY)
        };
        let quota = u64::try_from(quota).map_or(INFINITY, of_second);
        all.push(("CPUQuotaPerSecUSec", Value::from(quota)));
    }
    if let Some(period) = period.filter(|_| version >= QUOTA_PERIOD) {
        all.push(("CPUQuotaPeriodUSec", Value::from(period)));
    }
    all
}

fn sets(cpus: Option<&str>, mems: Option<&str>, version: u32) -> Vec<Property> {
    let set = |name, list: Option<&str>| {
        let mask = list.filter(|list| !list.is_empty()).and_then(mask)?;
        Some((name, Value::from(mask)))
    };
    if version < ALLOWED_CPUS {
        return Vec::new();
    }
    set("AllowedCPUs", cpus).into_iter().chain(set("AllowedMemoryNodes", mems)).collect()
}

/// v1's device list. (On v2 it is a program of ours in the group, which systemd does not know and leaves alone; told of
/// nothing, it attaches none of its own.)
///
/// # Errors
/// When it is a list of what is denied: systemd keeps what is allowed.
pub(super) fn devices(rules: &[Rule]) -> Result<Vec<Property>, Refusal> {
    let list = devices::v1(rules)?;
    if list.allow && list.exceptions.is_empty() {
        return Ok(vec![("DevicePolicy", Value::from("auto"))]);
    }
    if let (true, Some(denied)) = (list.allow, list.exceptions.first()) {
        let reason = format!("{denied}: is denied among what is allowed, which systemd cannot keep on cgroup v1");
        return Err(Refusal::new(denied.from.field(), reason));
    }
    let groups = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let allowed: Vec<(String, String)> =
        list.exceptions.iter().flat_map(|it| it.of_systemd(&groups).map(|device| (device, it.letters()))).collect();
    Ok(vec![("DevicePolicy", Value::from("strict")), ("DeviceAllow", Value::from(allowed))])
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
