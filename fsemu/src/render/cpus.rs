//! Which processors a container has, and how much of them it has used.
//!
//! They keep the host's numbers, as sched_getaffinity(2) tells them. A quota (`cpu.max`, `cpu.cfs_quota_us`) of q
//! processors leaves the first ⌈q⌉ of them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::groups::{Groups, flat, number, read};
use crate::{Emulation, cpuset};

/// The numbers of the processors that the container has, in their order; never empty.
///
/// # Errors
/// When neither its cpuset nor `/sys/devices/system/cpu/online` can be read.
pub fn shown(emulation: &Emulation) -> io::Result<Vec<u32>> {
    let set = cpuset::cpus(emulation)?.into_iter().collect();
    Ok(cut(set, quota(&Groups::of(&emulation.facts, "cpu"))))
}

/// The same, as a set.
pub(crate) fn set(emulation: &Emulation) -> io::Result<BTreeSet<u32>> {
    Ok(shown(emulation)?.into_iter().collect())
}

fn cut(mut set: Vec<u32>, quota: Option<f64>) -> Vec<u32> {
    if set.is_empty() {
        set.push(0);
    }
    if let Some(quota) = quota {
        let whole = (1..set.len()).find(|&count| quota <= f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        set.truncate(whole.unwrap_or(set.len()));
    }
    set
}

/// How many processors' worth of time the least quota gives.
fn quota(groups: &Groups) -> Option<f64> {
    groups.levels().filter_map(|level| level_quota(level, groups.v2)).reduce(f64::min)
}

fn level_quota(dir: &Path, v2: bool) -> Option<f64> {
    let (quota, period) = if v2 {
        let text = read(dir, "cpu.max")?;
        let (quota, period) = text.trim().split_once(' ')?;
        (quota.parse::<u32>().ok()?, period.parse::<u32>().ok()?)
    } else {
        // Without a quota it is -1.
        let of = |file| u32::try_from(number(&read(dir, file)?)?).ok();
        (of("cpu.cfs_quota_us")?, of("cpu.cfs_period_us")?)
    };
    (period > 0).then(|| f64::from(quota) / f64::from(period))
}

/// Time of processors that the container has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl Usage {
    pub(super) fn sample(emulation: &Emulation) -> Self {
        let accounted = Groups::of(&emulation.facts, "cpuacct");
        if !accounted.v2 {
            let of = |file| Duration::from_nanos(accounted.number(file).unwrap_or(0));
            return Self { user: of("cpuacct.usage_user"), system: of("cpuacct.usage_sys") };
        }
        let stat = flat(&accounted.read("cpu.stat").unwrap_or_default());
        let of = |key| Duration::from_micros(stat.get(key).copied().unwrap_or(0));
        Self { user: of("user_usec"), system: of("system_usec") }
    }

    pub(super) fn total(self) -> Duration {
        self.user.saturating_add(self.system)
    }
}

#[cfg(test)]
#[path = "cpus_tests.rs"]
mod tests;
