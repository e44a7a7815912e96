//! Namespaces: which are the container's own, which it may join, which are refused.

use std::collections::HashMap;

use serde_json::json;
use tests::room::{Dweller, ranges};
use tests::{Bundle, Container};

const ALL: [&str; 8] = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"];

/// The kinds that can be joined, by their names in a spec and below `/proc/PID/ns`.
const JOINABLE: [(&str, &str); 7] = [
    ("user", "user"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

const BECAUSE: &str = "with the host (because they use the linux user-namespace for isolation)";

/// The namespaces of a process of a container, or of this process, by name.
async fn namespaces(container: Option<&Container>) -> HashMap<String, String> {
    let links = format!("for kind in {}; do echo $kind $(readlink /proc/self/ns/$kind); done", ALL.join(" "));
    let output = match container {
        Some(container) => container.sh(&links).await,
        None => tests::sh(&links),
    };
    let pairs = output.ok().lines().map(|line| line.split_once(' ').expect("two words"));
    pairs.map(|(kind, link)| (kind.to_owned(), link.to_owned())).collect()
}

#[tokio::test]
async fn every_namespace_is_the_containers_own() {
    let host = namespaces(None).await;
    let as_listed = Container::sleeping(Bundle::new()).await;
    // What a spec leaves out is not shared with the host either.
    let without = Container::sleeping(Bundle::new().set("/linux/namespaces", json!([]))).await;
    let [one, other] = [namespaces(Some(&as_listed)).await, namespaces(Some(&without)).await];
    for kind in ALL {
        assert!(host[kind] != one[kind] && host[kind] != other[kind] && one[kind] != other[kind], "{kind}");
    }
    assert_eq!(without.sh("cat /proc/1/comm").await.ok(), "sleep");
    as_listed.end().await;
    without.end().await;
}

#[tokio::test]
async fn every_namespace_is_owned_by_the_containers_user_namespace() {
    let container = Container::sleeping(Bundle::new().with_inside()).await;
    for kind in ALL.iter().skip(1) {
        assert_eq!(container.exec(&["/inside", "owner", kind]).await.ok(), "own", "{kind}");
    }
    container.end().await;
}

#[tokio::test]
async fn lo_is_up_in_a_new_network_namespace() {
    let output = Bundle::new().sh("ip link show lo; ping -c 1 -W 30 127.0.0.1").run().await;
    assert!(output.ok().contains("<LOOPBACK,UP,LOWER_UP>"), "{output:?}");
}

#[tokio::test]
async fn a_namespace_of_the_hosts_own_is_refused() {
    for (kind, name) in JOINABLE {
        let refusal = Bundle::new().namespace(kind, Some(&format!("/proc/1/ns/{name}"))).refused().await;
        let what = match kind {
            "network" => "a network namespace".to_owned(),
            kind => format!("namespaces [{kind}]"),
        };
        assert!(
            refusal.ends_with(&format!("linux.namespaces: eci containers can't share {what} {BECAUSE}")),
            "{refusal}"
        );
    }
    let refusal = Bundle::new().namespace("mount", Some("/proc/1/ns/mnt")).refused().await;
    assert!(refusal.contains("].path: joining a mount namespace is not implemented"), "{refusal}");
}

#[tokio::test]
async fn a_namespace_that_others_own_is_refused_by_name() {
    let hosts = Dweller::new(&["--ipc", "--uts", "--net", "--cgroup"], "");
    let anothers = Dweller::new(&["--user", "--map-root-user", "--ipc", "--uts", "--net", "--cgroup"], "");
    for (kind, name) in [("ipc", "ipc"), ("uts", "uts"), ("network", "net"), ("cgroup", "cgroup")] {
        for (dweller, whose) in [
            (&hosts, "is owned by the host's user namespace, not by the container's"),
            (&anothers, "is owned by a user namespace that is not the container's"),
        ] {
            let path = dweller.namespace(name);
            let refusal = Bundle::new().namespace(kind, Some(&path)).refused().await;
            assert!(refusal.contains(&format!("the {kind} namespace {path:?} {whose}")), "{refusal}");
        }
    }
    let path = anothers.namespace("user");
    let refusal = Bundle::new().namespace("user", Some(&path)).refused().await;
    let reason = "is neither the user namespace of a running eci container nor one that a lease covers";
    assert!(refusal.contains(&format!("the user namespace {path:?} {reason}")), "{refusal}");
}

#[tokio::test]
async fn what_is_no_namespace_is_refused_by_its_path() {
    for (path, reason) in [
        ("/proc/1/ns/none", "cannot be opened: No such file or directory (os error 2)"),
        ("/etc/passwd", "is no namespace"),
    ] {
        let refusal = Bundle::new().namespace("ipc", Some(path)).refused().await;
        assert!(refusal.contains(&format!("the ipc namespace {path:?} {reason}")), "{refusal}");
    }
    let refusal = Bundle::new().namespace("ipc", Some("proc/1/ns/ipc")).refused().await;
    assert!(refusal.contains(".path: \"proc/1/ns/ipc\" is not an absolute path"), "{refusal}");
}

#[tokio::test]
async fn namespaces_of_a_living_container_are_joined_with_its_user_namespace() {
    let first = Container::sleeping(Bundle::new().set("/hostname", json!("first"))).await;
    let path = |name: &str| format!("/proc/{}/ns/{name}", first.pid);
    let mut bundle = Bundle::new();
    for (kind, name) in [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")] {
        bundle = bundle.namespace(kind, Some(&path(name)));
    }
    let second = Container::sleeping(bundle).await;

    let [one, other] = [namespaces(Some(&first)).await, namespaces(Some(&second)).await];
    for kind in ALL {
        let joined = ["user", "pid", "ipc", "uts", "net"].contains(&kind);
        assert_eq!(one[kind] == other[kind], joined, "{kind}");
    }
    assert_eq!(first.host_base(), second.host_base());
    assert_eq!(second.sh("hostname").await.ok(), "first");
    assert_eq!(second.sh("cat /proc/1/comm; pidof sleep | wc -w").await.ok(), "sleep\n2");
    let range_of = |id: &str| ranges().into_iter().find(|row| row[1] == id).expect("a lease");
    let [one, other] = [range_of(&first.id()), range_of(&second.id())];
    assert_eq!((&one[0], &one[2], &other[2]), (&other[0], &"running".to_owned(), &"running".to_owned()));
    second.end().await;
    first.end().await;
}

#[tokio::test]
async fn a_range_outlives_the_container_that_first_had_it_while_a_member_runs() {
    let first = Container::sleeping(Bundle::new()).await;
    let base = first.host_base();
    let network = format!("/proc/{}/ns/net", first.pid);
    let second = Container::sleeping(Bundle::new().namespace("network", Some(&network))).await;
    first.end().await;
    tests::room::remove_layer(&first.bundle);
    let third = Container::sleeping(Bundle::new()).await;
    assert_eq!(second.host_base(), base);
    assert_ne!(third.host_base(), base);
    assert!(second.sh("ip link show lo").await.ok().contains("UP"));
    second.end().await;
    third.end().await;
}

#[tokio::test]
async fn namespaces_of_two_containers_are_not_joined_by_one() {
    let one = Container::sleeping(Bundle::new()).await;
    let other = Container::sleeping(Bundle::new()).await;
    let (ipc, uts) = (format!("/proc/{}/ns/ipc", one.pid), format!("/proc/{}/ns/uts", other.pid));
    let refusal = Bundle::new().namespace("ipc", Some(&ipc)).namespace("uts", Some(&uts)).refused().await;
    let reason = "belongs to another eci container than the user namespace that the other paths lead to";
    assert!(refusal.ends_with(reason), "{refusal}");
    one.end().await;
    other.end().await;
}
