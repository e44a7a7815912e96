//! Limits: from the fields of the spec to the files of a group.
//!
//! The functions of this module are pure: what the spec says becomes a list of [`Setting`]s, in the order in which they
//! are written to a *new* group (whose limits are all open), in the files and units of v1 or of v2. As in runc a zero
//! means "not set", save where zero is a value of its own (swappiness, idle, burst, pids). What a version of cgroups does not
//! have is refused by the field's name. The controllers with a limit for each device, size or adapter are in
//! [`super::controllers`].

use std::borrow::Cow;

use policy::Refusal;
use policy::plan::Resources;

use super::controllers;

/// v1's or v2's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The field of the spec, for messages.
    pub(super) field: Cow<'static, str>,
    /// Its value as the spec has it.
    pub(super) value: String,
    /// The file in the group.
    pub(super) file: Cow<'static, str>,
    /// What is written.
    pub(super) content: String,
    /// What does the same where the kernel lacks the file: another file, and what is written to that.
    pub(super) instead: Option<(&'static str, String)>,
    /// Whether the kernel does the same without the file or its controller: the value is "no limit".
    pub(super) optional: bool,
}

impl Setting {
    pub(super) fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl ToString,
        file: impl Into<Cow<'static, str>>,
        content: impl ToString,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            file: file.into(),
            content: content.to_string(),
            instead: None,
            optional: false,
        }
    }

    pub(super) fn or(self, file: &'static str, content: impl ToString) -> Self {
        Self { instead: Some((file, content.to_string())), ..self }
    }

    pub(super) fn optional_if(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

/// What one controller is told.
pub(super) type Settings = Result<Vec<Setting>, Refusal>;

/// Works out what one controller is told.
type Controller = fn(&Resources, Version) -> Settings;

/// The controllers that have limits, by the name that they have on v2.
pub(super) const CONTROLLERS: [(&str, Controller); 9] = [
    ("memory", memory),
    ("cpu", cpu),
    ("cpuset", cpuset),
    ("pids", pids),
    ("io", controllers::io),
    ("hugetlb", controllers::hugetlb),
    ("rdma", controllers::rdma),
    ("net_cls", controllers::net_cls),
    ("net_prio", controllers::net_prio),
];

pub(super) const LIMIT: &str = "linux.resources.memory.limit";
const RESERVATION: &str = "linux.resources.memory.reservation";
pub(super) const SWAP: &str = "linux.resources.memory.swap";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const OOM_KILLER: &str = "linux.resources.memory.disableOOMKiller";
const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const RT_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const RT_PERIOD: &str = "linux.resources.cpu.realtimePeriod";
const CPUS: &str = "linux.resources.cpu.cpus";
const MEMS: &str = "linux.resources.cpu.mems";
const PIDS: &str = "linux.resources.pids.limit";

fn refuse<T>(field: &str, value: impl std::fmt::Display, reason: &str) -> Result<T, Refusal> {
    Err(Refusal::new(field, format!("{value}: {reason}")))
}

pub(super) fn v1_only(field: &str, value: impl std::fmt::Display) -> Settings {
    refuse(field, value, "only cgroup v1 has this control, and here it is cgroup v2")
}

/// A number, or the version's word for no limit.
fn amount(value: i64, version: Version) -> String {
    match version {
        Version::V1 => value.to_string(),
        Version::V2 if value == -1 => "max".into(),
        Version::V2 => value.to_string(),
    }
}

/// None for a field that is absent or zero; refuses what is below -1.
fn given(field: &str, value: Option<i64>) -> Result<Option<i64>, Refusal> {
    match value {
        Some(value) if value < -1 => refuse(field, value, "is negative; -1 means no limit"),
        value => Ok(value.filter(|&value| value != 0)),
    }
}

fn memory(resources: &Resources, version: Version) -> Settings {
    let limit = given(LIMIT, resources.memory_limit)?;
    let reservation = given(RESERVATION, resources.memory_reservation)?;
    let swap = given(SWAP, resources.memory_swap)?;
    let (limit_file, reservation_file) = match version {
        Version::V1 => ("memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
        Version::V2 => ("memory.max", "memory.low"),
    };
    let mut settings = Vec::new();
    // On v1 memory.limit_in_bytes can never exceed memory.memsw.limit_in_bytes: in a new group, where both are open, the
    // smaller comes first.
    if let Some(value) = limit {
        settings.push(Setting::new(LIMIT, value, limit_file, amount(value, version)).optional_if(value == -1));
    }
    if let Some(total) = swap {
        settings.push(memory_and_swap(total, limit, version)?);
    }
    if let Some(value) = reservation {
        // For memory.low -1 would be the best protection there is, where v1's soft limit means none.
        let content = if value == -1 && version == Version::V2 { "0".into() } else { amount(value, version) };
        settings.push(Setting::new(RESERVATION, value, reservation_file, content).optional_if(value == -1));
    }
    match resources.memory_swappiness {
        Some(value) if version == Version::V2 => return v1_only(SWAPPINESS, value),
        Some(value) if value > 100 => return refuse(SWAPPINESS, value, "is not between 0 and 100"),
        Some(value) => settings.push(Setting::new(SWAPPINESS, value, "memory.swappiness", value)),
        None => {}
    }
    if resources.disable_oom_killer == Some(true) {
        if version == Version::V2 {
            return v1_only(OOM_KILLER, true);
        }
        settings.push(Setting::new(OOM_KILLER, true, "memory.oom_control", 1));
    }
    Ok(settings)
}

/// The spec limits memory and swap together, as v1 does; v2 limits swap alone.
///
/// Kernels may be without the file. Then there is nothing to do for "no limit", nor for "no swap": without swap
/// accounting runc leaves that to the host as well.
fn memory_and_swap(total: i64, limit: Option<i64>, version: Version) -> Result<Setting, Refusal> {
    let file = match version {
        Version::V1 => "memory.memsw.limit_in_bytes",
        Version::V2 => "memory.swap.max",
    };
    let setting = |content: String, optional| Setting::new(SWAP, total, file, content).optional_if(optional);
    match limit {
        _ if total == -1 => Ok(setting(amount(-1, version), true)),
        None | Some(-1) => refuse(SWAP, total, "limits memory and swap together and needs a memory.limit"),
        Some(limit) if total < limit => {
            refuse(SWAP, total, &format!("limits memory and swap together and is below memory.limit {limit}"))
        }
        Some(limit) => {
            let content = if version == Version::V1 { total } else { total - limit };
            Ok(setting(content.to_string(), total == limit))
        }
    }
}

fn cpu(resources: &Resources, version: Version) -> Settings {
    let mut settings = Vec::new();
    if let Some(shares) = resources.cpu_shares.filter(|&shares| shares != 0) {
        if !(2..=262_144).contains(&shares) {
            return refuse(SHARES, shares, "is not between 2 and 262144");
        }
        // An idle group of v2 has no weight (sched-idle: cpu.weight is EINVAL).
        match version {
            Version::V1 => settings.push(Setting::new(SHARES, shares, "cpu.shares", shares)),
            Version::V2 if resources.cpu_idle == Some(1) => {}
            Version::V2 => settings.push(Setting::new(SHARES, shares, "cpu.weight", weight(shares))),
        }
    }
    settings.extend(bandwidth(resources, version)?);
    if let Some(burst) = resources.cpu_burst {
        let file = if version == Version::V1 { "cpu.cfs_burst_us" } else { "cpu.max.burst" };
        settings.push(Setting::new(BURST, burst, file, burst).optional_if(burst == 0));
    }
    if let Some(idle) = resources.cpu_idle {
        if !(0..=1).contains(&idle) {
            return refuse(IDLE, idle, "is neither 0 nor 1");
        }
        settings.push(Setting::new(IDLE, idle, "cpu.idle", idle).optional_if(idle == 0));
    }
    let rt_period = resources.cpu_realtime_period.filter(|&period| period != 0);
    let rt_runtime = resources.cpu_realtime_runtime.filter(|&runtime| runtime != 0);
    match (version, rt_period, rt_runtime) {
        (Version::V2, Some(period), _) => return v1_only(RT_PERIOD, period),
        (Version::V2, _, Some(runtime)) => return v1_only(RT_RUNTIME, runtime),
        _ => {}
    }
    settings.extend(rt_period.map(|period| Setting::new(RT_PERIOD, period, "cpu.rt_period_us", period)));
    settings.extend(rt_runtime.map(|runtime| Setting::new(RT_RUNTIME, runtime, "cpu.rt_runtime_us", runtime)));
    Ok(settings)
}

/// CFS quota and period: two files on v1, the period first, because the kernel checks the quota against it; one on v2.
fn bandwidth(resources: &Resources, version: Version) -> Settings {
    let quota = given(QUOTA, resources.cpu_quota)?;
    let period = resources.cpu_period.filter(|&period| period != 0);
    let setting = match (version, quota, period) {
        (_, None, None) => return Ok(Vec::new()),
        (Version::V1, quota, period) => {
            let period =
                period.map(|it| Setting::new(PERIOD, it, "cpu.cfs_period_us", it).optional_if(quota.is_none()));
            let quota = quota.map(|it| Setting::new(QUOTA, it, "cpu.cfs_quota_us", it).optional_if(it == -1));
            return Ok(period.into_iter().chain(quota).collect());
        }
        (Version::V2, Some(quota), None) => {
            Setting::new(QUOTA, quota, "cpu.max", amount(quota, version)).optional_if(quota == -1)
        }
        (Version::V2, None, Some(period)) => {
            Setting::new(PERIOD, period, "cpu.max", format!("max {period}")).optional_if(true)
        }
        (Version::V2, Some(quota), Some(period)) => {
            let value = format!("{quota} (period {period})");
            let content = format!("{} {period}", amount(quota, version));
            Setting::new(QUOTA, value, "cpu.max", content).optional_if(quota == -1)
        }
    };
    Ok(vec![setting])
}

/// From v1's shares (2-262144, default 1024) to v2's weight (1-10000, default 100), so that the ends and the defaults meet:
/// the curve that runc and crun have agreed on (kubernetes/kubernetes issue 131216).
pub(super) fn weight(shares: u64) -> u64 {
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // Rounded up, save for what is an integer but for the last bits of the computation.
    let weight = (10_f64.powf(exponent) - 1e-6).ceil();
    (weight as u64).clamp(1, 10_000)
}

fn cpuset(resources: &Resources, _: Version) -> Settings {
    let list = |field, value: &Option<String>, file| {
        let value = value.as_ref().filter(|list| !list.is_empty());
        value.map(|list| Setting::new(field, list, file, list))
    };
    let cpus = list(CPUS, &resources.cpuset_cpus, "cpuset.cpus");
    let mems = list(MEMS, &resources.cpuset_mems, "cpuset.mems");
    Ok(cpus.into_iter().chain(mems).collect())
}

fn pids(resources: &Resources, _: Version) -> Settings {
    let setting = match resources.pids_limit {
        None => return Ok(Vec::new()),
        Some(limit) if limit < -1 => return refuse(PIDS, limit, "is negative; -1 means no limit"),
        // With its first process there, 1 is what lets nobody fork.
        Some(0) => Setting::new(PIDS, 0, "pids.max", 1),
        // Both versions write "max".
        Some(limit) => Setting::new(PIDS, limit, "pids.max", amount(limit, Version::V2)).optional_if(limit == -1),
    };
    Ok(vec![setting])
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
