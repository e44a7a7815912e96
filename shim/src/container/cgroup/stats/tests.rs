//! Whole groups: of files, and real ones.

use super::super::layout::Kind;
use super::samples::{self, CONTROLLERS, V1, V2, cgroup};
use super::*;

fn of_v1(stats: Stats) -> v1::Stats {
    let Stats::V1(stats) = stats else { panic!("v1: {stats:?}") };
    stats
}

fn of_v2(stats: Stats) -> v2::Stats {
    let Stats::V2(stats) = stats else { panic!("v2: {stats:?}") };
    stats
}

#[test]
fn every_number_of_v1_is_read_where_the_kernel_has_it() {
    let stats = of_v1(samples::read(false));
    assert_eq!((stats.cpu.total, stats.cpu.user, stats.cpu.kernel), (267_592_115, 210_000_000, 50_000_000));
    assert_eq!(stats.cpu.per_cpu, [200_000_000, 67_592_115]);
    assert_eq!(stats.cpu.throttling.get("throttled_time"), 4500);
    let counter = |usage, max, failures, limit| v1::Counter { usage, max, failures, limit };
    let memory = &stats.memory;
    assert_eq!(memory.usage, counter(2_351_104, 3_014_656, 4, 67_108_864));
    assert_eq!(memory.swap, counter(2_351_105, 3_014_657, 5, 134_217_728));
    assert_eq!(memory.kernel, counter(737_280, 831_488, 6, 9_223_372_036_854_771_712));
    assert_eq!(memory.kernel_tcp, counter(4096, 8192, 7, 9_223_372_036_854_771_711));
    assert_eq!((memory.stat.get("total_active_file"), memory.oom_control.get("oom_kill")), (28673, 3));
    assert_eq!(stats.pids, Pids { current: 3, limit: 17 });
    let pages = HugePages {
        size: "2MB".into(),
        usage: 2 << 20,
        max_usage: 4 << 20,
        limit: 9_223_372_036_852_678_656,
        failures: 8,
    };
    assert_eq!(stats.huge_pages, [pages]);
    assert_eq!(stats.rdma.limit, [parse::Rdma { device: "mlx4_0".into(), handles: 3, objects: u32::MAX }]);
    let numbers = |transfers: &[parse::Transfer]| transfers.iter().map(|it| it.value).collect::<Vec<_>>();
    let blkio = &stats.blkio;
    assert_eq!(numbers(&blkio.service_bytes), [4096, 4096, 8192]);
    for (kind, expected) in [
        (&blkio.serviced, 31),
        (&blkio.queued, 1),
        (&blkio.service_time, 5311),
        (&blkio.wait_time, 9),
        (&blkio.merged, 2),
        (&blkio.time, 2496),
        (&blkio.sectors, 64),
    ] {
        assert_eq!(numbers(kind), [expected]);
    }
}

#[test]
fn every_number_of_v2_is_read_where_the_kernel_has_it() {
    let stats = of_v2(samples::read(true));
    assert_eq!(stats.pids, Pids { current: 3, limit: u64::MAX });
    assert_eq!((stats.cpu.stat.get("usage_usec"), stats.cpu.stat.get("throttled_usec")), (267_592, 6007));
    let memory = &stats.memory;
    assert_eq!((memory.usage, memory.limit, memory.max_usage), (2_351_104, 67_108_864, 3_014_656));
    assert_eq!((memory.swap_usage, memory.swap_limit, memory.swap_max_usage), (8192, u64::MAX, 12288));
    assert_eq!((memory.stat.get("slab"), memory.events.get("oom_group_kill")), (102_400, 6));
    for pressure in [stats.cpu.pressure, memory.pressure, stats.io.pressure] {
        let pressure = pressure.unwrap();
        assert_eq!((pressure.some.unwrap().total, pressure.full.unwrap().total), (1_193_877, 884));
    }
    assert_eq!(stats.io.usage[0].device, parse::Device { major: 254, minor: 1 });
    let pages =
        |size: &str, usage, limit, failures| HugePages { size: size.into(), usage, max_usage: 0, limit, failures };
    assert_eq!(stats.huge_pages, [pages("1GB", 1 << 30, 2 << 30, 9), pages("2MB", 2 << 20, u64::MAX, 8)]);
    assert_eq!(stats.rdma.limit, [parse::Rdma { device: "mlx4_0".into(), handles: u32::MAX, objects: 2000 }]);
}

#[test]
fn on_a_hybrid_host_each_controller_is_read_where_it_lives() {
    let (v1, v2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples::write(v1.path(), V1);
    samples::write(v2.path(), V2);
    let kind = samples::v1(&["cpu", "cpuacct", "memory", "blkio"]);
    let stats = of_v1(cgroup(&[(kind, v1.path()), (Kind::V2, v2.path())]).stats().unwrap());
    assert_eq!(stats.memory.usage.usage, 2_351_104);
    assert_eq!((stats.pids.limit, stats.huge_pages.len(), stats.rdma.limit[0].objects), (u64::MAX, 2, 2000));
    // Where v1 has but a name, or what nobody measures, the host is one of v2.
    for other in [samples::v1(&["name=systemd"]), samples::v1(&["net_cls"])] {
        of_v2(cgroup(&[(other, v1.path()), (Kind::V2, v2.path())]).stats().unwrap());
    }
}

#[test]
fn a_file_that_is_not_there_is_no_error_whichever_it_is() {
    for (files, kind) in [(V1, samples::v1(&CONTROLLERS)), (V2, Kind::V2)] {
        let dir = tempfile::tempdir().unwrap();
        samples::write(dir.path(), files);
        let whole = cgroup(&[(kind.clone(), dir.path())]).stats().unwrap();
        for (name, text) in files {
            #[expect(clippy::disallowed_methods, reason = "a test's own directory")]
            std::fs::remove_file(dir.path().join(name)).unwrap();
            let without = cgroup(&[(kind.clone(), dir.path())]).stats().unwrap();
            assert!(without != whole || name.contains("rsvd"), "{name} is not looked at");
            samples::write(dir.path(), &[(name, text)]);
        }
        let gone = dir.path().join("gone");
        let nothing = cgroup(&[(kind, &gone)]).stats().unwrap();
        assert!(nothing == Stats::V1(Default::default()) || nothing == Stats::V2(Default::default()), "{nothing:?}");
    }
}
