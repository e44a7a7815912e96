//! What a host with cgroup v2 tells.

use super::parse::{self, Flat, Pressure};
use super::{HugePages, Pids, Rdma};
use crate::container::cgroup::Cgroup;
use crate::container::cgroup::error::Error;

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) pids: Pids,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) io: Io,
    pub(crate) huge_pages: Vec<HugePages>,
    pub(crate) rdma: Rdma,
}

/// The processor.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cpu {
    /// `cpu.stat`, in microseconds.
    pub(crate) stat: Flat,
    pub(crate) pressure: Option<Pressure>,
}

/// Memory, in bytes; `u64::MAX` is no limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    /// `memory.stat`.
    pub(crate) stat: Flat,
    /// `memory.events`.
    pub(crate) events: Flat,
    pub(crate) usage: u64,
    pub(crate) limit: u64,
    /// The most that was in use (since Linux 5.19).
    pub(crate) max_usage: u64,
    /// Swap alone.
    pub(crate) swap_usage: u64,
    pub(crate) swap_limit: u64,
    /// Since Linux 6.5.
    pub(crate) swap_max_usage: u64,
    pub(crate) pressure: Option<Pressure>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Io {
    pub(crate) usage: Vec<parse::Io>,
    pub(crate) pressure: Option<Pressure>,
}

/// Reads everything.
pub(super) fn read(cgroup: &Cgroup) -> Result<Stats, Error> {
    // It is one group for all of them.
    let files = cgroup.files("memory")?;
    Ok(Stats {
        pids: cgroup.pids_used()?,
        cpu: Cpu { stat: files.flat("cpu.stat")?, pressure: files.pressure("cpu.pressure")? },
        memory: Memory {
            stat: files.flat("memory.stat")?,
            events: files.flat("memory.events")?,
            usage: files.number("memory.current")?,
            limit: files.number("memory.max")?,
            max_usage: files.number("memory.peak")?,
            swap_usage: files.number("memory.swap.current")?,
            swap_limit: files.number("memory.swap.max")?,
            swap_max_usage: files.number("memory.swap.peak")?,
            pressure: files.pressure("memory.pressure")?,
        },
        io: Io {
            usage: files.text("io.stat")?.map_or_else(Vec::new, |text| parse::io(&text)),
            pressure: files.pressure("io.pressure")?,
        },
        huge_pages: cgroup.huge_pages_used()?,
        rdma: cgroup.rdma_used()?,
    })
}
