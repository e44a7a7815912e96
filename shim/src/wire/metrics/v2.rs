//! The message of v2 (containerd/cgroups, `cgroup2/stats/metrics.proto`).

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats, PidsStat, RdmaEntry,
    RdmaStat,
};
use containerd_shim_protos::protobuf::MessageField;

use crate::container::cgroup::stats::parse::{self, Flat, Pressure, Stall};
use crate::container::cgroup::stats::v2::{Cpu, Io, Memory, Stats};
use crate::container::cgroup::stats::{HugePages, Pids, Rdma};

/// All but the network, which engines read themselves.
pub(super) fn metrics(stats: Stats) -> Metrics {
    let events = &stats.memory.events;
    Metrics {
        pids: MessageField::some(pids(stats.pids)),
        cpu: MessageField::some(cpu(&stats.cpu)),
        memory_events: (!events.is_empty()).then(|| memory_events(events)).into(),
        memory: MessageField::some(memory(&stats.memory)),
        rdma: MessageField::some(rdma(stats.rdma)),
        io: MessageField::some(io(stats.io)),
        hugetlb: stats.huge_pages.into_iter().map(hugetlb).collect(),
        ..Default::default()
    }
}

fn pids(pids: Pids) -> PidsStat {
    PidsStat { current: pids.current, limit: pids.limit, ..Default::default() }
}

fn cpu(cpu: &Cpu) -> CPUStat {
    let stat = |key| cpu.stat.get(key);
    CPUStat {
        usage_usec: stat("usage_usec"),
        user_usec: stat("user_usec"),
        system_usec: stat("system_usec"),
        nr_periods: stat("nr_periods"),
        nr_throttled: stat("nr_throttled"),
        throttled_usec: stat("throttled_usec"),
        psi: psi(cpu.pressure),
        nr_bursts: stat("nr_bursts"),
        burst_usec: stat("burst_usec"),
        ..Default::default()
    }
}

fn memory(memory: &Memory) -> MemoryStat {
    let stat = |key| memory.stat.get(key);
    // Since Linux 5.9.
    let by_kind = |key, kinds| memory.stat.get_or_sum(key, kinds);
    MemoryStat {
        anon: stat("anon"),
        file: stat("file"),
        kernel_stack: stat("kernel_stack"),
        slab: stat("slab"),
        sock: stat("sock"),
        shmem: stat("shmem"),
        file_mapped: stat("file_mapped"),
        file_dirty: stat("file_dirty"),
        file_writeback: stat("file_writeback"),
        anon_thp: stat("anon_thp"),
        inactive_anon: stat("inactive_anon"),
        active_anon: stat("active_anon"),
        inactive_file: stat("inactive_file"),
        active_file: stat("active_file"),
        unevictable: stat("unevictable"),
        slab_reclaimable: stat("slab_reclaimable"),
        slab_unreclaimable: stat("slab_unreclaimable"),
        pgfault: stat("pgfault"),
        pgmajfault: stat("pgmajfault"),
        workingset_refault: by_kind("workingset_refault", ["workingset_refault_anon", "workingset_refault_file"]),
        workingset_activate: by_kind("workingset_activate", ["workingset_activate_anon", "workingset_activate_file"]),
        workingset_nodereclaim: stat("workingset_nodereclaim"),
        pgrefill: stat("pgrefill"),
        pgscan: stat("pgscan"),
        pgsteal: stat("pgsteal"),
        pgactivate: stat("pgactivate"),
        pgdeactivate: stat("pgdeactivate"),
        pglazyfree: stat("pglazyfree"),
        pglazyfreed: stat("pglazyfreed"),
        thp_fault_alloc: stat("thp_fault_alloc"),
        thp_collapse_alloc: stat("thp_collapse_alloc"),
        usage: memory.usage,
        usage_limit: memory.limit,
        swap_usage: memory.swap_usage,
        swap_limit: memory.swap_limit,
        max_usage: memory.max_usage,
        swap_max_usage: memory.swap_max_usage,
        psi: psi(memory.pressure),
        ..Default::default()
    }
}

fn memory_events(events: &Flat) -> MemoryEvents {
    MemoryEvents {
        low: events.get("low"),
        high: events.get("high"),
        max: events.get("max"),
        oom: events.get("oom"),
        oom_kill: events.get("oom_kill"),
        oom_group_kill: events.get("oom_group_kill"),
        ..Default::default()
    }
}

fn psi(pressure: Option<Pressure>) -> MessageField<PSIStats> {
    let data = |stall: Option<Stall>| {
        let data = |stall: Stall| PSIData {
            avg10: stall.avg10,
            avg60: stall.avg60,
            avg300: stall.avg300,
            total: stall.total,
            ..Default::default()
        };
        MessageField::from_option(stall.map(data))
    };
    let stats = |it: Pressure| PSIStats { some: data(it.some), full: data(it.full), ..Default::default() };
    MessageField::from_option(pressure.map(stats))
}

fn io(io: Io) -> IOStat {
    let entry = |it: parse::Io| IOEntry {
        major: it.device.major,
        minor: it.device.minor,
        rbytes: it.read_bytes,
        wbytes: it.written_bytes,
        rios: it.reads,
        wios: it.writes,
        ..Default::default()
    };
    IOStat { usage: io.usage.into_iter().map(entry).collect(), psi: psi(io.pressure), ..Default::default() }
}

fn hugetlb(pages: HugePages) -> HugeTlbStat {
    HugeTlbStat {
        current: pages.usage,
        max: pages.limit,
        pagesize: pages.size,
        failcnt: pages.failures,
        ..Default::default()
    }
}

fn rdma(rdma: Rdma) -> RdmaStat {
    let entry = |it: parse::Rdma| RdmaEntry {
        device: it.device,
        hca_handles: it.handles,
        hca_objects: it.objects,
        ..Default::default()
    };
    RdmaStat {
        current: rdma.current.into_iter().map(entry).collect(),
        limit: rdma.limit.into_iter().map(entry).collect(),
        ..Default::default()
    }
}
