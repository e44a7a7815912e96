//! Rows of the table: what tells of processors, memory, disks and time.

use std::time::Duration;

use super::{Kind, Live, Node};
use crate::render::{self, Render};

/// See the module.
pub(super) const NODES: &[Node] = &[
    row(
        "/proc/cpuinfo",
        render::cpuinfo,
        1000,
        "The processors of the container's cpuset, no more than its quota needs.",
    ),
    row("/proc/diskstats", render::diskstats, 1000, "The transfers of the container's group."),
    row("/proc/loadavg", render::loadavg, 1000, "The load of the container's own tasks."),
    steady(
        "/proc/meminfo",
        render::meminfo,
        100,
        "The least memory limit of the container's group and those above it.",
    ),
    row("/proc/pressure/cpu", render::cpu_pressure, 100, "The pressure of the container's own group."),
    row("/proc/pressure/io", render::io_pressure, 100, "The pressure of the container's own group."),
    row("/proc/pressure/memory", render::memory_pressure, 100, "The pressure of the container's own group."),
    row(
        "/proc/stat",
        render::stat,
        100,
        "The processors of `/proc/cpuinfo`, and the time that the container used of them.",
    ),
    row("/proc/swaps", render::swaps, 1000, "The least swap limit of the container's group and those above it."),
    // Its length changes with the number of digits, and a shell reads it byte by byte.
    row(
        "/proc/uptime",
        render::uptime,
        10,
        "The idle time of the container's processors; its first number is the kernel's.",
    ),
    row(
        "/proc/vmstat",
        render::vmstat,
        100,
        "Transfers of disks and swap, page faults and kills are the group's own; the rest is the host's.",
    ),
];

/// A value that changes, with its resolution in milliseconds.
const fn row(path: &'static str, render: Render, fresh: u64, reason: &'static str) -> Node {
    node(path, render, fresh, false, reason)
}

/// The same, of a text whose length hardly ever changes.
const fn steady(path: &'static str, render: Render, fresh: u64, reason: &'static str) -> Node {
    node(path, render, fresh, true, reason)
}

const fn node(path: &'static str, render: Render, fresh: u64, steady: bool, reason: &'static str) -> Node {
    let kind = Kind::Live(Live { render, fresh: Duration::from_millis(fresh), steady });
    Node { path, mode: 0o444, kind, own_proc_only: false, reason }
}
