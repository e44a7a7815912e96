//! What a task uses, as `ctr task metrics` prints it: the kernel's numbers, in the message of this host's cgroups.

use std::collections::BTreeMap;

use tests::host::Host;

on_each_suite!(
    metrics_are_the_kernels_numbers_and_move,
    metrics_of_a_task_that_has_stopped_are_none_and_no_error_in_the_log,
);

/// The table that ctr prints, with v1's names or v2's.
fn metrics(host: &Host, id: &str) -> BTreeMap<String, u64> {
    let table = host.sh(&format!("ctr task metrics {id}"));
    let row = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    table.ok().lines().filter_map(row).collect()
}

/// One of two names.
fn of(metrics: &BTreeMap<String, u64>, v1: &str, v2: &str) -> u64 {
    *metrics.get(v1).or_else(|| metrics.get(v2)).unwrap_or_else(|| panic!("{v1}, {v2}: {metrics:?}"))
}

fn metrics_are_the_kernels_numbers_and_move(host: &Host) {
    host.sh("$RUN -d --memory-limit 67108864 $IMAGE c sleep 1000").ok();
    let before = metrics(host, "c");
    let cpu = |of_task: &BTreeMap<String, u64>| of(of_task, "cpuacct.usage", "cpu.usage_usec");
    let memory = |of_task: &BTreeMap<String, u64>| of(of_task, "memory.usage_in_bytes", "memory.usage");
    assert_eq!(of(&before, "memory.limit_in_bytes", "memory.usage_limit"), 67_108_864);
    assert_eq!(before.get("pids.current"), Some(&1), "{before:?}");
    assert!(cpu(&before) > 0 && memory(&before) > 0, "{before:?}");
    host.sh("ctr task exec --exec-id e c sh -c 'head -c 16777216 /dev/zero > /dev/shm/held'").ok();
    let after = metrics(host, "c");
    assert!(cpu(&after) > cpu(&before) && memory(&after) >= memory(&before) + 15_000_000, "{before:?} {after:?}");
    host.sh("ctr task rm -f c && ctr c rm c").ok();
}

fn metrics_of_a_task_that_has_stopped_are_none_and_no_error_in_the_log(host: &Host) {
    host.sh("$RUN -d $IMAGE c true").ok();
    host.until("ctr task ls | grep -q STOPPED");
    let said = host.sh("ctr task metrics c").failed();
    assert!(said.contains("no metrics received"), "{said}");
    let logged = host.sh("grep 'collecting metrics' /state/log/containerd.log");
    assert_eq!(logged.stdout, "", "{logged:#?}");
    host.sh("ctr task rm c && ctr c rm c").ok();
}
