//! What the tools of a container show agrees with the limits that docker gives it, and with what docker shows.

use tests::host::Host;
use tests::tools::{DOCKER, SCRIPT, SHELL, Told};

on_both_dockers!(
    tools_agree_with_the_limits_of_docker,
    what_docker_update_changes_shows,
    docker_shows_the_same,
    nothing_of_it_is_the_containers_own,
    what_stays_the_hosts_cannot_be_written,
);

fn told(host: &Host, command: &str) -> Told {
    let script = SCRIPT.replace('\'', r"'\''");
    let told = Told::parse(host.sh(&format!("{command} {SHELL} -c '{script}'")).ok());
    told.agrees();
    told
}

fn processors() -> u64 {
    std::thread::available_parallelism().unwrap().get().try_into().unwrap()
}

fn tools_agree_with_the_limits_of_docker(host: &Host) {
    for (options, cpus, allowed, memory) in [
        ("--cpus 0.5 --memory 256m", 1, processors(), Some(256 * 1024)),
        ("--cpus 1 --memory 256m --memory-swap 256m", 1, processors(), Some(256 * 1024)),
        ("--cpuset-cpus 0 --memory 128m --memory-swap -1", 1, 1, Some(128 * 1024)),
        ("--privileged --cpus 1.5", processors().min(2), processors(), None),
    ] {
        let told = told(host, &format!("$DOCKER --rm {options} {DOCKER} busybox"));
        told.all("cpus", cpus, 0);
        told.all("allowed", allowed, 0);
        if let Some(memory) = memory {
            told.all("memory", memory, 0);
        }
    }
}

fn what_docker_update_changes_shows(host: &Host) {
    host.sh(&format!("$DOCKER -d --name tools --cpus 1 --memory 256m --memory-swap 512m {DOCKER} busybox sleep 1d"))
        .ok();
    let before = told(host, "docker exec tools");
    before.all("cpus", 1, 0);
    before.all("memory", 256 * 1024, 0);
    host.sh("docker update --cpus 2 --memory 128m --memory-swap 128m tools; sleep 1.1").ok();
    let after = told(host, "docker exec tools");
    after.all("cpus", processors().min(2), 0);
    after.all("memory", 128 * 1024, 0);
    after.all("swap", 0, 0);
    host.sh("docker rm -f tools").ok();
}

fn docker_shows_the_same(host: &Host) {
    host.sh(&format!("$DOCKER -d --name tools --memory 256m {DOCKER} busybox sleep 1d")).ok();
    let stats = host.sh("docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' tools");
    assert!(stats.ok().ends_with(" / 256MiB 1"), "{stats:?}");
    // Who runs: the one process that was there, and what looks.
    let top = host.sh("docker top tools -o pid | wc -l; docker exec tools /usr/bin/ps -e -o comm=");
    assert_eq!(top.ok().split_whitespace().collect::<Vec<_>>(), ["2", "sleep", "ps"]);
    let tasks = host.sh("docker exec tools cut -d ' ' -f 4 /proc/loadavg");
    let total: u64 = tasks.ok().split('/').nth(1).unwrap().parse().unwrap();
    assert!((1..10).contains(&total), "{tasks:?}");
    host.sh("docker rm -f tools").ok();
}

/// Files that are emulated are no changes of its layer, and go into no image; where the machine has a product's UUID, each
/// container has one, for all its starts.
fn nothing_of_it_is_the_containers_own(host: &Host) {
    let uuid = "cat /sys/devices/virtual/dmi/id/product_uuid 2> /dev/null || echo none";
    host.sh(&format!("$DOCKER --name tools --privileged busybox sh -c '{uuid}; cat /proc/meminfo > /dev/null; echo 1 > /proc/sys/kernel/panic'")).ok();
    let logs = || host.sh("docker logs tools").ok().lines().map(str::to_owned).collect::<Vec<_>>();
    let first = logs().remove(0);
    assert_eq!(host.sh("docker diff tools").ok(), "");
    host.sh("docker start -a tools").ok();
    assert_eq!(logs(), [first.as_str(), first.as_str()]);
    host.sh("docker rm tools").ok();
    let other = host.sh(&format!("$DOCKER --rm --privileged busybox sh -c '{uuid}'"));
    assert!(first == "none" && other.ok() == "none" || first != other.ok(), "{first} {other:?}");
}

/// docs/emulation.md lists what tells of the host still: its owner is a user that the container does not have, and no right lets
/// the container's root write there. (`ns_last_pid` is everybody's by its mode, and of the pid namespace.)
fn what_stays_the_hosts_cannot_be_written(host: &Host) {
    let find = "find /proc /sys -xdev -path '/proc/[0-9]*' -prune -o -type f -user 65534";
    for options in ["", "--privileged"] {
        let script = format!(
            "{find} ! -name ns_last_pid -writable -print; {find} -print | grep -cE '^/proc/(zoneinfo|cmdline|slabinfo)$'"
        );
        let said = host.sh(&format!("$DOCKER --rm {options} {DOCKER} busybox {SHELL} -c \"PATH=/usr/bin; {script}\""));
        assert_eq!(said.stdout.trim(), "3", "{options}: {said:?}");
    }
    let kernels = "for file in slabinfo pagetypeinfo vmallocinfo kmsg; do ! cat /proc/$file > /dev/null || exit 1; done 2> /dev/null; \
                   grep -vq '^0* ' /proc/kallsyms && exit 2; cat /proc/zoneinfo > /dev/null";
    host.sh(&format!("$DOCKER --rm --privileged busybox sh -c \"{}\"", kernels.replace('$', "\\$"))).ok();
}
