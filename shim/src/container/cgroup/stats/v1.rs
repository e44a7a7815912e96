//! What a host with v1's controllers tells. A controller that this host has on v2 (huge pages, as a rule) is read there.

use super::parse::{self, Flat, Transfer};
use super::{HugePages, Pids, Rdma};
use crate::container::cgroup::Cgroup;
use crate::container::cgroup::error::Error;

/// Nanoseconds of a tick of `cpuacct.stat`: USER_HZ is 100 on every architecture that we run on (time(7)).
const TICK: u64 = 1_000_000_000 / 100;

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) pids: Pids,
    pub(crate) blkio: BlkIo,
    pub(crate) huge_pages: Vec<HugePages>,
    pub(crate) rdma: Rdma,
}

/// The processor, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// In all, and by processor.
    pub(crate) total: u64,
    pub(crate) per_cpu: Vec<u64>,
    /// In the programs, and in the kernel for them.
    pub(crate) user: u64,
    pub(crate) kernel: u64,
    /// `cpu.stat`: how the quota held it back.
    pub(crate) throttling: Flat,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// `memory.stat`.
    pub(crate) stat: Flat,
    pub(crate) usage: Counter,
    /// With swap.
    pub(crate) swap: Counter,
    /// The kernel's own.
    pub(crate) kernel: Counter,
    /// Buffers of sockets.
    pub(crate) kernel_tcp: Counter,
    /// `memory.oom_control`.
    pub(crate) oom_control: Flat,
}

/// A counter with a limit (the kernel's resource_counter).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    /// In use.
    pub(crate) usage: u64,
    /// The most that was.
    pub(crate) max: u64,
    /// How often the limit was hit.
    pub(crate) failures: u64,
    pub(crate) limit: u64,
}

/// Block devices, each kind with a number for each device and operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlkIo {
    pub(crate) service_bytes: Vec<Transfer>,
    pub(crate) serviced: Vec<Transfer>,
    pub(crate) queued: Vec<Transfer>,
    pub(crate) service_time: Vec<Transfer>,
    pub(crate) wait_time: Vec<Transfer>,
    pub(crate) merged: Vec<Transfer>,
    pub(crate) time: Vec<Transfer>,
    pub(crate) sectors: Vec<Transfer>,
    /// The devices' names.
    pub(crate) names: std::collections::HashMap<parse::Device, String>,
}

/// Reads everything.
pub(super) fn read(cgroup: &Cgroup) -> Result<Stats, Error> {
    Ok(Stats {
        cpu: cpu(cgroup)?,
        memory: memory(cgroup)?,
        pids: cgroup.pids_used()?,
        blkio: blkio(cgroup)?,
        huge_pages: cgroup.huge_pages_used()?,
        rdma: cgroup.rdma_used()?,
    })
}

fn cpu(cgroup: &Cgroup) -> Result<Cpu, Error> {
    let (accounting, quota) = (cgroup.files("cpuacct")?, cgroup.files("cpu")?);
    let modes = accounting.flat("cpuacct.stat")?;
    Ok(Cpu {
        total: accounting.number("cpuacct.usage")?,
        per_cpu: accounting.text("cpuacct.usage_percpu")?.map_or_else(Vec::new, |text| parse::numbers(&text)),
        user: modes.get("user").saturating_mul(TICK),
        kernel: modes.get("system").saturating_mul(TICK),
        throttling: quota.flat("cpu.stat")?,
    })
}

fn memory(cgroup: &Cgroup) -> Result<Memory, Error> {
    let files = cgroup.files("memory")?;
    let counter = |module: &str| {
        let read = |what: &str| files.number(&format!("memory.{module}{what}"));
        Ok::<_, Error>(Counter {
            usage: read("usage_in_bytes")?,
            max: read("max_usage_in_bytes")?,
            failures: read("failcnt")?,
            limit: read("limit_in_bytes")?,
        })
    };
    Ok(Memory {
        stat: files.flat("memory.stat")?,
        usage: counter("")?,
        swap: counter("memsw.")?,
        kernel: counter("kmem.")?,
        kernel_tcp: counter("kmem.tcp.")?,
        oom_control: files.flat("memory.oom_control")?,
    })
}

/// The files of a kind, best first: CFQ's (before Linux 5.0) and BFQ's count for the devices that they schedule, those of
/// throttling for the others (since Linux 6.10 where a limit was set). The plain file leaves out the groups below, and is
/// for kernels that have no other.
fn sources(kind: &str) -> [String; 4] {
    [
        format!("blkio.{kind}_recursive"),
        format!("blkio.bfq.{kind}_recursive"),
        format!("blkio.throttle.{kind}_recursive"),
        format!("blkio.throttle.{kind}"),
    ]
}

fn blkio(cgroup: &Cgroup) -> Result<BlkIo, Error> {
    let files = cgroup.files("blkio")?;
    let read = |kind: &str| {
        let mut found = Vec::new();
        for file in sources(kind) {
            let entries = files.text(&file)?.map_or_else(Vec::new, |text| parse::transfers(&text));
            add_other_devices(&mut found, entries);
        }
        Ok::<_, Error>(found)
    };
    let mut blkio = BlkIo {
        service_bytes: read("io_service_bytes")?,
        serviced: read("io_serviced")?,
        queued: read("io_queued")?,
        service_time: read("io_service_time")?,
        wait_time: read("io_wait_time")?,
        merged: read("io_merged")?,
        time: read("time")?,
        sectors: read("sectors")?,
        ..BlkIo::default()
    };
    if blkio != BlkIo::default() {
        // A name is for people: without it the numbers are still right.
        blkio.names = parse::partitions(&std::fs::read_to_string("/proc/partitions").unwrap_or_default());
    }
    Ok(blkio)
}

/// Adds the entries of the devices of which there are none yet.
fn add_other_devices(found: &mut Vec<Transfer>, entries: Vec<Transfer>) {
    let known = found.len();
    for entry in entries {
        if !found[..known].iter().any(|it| it.device == entry.device) {
            found.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_counted_by_its_scheduler_or_else_by_throttling() {
        let mut found = parse::transfers("8:0 Read 1\n8:0 Write 2\nTotal 3\n");
        add_other_devices(&mut found, parse::transfers("8:0 Read 7\n254:0 Read 5\n254:0 Write 6\nTotal 18\n"));
        let numbers: Vec<_> = found.iter().map(|it| (it.device.major, it.operation.as_str(), it.value)).collect();
        assert_eq!(numbers, [(8, "Read", 1), (8, "Write", 2), (254, "Read", 5), (254, "Write", 6)]);
    }
}
