//! `linux.resources`: memory, cpu and pids limits, held against what the kernel's controllers take. Those of the other
//! controllers are [`super::controllers`]'.
//!
//! A limit of 0 is one that is not set, as engines write it; only `pids.limit` of 0 is a limit (runtime-spec 1.3).

use std::ops::RangeInclusive;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{controllers, cpu_list, device_rules};
use crate::Refusal;
use crate::plan::Resources;

/// The limits of a new cgroup.
///
/// # Errors
/// A refusal that names the first limit that no kernel would take.
pub(super) fn of_new(spec: &LinuxResources) -> Result<Resources, Refusal> {
    let plan = resources(spec)?;
    match (plan.memory_swap, plan.memory_limit) {
        (Some(1..), None | Some(..1)) => refuse("memory.swap", "needs a memory limit beside it"),
        _ => Ok(plan),
    }
}

/// The limits of a new cgroup, or what is changed in one that has some.
///
/// # Errors
/// As [`of_new`], save where a limit goes with one that the cgroup may have already.
pub(super) fn resources(resources: &LinuxResources) -> Result<Resources, Refusal> {
    let mut plan = Resources {
        devices: device_rules::rules(resources.devices().as_deref().unwrap_or_default())?,
        pids_limit: limit("pids.limit", resources.pids().as_ref().map(|pids| pids.limit()))?,
        ..Resources::default()
    };
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut plan)?;
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut plan)?;
    }
    if let Some(block_io) = resources.block_io() {
        plan.block_io = controllers::block_io(block_io)?;
    }
    plan.hugepage_limits = controllers::hugepages(resources.hugepage_limits().as_deref().unwrap_or_default())?;
    if let Some(network) = resources.network() {
        controllers::network(network, &mut plan)?;
    }
    if let Some(rdma) = resources.rdma() {
        plan.rdma = controllers::rdma(rdma)?;
    }
    if let Some(unified) = resources.unified() {
        plan.unified = controllers::unified(unified)?;
    }
    Ok(plan)
}

fn memory(memory: &LinuxMemory, plan: &mut Resources) -> Result<(), Refusal> {
    plan.memory_limit = set(limit("memory.limit", memory.limit())?);
    plan.memory_reservation = set(limit("memory.reservation", memory.reservation())?);
    plan.memory_swap = set(limit("memory.swap", memory.swap())?);
    if let (Some(swap @ 1..), Some(memory @ 1..)) = (plan.memory_swap, plan.memory_limit)
        && swap < memory
    {
        let reason = format!("{swap} is memory and swap together, and less than the memory limit {memory}");
        return refuse("memory.swap", reason);
    }
    plan.memory_swappiness = match memory.swappiness() {
        // dockerd writes the -1 of "not set" as an unsigned number.
        None | Some(u64::MAX) => None,
        Some(swappiness) => within("memory.swappiness", swappiness, 0..=100)?,
    };
    plan.disable_oom_killer = memory.disable_oom_killer();
    plan.memory_check_before_update = memory.check_before_update();
    Ok(())
}

fn cpu(cpu: &LinuxCpu, plan: &mut Resources) -> Result<(), Refusal> {
    // cgroup v1 rounds other shares into this range without a word.
    plan.cpu_shares = positive("cpu.shares", cpu.shares(), 2..=262_144)?;
    plan.cpu_period = positive("cpu.period", cpu.period(), 1_000..=1_000_000)?;
    plan.cpu_quota = set(limit("cpu.quota", cpu.quota())?);
    if let Some(quota @ 1..1_000) = plan.cpu_quota {
        return refuse("cpu.quota", format!("{quota} is below the kernel's least, 1000 microseconds"));
    }
    plan.cpu_burst = set(cpu.burst());
    if let (Some(burst), Some(quota @ 1..)) = (plan.cpu_burst, plan.cpu_quota)
        && burst > quota.unsigned_abs()
    {
        return refuse("cpu.burst", format!("{burst} is above the quota {quota}"));
    }
    plan.cpu_idle = match cpu.idle() {
        None | Some(0 | 1) => cpu.idle(),
        Some(other) => return refuse("cpu.idle", format!("{other} is neither 0 nor 1")),
    };
    plan.cpu_realtime_runtime = set(limit("cpu.realtimeRuntime", cpu.realtime_runtime())?);
    plan.cpu_realtime_period = set(cpu.realtime_period());
    plan.cpuset_cpus = list("cpu.cpus", cpu.cpus().as_deref())?;
    plan.cpuset_mems = list("cpu.mems", cpu.mems().as_deref())?;
    Ok(())
}

/// A limit in bytes, tasks or microseconds, where -1 is no limit.
fn limit(name: &str, limit: Option<i64>) -> Result<Option<i64>, Refusal> {
    match limit {
        Some(below) if below < -1 => refuse(name, format!("{below} is neither a limit nor -1 for none")),
        limit => Ok(limit),
    }
}

/// 0 is not set.
fn set<T: Default + PartialEq>(limit: Option<T>) -> Option<T> {
    limit.filter(|limit| *limit != T::default())
}

fn positive(name: &str, value: Option<u64>, range: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
    match set(value) {
        Some(value) => within(name, value, range),
        None => Ok(None),
    }
}

fn within(name: &str, value: u64, range: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
    if range.contains(&value) {
        return Ok(Some(value));
    }
    refuse(name, format!("{value} is not from {} to {}", range.start(), range.end()))
}

fn list(name: &str, list: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    cpu_list::check(list).or_else(|reason| refuse(name, reason))?;
    Ok(Some(list.to_owned()))
}

fn refuse<T>(name: &str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(format!("linux.resources.{name}"), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Resources, String> {
        let spec = serde_json::from_str(json).expect("resources");
        of_new(&spec).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn limits_are_carried_and_zeroes_are_none() {
        let all = r#"{
            "memory": {
                "limit": 1048576, "reservation": -1, "swap": 2097152, "swappiness": 0, "disableOOMKiller": false,
                "checkBeforeUpdate": true
            },
            "cpu": {"shares": 2, "quota": 50000, "period": 100000, "burst": 1000, "idle": 0, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 0}
        }"#;
        let expected = Resources {
            memory_limit: Some(1_048_576),
            memory_reservation: Some(-1),
            memory_swap: Some(2_097_152),
            memory_swappiness: Some(0),
            disable_oom_killer: Some(false),
            memory_check_before_update: Some(true),
            cpu_shares: Some(2),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            cpu_burst: Some(1_000),
            cpu_idle: Some(0),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids_limit: Some(0),
            ..Resources::default()
        };
        assert_eq!(plan(all), Ok(expected));
        let zeroes = r#"{
            "memory": {"limit": 0, "reservation": 0, "swap": 0, "swappiness": 18446744073709551615},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "burst": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""}
        }"#;
        assert_eq!(plan(zeroes), Ok(Resources::default()));
    }

    #[test]
    fn an_update_may_leave_out_what_the_group_has() {
        let update = |json| resources(&serde_json::from_str(json).expect("resources")).map_err(|it| it.to_string());
        let swap = Resources { memory_swap: Some(5), ..Resources::default() };
        assert_eq!(update(r#"{"memory": {"swap": 5}}"#), Ok(swap));
        assert!(update(r#"{"memory": {"limit": 9, "swap": 5}}"#).is_err());
    }

    #[test]
    fn what_no_kernel_takes_is_refused_by_name() {
        for (json, message) in [
            (r#"{"memory": {"limit": -2}}"#, "memory.limit: -2 is neither a limit nor -1 for none"),
            (r#"{"memory": {"swap": 5}}"#, "memory.swap: needs a memory limit beside it"),
            (
                r#"{"memory": {"limit": 9, "swap": 5}}"#,
                "memory.swap: 5 is memory and swap together, and less than the memory limit 9",
            ),
            (r#"{"memory": {"swappiness": 101}}"#, "memory.swappiness: 101 is not from 0 to 100"),
            (r#"{"cpu": {"shares": 1}}"#, "cpu.shares: 1 is not from 2 to 262144"),
            (r#"{"cpu": {"shares": 262145}}"#, "cpu.shares: 262145 is not from 2 to 262144"),
            (r#"{"cpu": {"period": 999}}"#, "cpu.period: 999 is not from 1000 to 1000000"),
            (r#"{"cpu": {"quota": 999}}"#, "cpu.quota: 999 is below the kernel's least, 1000 microseconds"),
            (r#"{"cpu": {"quota": 1000, "burst": 1001}}"#, "cpu.burst: 1001 is above the quota 1000"),
            (r#"{"cpu": {"idle": 2}}"#, "cpu.idle: 2 is neither 0 nor 1"),
            (r#"{"cpu": {"cpus": "3-1"}}"#, "cpu.cpus: \"3-1\" is not a list of numbers and ranges like 0-3,7"),
            (r#"{"pids": {"limit": -5}}"#, "pids.limit: -5 is neither a limit nor -1 for none"),
        ] {
            assert_eq!(plan(json), Err(format!("linux.resources.{message}")));
        }
    }
}
