//! What is set in a container's namespaces and on its root: sysctls, names, propagation, read-only root, cgroup path.

use serde_json::json;
use tests::{Bundle, Container};

#[tokio::test]
async fn sysctls_of_the_containers_namespaces_are_set() {
    let read = |path: &str| std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
    let before = (read("net/ipv4/ip_forward"), read("kernel/shmmax"));
    let output = Bundle::new()
        .set(
            "/linux/sysctl",
            json!({
                "net.ipv4.ip_forward": "1",
                "net/ipv4/conf/lo/forwarding": "1",
                "net.ipv4.ping_group_range": "5 7",
                "kernel.shmmax": "123456",
                "kernel.sem": "251 32001 33 129",
                "fs.mqueue.msg_max": "11",
            }),
        )
        .sh("cd /proc/sys && cat net/ipv4/ip_forward net/ipv4/conf/lo/forwarding net/ipv4/ping_group_range \
             kernel/shmmax kernel/sem fs/mqueue/msg_max | tr '\\t' ' '")
        .run()
        .await;
    assert_eq!(output.ok(), "1\n1\n5 7\n123456\n251 32001 33 129\n11");
    let all = Bundle::new().set("/linux/sysctl", json!({ "net.ipv4.ping_group_range": "0 2147483647" }));
    let output = all.sh("cat /proc/sys/net/ipv4/ping_group_range").run().await;
    assert_eq!(output.ok().split_whitespace().collect::<Vec<_>>(), ["0", "65535"], "all groups that the container has");
    assert_eq!((read("net/ipv4/ip_forward"), read("kernel/shmmax")), before, "the host's are as they were");
}

#[tokio::test]
async fn sysctls_that_no_namespace_keeps_apart_are_refused_by_name() {
    for (name, reason) in [
        ("kernel.core_pattern", "is the host's; no namespace keeps it apart"),
        ("vm.swappiness", "is the host's; no namespace keeps it apart"),
        ("fs.file-max", "is the host's; no namespace keeps it apart"),
        ("kernel.hostname", "is what hostname of the spec is for"),
        ("net/../kernel/core_pattern", "has an empty part, or one that is . or .."),
    ] {
        let mut sysctl = serde_json::Map::new();
        sysctl.insert(name.to_owned(), json!("1"));
        let refusal = Bundle::new().set("/linux/sysctl", sysctl.into()).refused().await;
        assert!(refusal.ends_with(&format!("linux.sysctl[{name:?}]: {reason}")), "{refusal}");
    }
    let refusal = Bundle::new().set("/linux/sysctl", json!({ "net.ipv4.no_such_thing": "1" })).refused().await;
    assert!(refusal.contains("linux.sysctl[net.ipv4.no_such_thing]: write"), "{refusal}");
    assert!(refusal.contains("No such file or directory"), "{refusal}");
}

#[tokio::test]
async fn sysctls_of_a_namespace_that_is_joined_are_not_set() {
    let other = Container::sleeping(Bundle::new()).await;
    let path = format!("/proc/{}/ns/ipc", other.pid);
    let bundle = Bundle::new().namespace("ipc", Some(&path));
    let refusal = bundle.clone().set("/linux/sysctl", json!({ "kernel.shmmax": "1" })).refused().await;
    assert!(
        refusal.contains("needs a ipc namespace of the container's own") || refusal.contains("needs an ipc"),
        "{refusal}"
    );
    bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).run().await.ok();
    other.end().await;
}

#[tokio::test]
async fn host_name_and_domain_name_are_the_containers() {
    let host = tests::sh("hostname").ok().to_owned();
    let output = Bundle::new()
        .set("/hostname", json!("inner"))
        .set("/domainname", json!("example.test"))
        .sh("hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname")
        .run()
        .await;
    assert_eq!(output.ok(), "inner\ninner\nexample.test");
    assert_eq!(tests::sh("hostname").ok(), host);
    // As Docker writes it.
    let sysctl = json!({ "kernel.domainname": "other.test" });
    let output = Bundle::new().set("/linux/sysctl", sysctl.clone()).sh("cat /proc/sys/kernel/domainname").run().await;
    assert_eq!(output.ok(), "other.test");
    let refusal = Bundle::new().set("/domainname", json!("d")).set("/linux/sysctl", sysctl).refused().await;
    assert!(refusal.ends_with("linux.sysctl[\"kernel.domainname\"]: is given as domainname, too"), "{refusal}");
    let long = "x".repeat(65);
    let refusal = Bundle::new().set("/hostname", json!(long)).refused().await;
    assert!(refusal.ends_with(&format!("hostname: {long:?} is longer than 64 bytes")), "{refusal}");
    assert_eq!(Bundle::new().set("/hostname", json!("x".repeat(64))).sh("hostname").run().await.ok(), "x".repeat(64));
}

/// The propagation fields of the root mount, of the container's own mountinfo.
const ROOT_PROPAGATION: &str = "awk '$5 == \"/\" { for (i = 7; $i != \"-\"; i++) print $i }' /proc/self/mountinfo";

#[tokio::test]
async fn the_root_has_the_propagation_that_the_spec_asks_for() {
    for (propagation, fields) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let container = Container::sleeping(Bundle::new().set("/linux/rootfsPropagation", json!(propagation))).await;
        let output = container.sh(ROOT_PROPAGATION).await;
        let shown = output.ok();
        assert!(if fields.is_empty() { shown.is_empty() } else { shown.starts_with(fields) }, "{propagation}: {shown}");
        // A peer group of the container's own: nothing of it is shared with the host. (Its number is another's once it has ended.)
        let peers = shown.strip_prefix("shared:").map(|number| format!("shared:{number} "));
        let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(peers.is_none_or(|peers| !host.contains(&peers)));
        container.end().await;
    }
    let refusal = Bundle::new().set("/linux/rootfsPropagation", json!("sideways")).refused().await;
    assert!(refusal.ends_with("linux.rootfsPropagation: \"sideways\" is not known"), "{refusal}");
}

#[tokio::test]
async fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    let bundle =
        Bundle::new().all_capabilities().set("/root/readonly", json!(true)).set("/process/cwd", json!("/made/for/it"));
    let script = "pwd; touch /x; mount -o remount,rw /; mount -o remount,rw,bind /; touch /x; touch /run/x /dev/shm/x && echo $?";
    let output = bundle.clone().sh(script).run().await;
    assert_eq!(output.ok(), "/made/for/it\n0");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output:?}");
    assert!(!bundle.upper().join("x").exists());
}

#[tokio::test]
async fn a_cgroup_path_that_climbs_is_refused() {
    for path in ["/eci-tests/../../elsewhere", "..", "a/../../b"] {
        let refusal = Bundle::new().set("/linux/cgroupsPath", json!(path)).refused().await;
        assert!(refusal.ends_with(&format!("linux.cgroupsPath: {path:?} has a .. component")), "{refusal}");
    }
    let bundle = Bundle::new();
    let path = format!("/eci-tests/./deeper//{}", bundle.id);
    let output = bundle.set("/linux/cgroupsPath", json!(path)).sh("cat /proc/self/cgroup").run().await;
    output.ok();
}
