//! Namespaces: which are the container's own, which it may join, which are refused.

use std::collections::HashMap;

use serde_json::json;
use tests::room::{Dweller, Room, ranges};
use tests::shim::How;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

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

/// The text of a refusal to share `kinds` with the host, to its end.
pub(crate) fn shared_with_the_host(kinds: &[&str]) -> String {
    let what = match kinds {
        ["network"] => "a network namespace".to_owned(),
        kinds => format!("namespaces [{}]", kinds.join(" ")),
    };
    format!(
        "OCI runtime create failed: error in the container spec: invalid or unsupported container spec: eci containers \
         can't share {what} with the host (because they use the linux user-namespace for isolation)"
    )
}

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
    // Nor is what a spec leaves out, where the operator says what that means.
    let room = Room::new();
    room.configure("[namespaces]\nmissing = \"private\"\n");
    let without = room.sleeping(Bundle::new().set("/linux/namespaces", json!([]))).await;
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
async fn a_namespace_of_the_hosts_own_is_refused_by_whatever_path() {
    for (kind, name) in JOINABLE {
        let dir = tests::place::new_dir("hosts");
        let bound = dir.join("bound").display().to_string();
        tests::sh(&format!("touch {bound}; mount --bind /proc/1/ns/{name} {bound}")).ok();
        let link = dir.join("link").display().to_string();
        std::os::unix::fs::symlink(&bound, &link).unwrap();
        for path in [&format!("/proc/1/ns/{name}"), &format!("/proc/self/ns/{name}"), &bound, &link] {
            let refusal = Bundle::new().namespace(kind, Some(path)).refused().await;
            assert_eq!(refusal, shared_with_the_host(&[kind]), "{path}");
        }
        tests::sh(&format!("umount {bound}")).ok();
    }
    let several = ["uts", "network", "pid"].into_iter().fold(Bundle::new(), |bundle, kind| {
        let name = if kind == "network" { "net" } else { kind };
        bundle.namespace(kind, Some(&format!("/proc/1/ns/{name}")))
    });
    assert_eq!(several.refused().await, shared_with_the_host(&["network", "pid", "uts"]));
    let refusal = Bundle::new().namespace("mount", Some("/proc/1/ns/mnt")).refused().await;
    assert!(refusal.contains("].path: joining a mount namespace is not implemented"), "{refusal}");
}

#[tokio::test]
async fn the_hosts_network_is_refused_below_run_netns_and_to_an_engine_that_has_another_one() {
    let bound = format!("/run/netns/{}", tests::place::unique("hosts"));
    tests::sh(&format!("touch {bound}; mount --bind /proc/1/ns/net {bound}")).ok();
    let bundle = Bundle::new().namespace("network", Some(&bound));
    assert_eq!(bundle.clone().refused().await, shared_with_the_host(&["network"]));
    // As of an engine whose unit has a network of its own.
    let script = tests::place::new_dir("moved").join("shim");
    let text = format!("#!/bin/sh\nexec unshare --net {} \"$@\"\n", tests::place::shim().display());
    tests::place::script(&script, &text);
    let shim = Shim::start_as(&bundle, &How { binary: script, ..How::default() }).await;
    let created = Container::create_in(&shim, bundle, Pipes::none()).await;
    assert_eq!(created.err().expect("a refusal").message, shared_with_the_host(&["network"]));
    shim.shut_down().await.unwrap();
    tests::sh(&format!("umount {bound}; rm {bound}")).ok();
}

#[tokio::test]
async fn what_a_spec_leaves_out_is_the_hosts_and_refused() {
    for kinds in [&["pid"][..], &["ipc"], &["uts"], &["network"], &["ipc", "pid"], &["network", "pid"]] {
        let bundle = kinds.iter().fold(Bundle::new(), |bundle, kind| bundle.without_namespace(kind));
        assert_eq!(bundle.refused().await, shared_with_the_host(kinds));
    }
    let nothing = Bundle::new().remove("/linux/namespaces").refused().await;
    assert_eq!(nothing, shared_with_the_host(&["ipc", "network", "pid", "uts"]));
    // What else is left out is the container's own, as `--userns=host` and `--cgroupns=host` are.
    let host = namespaces(None).await;
    let container = Container::sleeping(Bundle::new().without_namespace("mount")).await;
    let own = namespaces(Some(&container)).await;
    for kind in ALL {
        assert_ne!(host[kind], own[kind], "{kind}");
    }
    container.end().await;
}

#[tokio::test]
async fn a_path_of_the_hosts_is_refused_also_where_the_operator_gives_what_is_left_out() {
    let room = Room::new();
    room.configure("[namespaces]\nmissing = \"private\"\n");
    let bundle = Bundle::new().without_namespace("ipc").namespace("pid", Some("/proc/1/ns/pid"));
    assert_eq!(room.refused(bundle).await, shared_with_the_host(&["pid"]));
}

#[tokio::test]
async fn a_denial_is_one_event_in_the_shims_log() {
    const IMAGE: &str = "docker.io/library/busybox:latest";
    let dweller = Dweller::new(&["--ipc"], "");
    let foreign = dweller.namespace("ipc");
    let missing = Bundle::new().namespace("ipc", Some("/proc/1/ns/none"));
    let hosts = Bundle::new().without_namespace("pid").namespace("network", Some("/proc/1/ns/net"));
    let hosts = hosts.set("/annotations", json!({ "io.kubernetes.cri.image-name": IMAGE }));
    let anothers = Bundle::new().namespace("ipc", Some(&foreign));
    let ids = [hosts.id.clone(), anothers.id.clone()];
    let shim = Shim::start(&missing).await;
    for bundle in [missing, hosts, anothers] {
        Container::create_in(&shim, bundle, Pipes::none()).await.err().expect("a refusal");
    }
    let last = format!("audit=true container={} rule=namespaces object=ipc:{foreign}", ids[1]);
    shim.logged(&last).await;
    let log = shim.log();
    let events: Vec<_> = log.lines().filter(|line| line.contains("audit=true")).collect();
    // What is only wrong, as a path that does not exist, is no denial.
    assert_eq!(events.len(), 2, "{events:#?}");
    let first = format!(
        "level=warning msg=denied runtime=io.containerd.eci.v2 audit=true container={} image={IMAGE} rule=namespaces \
         object=\"network:/proc/1/ns/net pid\"",
        ids[0]
    );
    assert!(events[0].ends_with(&first) && events[1].ends_with(&last), "{events:#?}");
    shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_namespace_that_others_own_is_refused_by_name() {
    let hosts = Dweller::new(&["--ipc", "--uts", "--net", "--cgroup"], "");
    let anothers = Dweller::new(&["--user", "--map-root-user", "--ipc", "--uts", "--net", "--cgroup"], "");
    for (kind, name) in [("ipc", "ipc"), ("uts", "uts"), ("network", "net"), ("cgroup", "cgroup")] {
        for (dweller, whose) in [
            (
                &hosts,
                "is owned by the host's user namespace: it is the host's, or that of a container of another runtime",
            ),
            (&anothers, "is owned by a user namespace that is not that of a running eci container"),
        ] {
            let path = dweller.namespace(name);
            let refusal = Bundle::new().namespace(kind, Some(&path)).refused().await;
            assert!(refusal.contains(&format!("the {kind} namespace {path:?} {whose}")), "{refusal}");
            let advised = refusal.ends_with("run both containers with this runtime");
            assert_eq!(advised, std::ptr::eq(dweller, &hosts), "{refusal}");
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

/// A setting of the network namespace that the kernel has for the host alone.
const OF_THE_NETWORK: &str = "/proc/sys/net/core/rmem_max";

#[tokio::test]
async fn what_one_wrote_of_a_shared_network_outlives_its_shim() {
    let writable = || Bundle::new().set("/linux/readonlyPaths", json!([]));
    let writer = Container::sleeping(writable()).await;
    let network = format!("/proc/{}/ns/net", writer.pid);
    let reader = Container::sleeping(writable().namespace("network", Some(&network))).await;
    assert_ne!(writer.shim.pid, reader.shim.pid);
    let host = std::fs::read_to_string(OF_THE_NETWORK).unwrap();
    let read = format!("cat {OF_THE_NETWORK}");
    writer.sh(&format!("echo 7777777 > {OF_THE_NETWORK}")).await.ok();
    assert_eq!(reader.sh(&read).await.ok(), "7777777");
    let shim = rustix::process::Pid::from_raw(i32::try_from(writer.shim.pid).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    // Before and after containerd has cleaned up.
    for value in ["8888888", "9999999"] {
        let kept = reader.sh(&read).await.ok().to_owned();
        assert_eq!(kept, if value == "8888888" { "7777777" } else { "8888888" });
        assert_eq!(reader.sh(&format!("echo {value} > {OF_THE_NETWORK}; {read}")).await.ok(), value);
        let deleted = tests::shim::call_delete(&writer.bundle.dir, &writer.bundle.id);
        assert!(deleted.status.success(), "{deleted:?}");
    }
    tests::room::remove_layer(&writer.bundle);
    // A third one, which joins what is left, has it too.
    let network = format!("/proc/{}/ns/net", reader.pid);
    let third = Container::sleeping(writable().namespace("network", Some(&network))).await;
    assert_eq!(third.sh(&read).await.ok(), "9999999");
    assert_eq!(std::fs::read_to_string(OF_THE_NETWORK).unwrap(), host);
    third.end().await;
    reader.end().await;
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
