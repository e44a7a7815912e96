//! The container's group is its own: its root makes groups with limits below it, and never loosens its own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::groups::is_v2;
use tests::shim::How;
use tests::{Bundle, Container};

#[tokio::test]
async fn an_inner_group_of_v1_has_limits_and_the_outer_ones_hold() {
    if is_v2() {
        // Its checks are those of the virtual machine.
        return;
    }
    let resources = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 40 }, "cpu": { "quota": 50_000 } });
    let mut bundle = Bundle::inner_engine();
    for (name, value) in resources.as_object().unwrap() {
        bundle = bundle.set(&format!("/linux/resources/{name}"), value.clone());
    }
    let group = |controller: &str| PathBuf::from(format!("/sys/fs/cgroup/{controller}/eci-tests/{}", bundle.id));
    let (memory, pids) = (group("memory"), group("pids"));
    let container = Container::sleeping(bundle).await;
    let make = "cd /sys/fs/cgroup && mkdir memory/c1 pids/c1 && echo 16777216 > memory/c1/memory.limit_in_bytes &&
        echo 3 > pids/c1/pids.max && cat /proc/self/cgroup | grep -v ':/$'; :";
    assert_eq!(container.sh(make).await.ok(), "", "its groups are the roots of what it sees");
    assert_eq!(fs::read_to_string(memory.join("c1/memory.limit_in_bytes")).unwrap().trim(), "16777216");
    let inside = |what: &str| format!("for c in memory pids; do echo $$ > /sys/fs/cgroup/$c/c1/tasks; done; {what}");
    let killed = container.sh(&inside("exec tail -c 50000000 /dev/zero > /dev/null")).await;
    assert_eq!(killed.status, 137, "{killed:?}");
    let output = container.sh(&inside("sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait")).await;
    assert!(output.failed().contains("can't fork"), "{output:?}");
    for file in ["memory/memory.limit_in_bytes", "memory/memory.swappiness", "pids/pids.max", "cpu/cpu.cfs_quota_us"] {
        let output = container.sh(&format!("echo 100000 > /sys/fs/cgroup/{file}")).await;
        assert!(output.failed().contains("ermission denied"), "{file}: {output:?}");
    }
    let output = container.sh("echo a > /sys/fs/cgroup/devices/devices.allow").await;
    assert!(output.failed().contains("denied") || output.failed().contains("not permitted"), "{output:?}");
    // The outer limit holds for an inner group without one.
    container.sh("echo -1 > /sys/fs/cgroup/memory/c1/memory.limit_in_bytes").await.ok();
    let killed = container.sh(&inside("exec tail -c 200000000 /dev/zero > /dev/null")).await;
    assert_eq!(killed.status, 137, "{killed:?}");
    // Whoever is in an inner group is the container's, and goes with it. (What was left behind above counts there: the
    // container's init reaps nobody.)
    container.sh("echo max > /sys/fs/cgroup/pids/c1/pids.max").await.ok();
    container.sh(&inside("sleep 1000 > /dev/null 2>&1 &")).await;
    assert!(container.pids().await.unwrap().len() >= 2);
    container.end().await;
    assert!(!memory.exists() && !pids.exists());
}

#[tokio::test]
async fn on_cgroup_v2_alone_init_lives_in_a_leaf_and_execs_follow_it() {
    let bundle = Bundle::inner_engine();
    let root = if is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/unified" };
    let group = Path::new(root).join("eci-tests").join(&bundle.id);
    let container = Container::sleeping_as(bundle, &How::default().on_unified()).await;
    let of_init = |text: String| text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)).unwrap();
    let path = of_init(fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap());
    assert!(path.ends_with(&format!("/eci-tests/{}/init.scope", container.bundle.id)), "{path}");
    assert_eq!(fs::read_to_string(group.join("cgroup.procs")).unwrap(), "");
    let own = "grep ^0:: /proc/self/cgroup";
    assert_eq!(container.sh(own).await.ok(), "0::/init.scope");
    assert_eq!(container.sh("ls -d /sys/fs/cgroup/*/").await.ok(), "/sys/fs/cgroup/init.scope/");
    let controllers = container.sh("cat /sys/fs/cgroup/cgroup.controllers").await.ok().trim().to_owned();
    for controller in controllers.split_whitespace() {
        container.sh(&format!("echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control")).await.ok();
    }
    container.sh("cd /sys/fs/cgroup && mkdir moved && echo 1 > moved/cgroup.procs").await.ok();
    assert_eq!(container.sh(own).await.ok(), "0::/moved");
    container.sh("rmdir /sys/fs/cgroup/init.scope").await.ok();
    assert_eq!(container.sh(own).await.ok(), "0::/moved");
    for file in ["cgroup.freeze", "cgroup.max.depth", "cgroup.kill"] {
        let output = container.sh(&format!("echo 1 > /sys/fs/cgroup/{file}")).await;
        assert!(output.failed().contains("ermission denied"), "{file}: {output:?}");
    }
    assert!(container.pids().await.unwrap().contains(&container.pid));
    container.end().await;
    assert!(!group.exists());
}
