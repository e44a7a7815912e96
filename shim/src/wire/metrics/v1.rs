//! The message of v1 (containerd/cgroups, `cgroup1/stats/metrics.proto`).

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat, Metrics,
    PidsStat, RdmaEntry, RdmaStat, Throttle,
};
use containerd_shim_protos::protobuf::MessageField;

use crate::container::cgroup::stats::v1::{BlkIo, Counter, Cpu, Memory, Stats};
use crate::container::cgroup::stats::{HugePages, Pids, Rdma, parse};

/// All but the network, which engines read themselves, and the states of tasks, which containerd's own shim leaves out.
pub(super) fn metrics(stats: Stats) -> Metrics {
    Metrics {
        hugetlb: stats.huge_pages.into_iter().map(hugetlb).collect(),
        pids: MessageField::some(pids(stats.pids)),
        cpu: MessageField::some(cpu(stats.cpu)),
        memory_oom_control: MessageField::some(oom_control(&stats.memory)),
        memory: MessageField::some(memory(&stats.memory)),
        blkio: MessageField::some(blkio(stats.blkio)),
        rdma: (stats.rdma != Rdma::default()).then(|| rdma(stats.rdma)).into(),
        ..Default::default()
    }
}

fn hugetlb(pages: HugePages) -> HugetlbStat {
    HugetlbStat {
        usage: pages.usage,
        max: pages.max_usage,
        failcnt: pages.failures,
        pagesize: pages.size,
        ..Default::default()
    }
}

/// No limit is 0 here, as containerd/cgroups has it "to maintain backward compatibility".
fn pids(pids: Pids) -> PidsStat {
    let limit = if pids.limit == u64::MAX { 0 } else { pids.limit };
    PidsStat { current: pids.current, limit, ..Default::default() }
}

fn cpu(cpu: Cpu) -> CPUStat {
    let usage =
        CPUUsage { total: cpu.total, kernel: cpu.kernel, user: cpu.user, per_cpu: cpu.per_cpu, ..Default::default() };
    let throttling = Throttle {
        periods: cpu.throttling.get("nr_periods"),
        throttled_periods: cpu.throttling.get("nr_throttled"),
        throttled_time: cpu.throttling.get("throttled_time"),
        ..Default::default()
    };
    CPUStat { usage: MessageField::some(usage), throttling: MessageField::some(throttling), ..Default::default() }
}

fn memory(memory: &Memory) -> MemoryStat {
    let stat = |key| memory.stat.get(key);
    MemoryStat {
        cache: stat("cache"),
        rss: stat("rss"),
        rss_huge: stat("rss_huge"),
        mapped_file: stat("mapped_file"),
        dirty: stat("dirty"),
        writeback: stat("writeback"),
        pg_pg_in: stat("pgpgin"),
        pg_pg_out: stat("pgpgout"),
        pg_fault: stat("pgfault"),
        pg_maj_fault: stat("pgmajfault"),
        inactive_anon: stat("inactive_anon"),
        active_anon: stat("active_anon"),
        inactive_file: stat("inactive_file"),
        active_file: stat("active_file"),
        unevictable: stat("unevictable"),
        hierarchical_memory_limit: stat("hierarchical_memory_limit"),
        hierarchical_swap_limit: stat("hierarchical_memsw_limit"),
        total_cache: stat("total_cache"),
        total_rss: stat("total_rss"),
        total_rss_huge: stat("total_rss_huge"),
        total_mapped_file: stat("total_mapped_file"),
        total_dirty: stat("total_dirty"),
        total_writeback: stat("total_writeback"),
        total_pg_pg_in: stat("total_pgpgin"),
        total_pg_pg_out: stat("total_pgpgout"),
        total_pg_fault: stat("total_pgfault"),
        total_pg_maj_fault: stat("total_pgmajfault"),
        total_inactive_anon: stat("total_inactive_anon"),
        total_active_anon: stat("total_active_anon"),
        total_inactive_file: stat("total_inactive_file"),
        total_active_file: stat("total_active_file"),
        total_unevictable: stat("total_unevictable"),
        usage: counter(memory.usage),
        swap: counter(memory.swap),
        kernel: counter(memory.kernel),
        kernel_tcp: counter(memory.kernel_tcp),
        ..Default::default()
    }
}

fn counter(counter: Counter) -> MessageField<MemoryEntry> {
    MessageField::some(MemoryEntry {
        limit: counter.limit,
        usage: counter.usage,
        max: counter.max,
        failcnt: counter.failures,
        ..Default::default()
    })
}

fn oom_control(memory: &Memory) -> MemoryOomControl {
    MemoryOomControl {
        oom_kill_disable: memory.oom_control.get("oom_kill_disable"),
        under_oom: memory.oom_control.get("under_oom"),
        oom_kill: memory.oom_control.get("oom_kill"),
        ..Default::default()
    }
}

fn blkio(blkio: BlkIo) -> BlkIOStat {
    let names = blkio.names;
    let entry = |it: parse::Transfer| BlkIOEntry {
        op: it.operation,
        device: names.get(&it.device).cloned().unwrap_or_default(),
        major: it.device.major,
        minor: it.device.minor,
        value: it.value,
        ..Default::default()
    };
    let entries = |transfers: Vec<parse::Transfer>| transfers.into_iter().map(entry).collect();
    BlkIOStat {
        io_service_bytes_recursive: entries(blkio.service_bytes),
        io_serviced_recursive: entries(blkio.serviced),
        io_queued_recursive: entries(blkio.queued),
        io_service_time_recursive: entries(blkio.service_time),
        io_wait_time_recursive: entries(blkio.wait_time),
        io_merged_recursive: entries(blkio.merged),
        io_time_recursive: entries(blkio.time),
        sectors_recursive: entries(blkio.sectors),
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
