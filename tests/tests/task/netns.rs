//! Network namespaces that the host owns: CNI's are joined, and nothing else.

use serde_json::json;
use tests::room::Dweller;
use tests::{Bundle, Container, place};

/// A network namespace as CNI makes it; it is removed with its value.
struct Netns {
    name: String,
}

impl Netns {
    fn new() -> Self {
        let name = place::unique("cni");
        tests::sh(&format!(
            "ip netns add {name}; ip -n {name} link set lo up; ip -n {name} link add pod0 type veth peer name pod1"
        ))
        .ok();
        Self { name }
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    fn sh(&self, script: &str) -> tests::Output {
        tests::sh(&format!("ip netns exec {} bash -euc '{script}'", self.name))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        tests::sh(&format!("ip netns del {}", self.name));
    }
}

fn unprivileged(bundle: Bundle) -> Bundle {
    bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).capabilities(&[])
}

#[tokio::test]
async fn a_network_of_cni_is_joined_and_serves_port_80_without_privileges() {
    let netns = Netns::new();
    let serve = "mkdir /tmp/www && echo served > /tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www";
    let server = unprivileged(Bundle::new().with_inside()).namespace("network", Some(&netns.path())).sh(serve);
    let server = Container::started(server).await;

    let ask = "for i in $(seq 300); do exec 3<> /dev/tcp/127.0.0.1/80 && break || sleep 0.1; done 2> /dev/null
        printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3";
    let answer = netns.sh(ask);
    assert!(answer.ok().ends_with("served"), "{answer:?}");
    // Pinging without CAP_NET_RAW is an unprivileged user's right there.
    server.exec(&["/inside", "icmp"]).await.ok();
    assert_eq!(netns.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").ok(), "0");
    assert_eq!(netns.sh("cat /proc/sys/net/ipv4/ping_group_range").ok().split_whitespace().last(), Some("2147483647"));
    server.end().await;
}

#[tokio::test]
async fn the_sysfs_of_a_network_of_cni_shows_its_devices() {
    let netns = Netns::new();
    let output = Bundle::new().namespace("network", Some(&netns.path())).sh("ls /sys/class/net").run().await;
    assert_eq!(output.ok().split_whitespace().collect::<Vec<_>>(), ["lo", "pod0", "pod1"]);
}

#[tokio::test]
async fn the_root_of_a_container_has_no_power_over_a_network_of_cni() {
    let netns = Netns::new();
    let bundle = Bundle::new().all_capabilities().namespace("network", Some(&netns.path()));
    let output = bundle.sh("ip link set pod0 up; ip link del pod0; echo 1 > /proc/sys/net/ipv4/ip_forward").run().await;
    let said = output.failed();
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");
    netns.sh("ip link show pod0 | grep DOWN").ok();
}

#[tokio::test]
async fn the_older_path_of_a_network_of_cni_is_joined_too() {
    let netns = Netns::new();
    assert_eq!(std::fs::read_link("/var/run").ok(), Some("/run".into()), "this machine is as Debian's are");
    let path = format!("/var/run/netns/{}", netns.name);
    let output = Bundle::new().namespace("network", Some(&path)).sh("ls /sys/class/net").run().await;
    assert!(output.ok().contains("pod0"), "{output:?}");
}

#[tokio::test]
async fn a_network_of_the_hosts_is_not_joined_by_the_path_of_a_process() {
    let netns = Netns::new();
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", &netns.name, "sh", "-c", "echo ready; exec sleep 1000"]);
    let dweller = Dweller::spawned(command);
    let path = dweller.namespace("net");
    let annotated = Bundle::new().set(
        "/annotations",
        json!({
            "io.kubernetes.cri.container-type": "sandbox",
            "io.kubernetes.cri.sandbox-id": "pod",
            "io.kubernetes.cri-o.ContainerType": "sandbox",
        }),
    );
    for bundle in [Bundle::new(), annotated] {
        let refusal = bundle.namespace("network", Some(&path)).refused().await;
        let reason =
            "is owned by the host's user namespace: it is the host's, or that of a container of another runtime";
        assert!(refusal.contains(&format!("the network namespace {path:?} {reason}")), "{refusal}");
    }
}

#[tokio::test]
async fn a_path_that_only_looks_like_one_of_cni_is_refused() {
    let netns = Netns::new();
    let link = place::new_dir("netns").join("link");
    let dweller = Dweller::new(&["--net"], "");
    for (target, joined) in [(netns.path(), true), (dweller.namespace("net"), false)] {
        // Where it leads decides, not where it lies.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let bundle = Bundle::new().namespace("network", link.to_str());
        if joined {
            bundle.sh("true").run().await.ok();
        } else {
            assert!(bundle.refused().await.contains("is owned by the host's user namespace"));
        }
    }
    let climbing = format!("/run/netns/../..{}", dweller.namespace("net"));
    let refusal = Bundle::new().namespace("network", Some(&climbing)).refused().await;
    assert!(refusal.contains("is owned by the host's user namespace"), "{refusal}");
    // The host's own network, bound where CNI's are.
    let own = format!("/run/netns/{}", place::unique("own"));
    tests::sh(&format!("touch {own}; mount --bind /proc/1/ns/net {own}")).ok();
    let refusal = Bundle::new().namespace("network", Some(&own)).refused().await;
    assert!(refusal.contains("can't share a network namespace with the host"), "{refusal}");
    tests::sh(&format!("umount {own}; rm {own}")).ok();
}
