//! The cgroup and its limits.

use serde::{Deserialize, Serialize};

use super::{BlockIo, DeviceRule, HugepageLimit, RdmaLimit};

/// `linux.cgroupsPath` and `linux.resources`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The path as the spec gives it (checked: no `..`), if it gives one.
    pub path: Option<CgroupPath>,
    /// The limits.
    pub resources: Resources,
}

/// The two forms that engines use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupPath {
    /// A path below every hierarchy's root (or, when relative, below the shim's own group).
    Cgroupfs(String),
    /// `slice:prefix:name`
    Systemd {
        /// `system.slice`
        slice: String,
        /// `docker`
        prefix: String,
        /// The container's id.
        name: String,
    },
}

/// Limits of a cgroup. None means that the spec says nothing and the kernel's default stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Device rules, in order; empty: the default ones only.
    pub devices: Vec<DeviceRule>,
    /// Bytes; -1 is no limit.
    pub memory_limit: Option<i64>,
    /// Bytes; -1 is no limit.
    pub memory_reservation: Option<i64>,
    /// Memory plus swap, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// 0-100, cgroup v1 only.
    pub memory_swappiness: Option<u64>,
    /// cgroup v1 only.
    pub disable_oom_killer: Option<bool>,
    /// Whether an update to a limit below use is refused without an attempt to free memory (cgroup v2; v1 has one way).
    pub memory_check_before_update: Option<bool>,
    /// 2-262144 (cgroup v1's scale).
    pub cpu_shares: Option<u64>,
    /// Microseconds in each period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds.
    pub cpu_burst: Option<u64>,
    /// 1: `SCHED_IDLE` (cpu.idle).
    pub cpu_idle: Option<i64>,
    /// Microseconds, cgroup v1 only.
    pub cpu_realtime_runtime: Option<i64>,
    /// Microseconds, cgroup v1 only.
    pub cpu_realtime_period: Option<u64>,
    /// A list (`0-3`).
    pub cpuset_cpus: Option<String>,
    /// A list (`0`).
    pub cpuset_mems: Option<String>,
    /// Processes; -1 is no limit, 0 is a limit (no fork).
    pub pids_limit: Option<i64>,
    /// Weights and rates of block devices.
    pub block_io: BlockIo,
    /// Limits of huge pages, one for each size, in order.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// The class of the container's packets (cgroup v1 only).
    pub network_class_id: Option<u32>,
    /// Interfaces of the host with the priority of the container's packets (cgroup v1 only).
    pub network_priorities: Vec<(String, u32)>,
    /// Limits of RDMA devices, by device.
    pub rdma: Vec<RdmaLimit>,
    /// Files of cgroup v2 (checked: limits, no control of the group itself) with what is written to them, by file.
    pub unified: Vec<(String, String)>,
}
