//! What the kernel says of real groups.

use super::super::stats::Stats;
use super::*;

/// Runs a script to its end in the group.
fn finish_in(cgroup: &Cgroup, script: &str) {
    assert!(run_in(cgroup, script).wait().expect("sh").success(), "{script}");
}

const BURN: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";

#[test]
fn on_v1_processor_memory_processes_and_limits_are_those_of_the_group() {
    let Some(layout) = v1_only() else { return };
    let resources = Resources { memory_limit: Some(64 << 20), pids_limit: Some(17), ..Resources::default() };
    let group = create(&layout, &name(), resources);
    let read = || match group.0.stats().expect("stats") {
        Stats::V1(stats) => stats,
        Stats::V2(stats) => panic!("{stats:?}"),
    };
    let before = read();
    assert_eq!((before.pids.current, before.pids.limit, before.memory.usage.limit), (0, 17, 64 << 20));
    assert_eq!(before.cpu.total, 0);
    finish_in(&group.0, BURN);
    let after = read();
    assert!(after.cpu.total > 0 && after.memory.usage.max > 0, "{after:#?}");
    assert_eq!(after.cpu.per_cpu.iter().sum::<u64>(), after.cpu.total);
    // The kernel adds few events up later, within two seconds.
    let deadline = Instant::now() + PATIENCE;
    while read().memory.stat.get("total_pgfault") == 0 {
        assert!(Instant::now() < deadline, "{:#?}", read());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(after.memory.stat.get("hierarchical_memory_limit"), 64 << 20);
    let mut child = run_in(&group.0, "exec sleep 100");
    assert_eq!(read().pids.current, 1);
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn on_v2_alone_what_the_core_counts_is_read_without_any_controller() {
    let Some(unified) = unified() else { return };
    let group = create(&unified.layout, &name(), Resources::default());
    let read = || match group.0.stats().expect("stats") {
        Stats::V2(stats) => stats,
        Stats::V1(stats) => panic!("{stats:?}"),
    };
    assert_eq!(read().cpu.stat.get("usage_usec"), 0);
    finish_in(&group.0, BURN);
    let stat = read().cpu.stat;
    assert!(stat.get("usage_usec") > 0, "{stat:?}");
    assert!(stat.get("user_usec") + stat.get("system_usec") <= stat.get("usage_usec") + 1, "{stat:?}");
}

#[test]
fn groups_that_go_while_they_are_read_are_no_error() {
    let Some(layout) = host() else { return };
    for _ in 0..20 {
        let group = create(&layout, &name(), Resources::default());
        let reader = group.0.clone();
        let reading = std::thread::spawn(move || (0..20).try_for_each(|_| reader.stats().map(drop)));
        group.0.remove().expect("remove");
        reading.join().expect("no panic").expect("no error");
    }
}
