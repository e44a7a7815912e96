//! Limits of containers in a container: each sees its own, as ours does.

use serde_json::{Value, json};
use tests::Container;

use crate::runtimes::run_limited;
use crate::setup::{bash, privileged};

const MIB: u64 = 1 << 20;

/// What a machine says of itself, a line each: memory by /proc/meminfo and by sysinfo(2) in kB, processors by four files.
const SAYS: &str = "grep ^MemTotal: /proc/meminfo | tr -dc 0-9; echo; busybox free -k | grep ^Mem: | tr -s ' ' | cut -d ' ' -f 2; \
                    grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; \
                    ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l; grep -c '^cpu[0-9]' /proc/stat";

/// The same of one with so many MiB and these processors.
fn said(megabytes: u64, cpus: &[u32]) -> Vec<String> {
    let kilobytes = (megabytes << 10).to_string();
    let count = cpus.len().to_string();
    let online = match cpus {
        [one] => one.to_string(),
        cpus => format!("{}-{}", cpus[0], cpus[cpus.len() - 1]),
    };
    vec![kilobytes.clone(), kilobytes, count.clone(), online, count.clone(), count]
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A container with 128 MiB and two processors, which has inner ones.
fn outer() -> tests::Bundle {
    privileged("trixie")
        .bind(&tests::place::new_dir("nodes"), "/nodes", &[])
        .set("/linux/resources/memory", json!({ "limit": 128 * MIB }))
        .set("/linux/resources/cpu", json!({ "cpus": "0-1" }))
}

async fn inner(container: &Container, runtime: &str, id: &str, limits: Value, script: &str) -> Vec<String> {
    lines(bash(container, &run_limited(runtime, id, &limits, script)).await.ok())
}

#[tokio::test]
async fn an_inner_container_sees_its_own() {
    let container = Container::sleeping(outer()).await;
    for runtime in ["runc"] {
        let quota = json!({ "memory": { "limit": 64 * MIB }, "cpu": { "quota": 100_000, "period": 100_000 } });
        assert_eq!(inner(&container, runtime, "quota", quota, SAYS).await, said(64, &[0]), "{runtime}");
        let cpuset = json!({ "memory": { "limit": 96 * MIB }, "cpu": { "cpus": "1" } });
        assert_eq!(inner(&container, runtime, "cpuset", cpuset, SAYS).await, said(96, &[1]), "{runtime}");
        // More than its container has, and nothing at all.
        let more = json!({ "memory": { "limit": 256 * MIB }, "cpu": { "quota": 900_000, "period": 100_000 } });
        for limits in [more, json!({})] {
            assert_eq!(inner(&container, runtime, "more", limits, SAYS).await, said(128, &[0, 1]), "{runtime}");
        }
    }
    let own = bash(&container, &SAYS.replace("busybox", "/busybox/bin/busybox")).await;
    assert_eq!(lines(own.ok()), said(128, &[0, 1]), "its container's are what they were");
    container.end().await;
}

#[tokio::test]
async fn so_does_one_of_cruns() {
    let container = Container::sleeping(outer()).await;
    for (cpus, seen) in [("0-1", &[0, 1][..]), ("1", &[1])] {
        let limits = json!({ "memory": { "limit": 64 * MIB }, "cpu": { "cpus": cpus } });
        assert_eq!(inner(&container, "crun", &format!("of-{cpus}"), limits, SAYS).await, said(64, seen), "{cpus}");
    }
    container.end().await;
}

#[tokio::test]
async fn two_at_once_see_each_its_own() {
    let container = Container::sleeping(outer()).await;
    let first = json!({ "memory": { "limit": 64 * MIB }, "cpu": { "cpus": "1" } });
    let twice = format!("{SAYS}; while [ ! -e /nodes/go ]; do sleep 0.1; done; {SAYS}");
    let second = json!({ "memory": { "limit": 80 * MIB } });
    let script = format!(
        "({}) > /tmp/first 2>&1 & ({}) && touch /nodes/go; wait; cat /tmp/first",
        run_limited("runc", "first", &first, &twice),
        run_limited("runc", "second", &second, SAYS)
    );
    let expected = [said(80, &[0, 1]), said(64, &[1]), said(64, &[1])].concat();
    assert_eq!(lines(bash(&container, &script).await.ok()), expected);
    container.end().await;
}

/// Tools that go by the files, by sysinfo(2) and by sched_getaffinity(2), and a procfs that is mounted in a user namespace within the
/// inner container.
#[tokio::test]
async fn tools_and_a_container_two_levels_down_see_the_same() {
    let container = Container::sleeping(outer()).await;
    let limits = json!({ "memory": { "limit": 64 * MIB }, "cpu": { "cpus": "1" } });
    let tools = r#"grep ^MemTotal: /proc/meminfo | tr -dc 0-9; echo; busybox free -k | grep ^Mem: | tr -s " " | cut -d " " -f 2
                   busybox nproc; grep -c ^processor /proc/cpuinfo"#;
    let nested = format!("mount -t proc proc /proc; grep -c \" /proc/.* fuse \" /proc/self/mountinfo; {tools}");
    let below = format!("{tools}; busybox unshare -Urpf -m sh -c '{nested}'");
    // Who maps root needs this one (user_namespaces(7)), and what is masked would stay hidden: the kernel gives no new procfs then.
    let config = run_limited("runc", "tools", &limits, &below).replace("CAP_NET_BIND_SERVICE", "CAP_SETFCAP");
    let config = config.replace("maskedPaths", "unmaskedPaths").replace("readonlyPaths", "writablePaths");
    let said = lines(bash(&container, &config).await.ok());
    let expected = ["65536", "65536", "1", "1"];
    assert_eq!(said[..4], expected, "{said:?}");
    assert_eq!(said[5..], expected, "{said:?}");
    assert!(said[4].parse::<u32>().unwrap() > 10, "its own procfs has its files: {said:?}");
    container.end().await;
}

/// A limit that changes, a group below that an inner runtime gives an inner container of its own, and a group that is gone.
#[tokio::test]
async fn a_view_follows_its_groups() {
    let container = Container::sleeping(outer()).await;
    // By hand, on whichever hierarchy has memory: a group, and a procfs that is mounted from within.
    let script = "set -e; total() { grep ^MemTotal: /mnt/p/meminfo | tr -dc 0-9; echo; }
        cd /sys/fs/cgroup; [ ! -d memory ] || cd memory
        limit=memory.max; [ -e cgroup.controllers ] || limit=memory.limit_in_bytes
        mkdir -p a a/b /mnt/p; [ $limit != memory.max ] || { echo +memory > cgroup.subtree_control; echo +memory > a/cgroup.subtree_control; }
        echo 67108864 > a/$limit; echo 33554432 > a/b/$limit
        (echo $BASHPID > a/b/cgroup.procs; mount -t proc proc /mnt/p)
        total; echo 50331648 > a/b/$limit; sleep 0.3; total; rmdir a/b; sleep 0.3; total; rmdir a; sleep 0.3; total
        grep -c ' /mnt/p/.* - fuse ' /proc/self/mountinfo; umount /mnt/p";
    let output = bash(&container, script).await;
    let said = lines(output.ok());
    assert_eq!(said[..4], ["32768", "49152", "65536", "131072"], "{output:?}");
    assert!(said[4].parse::<u32>().unwrap() > 10, "{output:?}");
    container.end().await;
}
