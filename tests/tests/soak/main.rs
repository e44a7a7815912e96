//! Many of the same through Docker, and nothing that adds up: mounts, cgroups, leases, files in /run, processes, and the
//! shim's own descriptors, threads and memory.
//!
//! `make soak` runs it in full (`ECI_SOAK=1`): 500 runs, 100 restarts, 1000 execs, 50 starts at once. Otherwise a tenth of that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::host::{Host, Setup};
use tests::shim::PATIENCE;

/// How many of `full`.
fn many(full: usize) -> usize {
    if std::env::var_os("ECI_SOAK").is_some() { full } else { full / 10 }
}

/// Runs `line` in a shell of the host so many times, in shares that end before the host's patience does.
fn repeat(host: &Host, times: usize, line: &str) {
    for first in (0..times).step_by(20) {
        let last = times.min(first + 20);
        host.sh(&format!("for n in $(seq {} {last}); do {line} || exit 1; done", first + 1)).ok();
    }
}

/// What the shim of the container `lasting` holds: descriptors, threads, and memory that is its own in KiB (proc_pid_smaps(5)).
fn shim(host: &Host) -> [u64; 3] {
    let script = "pid=$(ps -o ppid= -p $(docker inspect -f '{{.State.Pid}}' lasting)); cd /proc/$((pid)); \
                  ls fd | wc -l; ls task | wc -l; awk '/^Private_Dirty:/ { print $2 }' smaps_rollup";
    let output = host.sh(script);
    let numbers: Vec<u64> = output.ok().split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.try_into().expect("three numbers")
}

#[test]
fn nothing_adds_up() {
    let setup = Setup { store: Some("overlay2"), ..Setup::default() };
    let Some(host) = Host::up_with("docker-trixie", "nothing_adds_up", &setup) else { return };
    host.sh("$DOCKER --rm busybox true").ok();
    let idle = host.traces();

    repeat(&host, many(500), "$DOCKER --rm busybox true");
    host.has_nothing_since(&idle);

    host.sh("$DOCKER -d --name lasting busybox sleep 100000").ok();
    repeat(&host, many(100), "docker restart -t 0 lasting > /dev/null");
    repeat(&host, many(100), "docker exec lasting true");
    let before = shim(&host);
    let running = host.traces();
    repeat(&host, many(1000), "docker exec lasting true");
    host.has_nothing_since(&running);
    let mut after = shim(&host);
    // Those of an exec may be open for a moment longer.
    let limit = Instant::now() + PATIENCE;
    while after[0] > before[0] && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(200));
        after = shim(&host);
    }
    println!("the shim's descriptors, threads and private memory in KiB: {before:?}, then {after:?}");
    assert!(after[0] <= before[0], "descriptors: {} and then {}", before[0], after[0]);
    // Threads that wait for work come and go.
    assert!(after[1] <= before[1] + 2, "threads: {} and then {}", before[1], after[1]);
    assert!(after[2] <= before[2] + 1024, "memory: {} and then {} KiB", before[2], after[2]);
    host.sh("docker rm -f lasting").ok();
    host.has_nothing_since(&idle);

    host.sh("for n in $(seq 50); do $DOCKER -d --name many-$n busybox sleep 100000 & done; wait").ok();
    let maps = host.sh("for n in $(seq 50); do docker exec many-$n cat /proc/self/uid_map || exit 1; done");
    let ranges: BTreeSet<&str> = maps.ok().lines().collect();
    assert_eq!(ranges.len(), 50, "{ranges:#?}");
    host.sh("docker rm -f $(seq -f many-%.0f 50)").ok();
    host.has_nothing_since(&idle);
}
