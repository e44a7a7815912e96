//! Groups as files, of a kernel that has everything and a container that has used everything: each number is another than
//! 0. For tests, also of what is made of them.

use std::path::Path;

use super::super::layout::{Hierarchy, Kind};
use super::super::{Cgroup, Group};
use super::Stats;

/// The files of v1's controllers, all in one directory.
pub(crate) const V1: &[(&str, &str)] = &[
    ("cpuacct.usage", "267592115\n"),
    ("cpuacct.usage_percpu", "200000000 67592115 \n"),
    ("cpuacct.stat", "user 21\nsystem 5\n"),
    ("cpu.stat", "nr_periods 12\nnr_throttled 3\nthrottled_time 4500\nnr_bursts 1\nburst_time 2\n"),
    ("memory.usage_in_bytes", "2351104\n"),
    ("memory.max_usage_in_bytes", "3014656\n"),
    ("memory.failcnt", "4\n"),
    ("memory.limit_in_bytes", "67108864\n"),
    ("memory.memsw.usage_in_bytes", "2351105\n"),
    ("memory.memsw.max_usage_in_bytes", "3014657\n"),
    ("memory.memsw.failcnt", "5\n"),
    ("memory.memsw.limit_in_bytes", "134217728\n"),
    ("memory.kmem.usage_in_bytes", "737280\n"),
    ("memory.kmem.max_usage_in_bytes", "831488\n"),
    ("memory.kmem.failcnt", "6\n"),
    ("memory.kmem.limit_in_bytes", "9223372036854771712\n"),
    ("memory.kmem.tcp.usage_in_bytes", "4096\n"),
    ("memory.kmem.tcp.max_usage_in_bytes", "8192\n"),
    ("memory.kmem.tcp.failcnt", "7\n"),
    ("memory.kmem.tcp.limit_in_bytes", "9223372036854771711\n"),
    ("memory.oom_control", "oom_kill_disable 1\nunder_oom 2\noom_kill 3\n"),
    (
        "memory.stat",
        "cache 135168\nrss 1216512\nrss_huge 2097152\nshmem 4096\nmapped_file 8192\ndirty 12288\nwriteback 16384\n\
         workingset_refault_anon 1\nworkingset_refault_file 1192\nswap 4096\nswapcached 1\npgpgin 2805\npgpgout 2475\n\
         pgfault 3267\npgmajfault 2\ninactive_anon 20480\nactive_anon 1191936\ninactive_file 24576\nactive_file 28672\n\
         unevictable 32768\nhierarchical_memory_limit 67108864\nhierarchical_memsw_limit 134217728\ntotal_cache 135169\n\
         total_rss 1216513\ntotal_rss_huge 2097153\ntotal_shmem 4097\ntotal_mapped_file 8193\ntotal_dirty 12289\n\
         total_writeback 16385\ntotal_workingset_refault_anon 1\ntotal_workingset_refault_file 3759428\ntotal_swap 4096\n\
         total_swapcached 1\ntotal_pgpgin 2806\ntotal_pgpgout 2476\ntotal_pgfault 3268\ntotal_pgmajfault 3\n\
         total_inactive_anon 20481\ntotal_active_anon 1191937\ntotal_inactive_file 24577\ntotal_active_file 28673\n\
         total_unevictable 32769\n",
    ),
    ("pids.current", "3\n"),
    ("pids.max", "17\n"),
    ("blkio.bfq.io_service_bytes_recursive", "8:16 Read 4096\n8:16 Total 4096\nTotal 4096\n"),
    ("blkio.throttle.io_service_bytes_recursive", "8:16 Read 1\n254:1 Write 8192\nTotal 8193\n"),
    ("blkio.throttle.io_serviced", "254:1 Read 31\nTotal 31\n"),
    ("blkio.bfq.io_queued_recursive", "8:16 Read 1\nTotal 1\n"),
    ("blkio.io_service_time_recursive", "8:16 Read 5311\nTotal 5311\n"),
    ("blkio.bfq.io_wait_time_recursive", "8:16 Async 9\nTotal 9\n"),
    ("blkio.io_merged_recursive", "8:16 Sync 2\nTotal 2\n"),
    ("blkio.time_recursive", "8:16 2496\n"),
    ("blkio.sectors_recursive", "8:16 64\n"),
    ("hugetlb.2MB.usage_in_bytes", "2097152\n"),
    ("hugetlb.2MB.max_usage_in_bytes", "4194304\n"),
    ("hugetlb.2MB.limit_in_bytes", "9223372036852678656\n"),
    ("hugetlb.2MB.failcnt", "8\n"),
    ("hugetlb.2MB.rsvd.usage_in_bytes", "1\n"),
    ("rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n"),
    ("rdma.max", "mlx4_0 hca_handle=3 hca_object=max\n"),
];

/// The files of v2.
pub(crate) const V2: &[(&str, &str)] = &[
    ("pids.current", "3\n"),
    ("pids.max", "max\n"),
    (
        "cpu.stat",
        "usage_usec 267592\nuser_usec 210011\nsystem_usec 57581\nnice_usec 3\ncore_sched.force_idle_usec 4\nnr_periods 12\n\
         nr_throttled 5\nthrottled_usec 6007\nnr_bursts 1\nburst_usec 2\n",
    ),
    ("cpu.pressure", PRESSURE),
    ("memory.current", "2351104\n"),
    ("memory.max", "67108864\n"),
    ("memory.peak", "3014656\n"),
    ("memory.swap.current", "8192\n"),
    ("memory.swap.max", "max\n"),
    ("memory.swap.peak", "12288\n"),
    ("memory.pressure", PRESSURE),
    ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"),
    (
        "memory.stat",
        "anon 1191936\nfile 135168\nkernel 737280\nkernel_stack 16384\npagetables 40960\nsec_pagetables 1\npercpu 1440\n\
         sock 4096\nvmalloc 1\nshmem 12288\nzswap 1\nzswapped 1\nfile_mapped 8192\nfile_dirty 20480\nfile_writeback 24576\n\
         swapcached 1\nanon_thp 2097152\nfile_thp 1\nshmem_thp 1\ninactive_anon 28672\nactive_anon 32768\n\
         inactive_file 36864\nactive_file 40961\nunevictable 45056\nslab_reclaimable 49152\nslab_unreclaimable 53248\n\
         slab 102400\nworkingset_refault_anon 7\nworkingset_refault_file 1192\nworkingset_activate_anon 8\n\
         workingset_activate_file 90\nworkingset_restore_anon 1\nworkingset_restore_file 1\nworkingset_nodereclaim 9\n\
         pswpin 1\npswpout 1\npgscan 10\npgsteal 11\npgscan_kswapd 1\npgscan_direct 1\npgsteal_kswapd 1\npgsteal_direct 1\n\
         pgfault 3267\npgmajfault 2\npgrefill 12\npgactivate 13\npgdeactivate 14\npglazyfree 15\npglazyfreed 16\n\
         zswpin 1\nzswpout 1\nzswpwb 1\nthp_fault_alloc 17\nthp_collapse_alloc 18\nthp_swpout 1\n",
    ),
    ("io.stat", "254:1 rbytes=1269760 wbytes=8192 rios=31 wios=2 dbytes=4096 dios=1\n"),
    ("io.pressure", PRESSURE),
    ("hugetlb.2MB.current", "2097152\n"),
    ("hugetlb.2MB.max", "max\n"),
    ("hugetlb.2MB.events", "max 8\n"),
    ("hugetlb.2MB.rsvd.current", "1\n"),
    ("hugetlb.1GB.current", "1073741824\n"),
    ("hugetlb.1GB.max", "2147483648\n"),
    ("hugetlb.1GB.events", "max 9\n"),
    ("rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n"),
    ("rdma.max", "mlx4_0 hca_handle=max hca_object=2000\n"),
];

const PRESSURE: &str = "\
some avg10=1.53 avg60=0.87 avg300=0.22 total=1193877
full avg10=0.75 avg60=0.10 avg300=0.05 total=884
";

/// Writes a group's files.
pub(crate) fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        #[expect(clippy::disallowed_methods, reason = "a test's own directory")]
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// A container's groups, one for each kind of hierarchy.
pub(super) fn cgroup(groups: &[(Kind, &Path)]) -> Cgroup {
    let group = |(kind, dir): &(Kind, &Path)| {
        let hierarchy = Hierarchy { kind: kind.clone(), mount_point: dir.into(), own: dir.into() };
        Group { hierarchy, dir: dir.into() }
    };
    Cgroup { groups: groups.iter().map(group).collect(), in_user_namespace: false, unit: None }
}

/// A v1 hierarchy with these controllers.
pub(super) fn v1(controllers: &[&str]) -> Kind {
    Kind::V1(controllers.iter().map(|&name| name.to_owned()).collect())
}

/// Every controller that is read.
pub(super) const CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb", "rdma"];

/// What is read from [`V1`], or from [`V2`].
pub(crate) fn read(is_v2: bool) -> Stats {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), if is_v2 { V2 } else { V1 });
    let kind = if is_v2 { Kind::V2 } else { v1(&CONTROLLERS) };
    cgroup(&[(kind, dir.path())]).stats().unwrap()
}
