//! What the kernel itself keeps for a container, or shows to all alike: no row, and no mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::Container;

use super::script_in_quotes;
use crate::setup::{bash, privileged};

const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Whether this kernel has a value for each pid namespace (Linux 6.14): then its root may write it.
fn pid_max_is_native() -> bool {
    let unshared = Command::new("unshare").args(["-Urpf", "sh", "-c", &format!(": >> {PID_MAX}")]).output().unwrap();
    unshared.status.success()
}

#[tokio::test]
async fn pid_max_is_the_pid_namespaces_where_the_kernel_has_it_so() {
    let hosts = fs::read_to_string(PID_MAX).unwrap();
    let (container, other) =
        (Container::sleeping(privileged("trixie")).await, Container::sleeping(privileged("trixie")).await);
    let native = pid_max_is_native();
    let mounts = format!("grep -c ' {PID_MAX} .* - fuse ' /proc/self/mountinfo; stat -c %a:%u {PID_MAX}");
    assert_eq!(bash(&container, &mounts).await.stdout.trim(), if native { "0\n644:0" } else { "1\n644:0" });
    let mine = "4321";
    assert_ne!(hosts.trim(), mine);
    assert_eq!(bash(&container, &format!("echo {mine} > {PID_MAX}; cat {PID_MAX}")).await.ok(), mine);
    for refused in ["300", "4194305", "x"] {
        assert!(bash(&container, &format!("echo {refused} > {PID_MAX}")).await.failed().contains("Invalid argument"));
    }
    // The kernel goes by it, if it is the kernel's.
    let script = "for i in $(seq 5000); do /bin/true & wait; done; echo $(( $(sh -c 'echo $$') < 4321 ))";
    assert!(!native || bash(&container, script).await.ok() == "1");
    // Through a procfs that is mounted inside, too, and with a value of its own in a namespace below.
    let inside = format!("mkdir -p /mnt/p && mount -t proc p /mnt/p && cat /mnt/p{} && umount /mnt/p", &PID_MAX[5..]);
    assert_eq!(bash(&container, &inside).await.ok(), mine);
    if native {
        let below = format!("echo 1234 > {PID_MAX}; cat {PID_MAX}");
        let below = format!("unshare -Urpf --mount-proc bash -c '{}'; cat {PID_MAX}", script_in_quotes(&below));
        assert_eq!(bash(&container, &below).await.ok(), format!("1234\n{mine}"));
    }
    assert_eq!(bash(&other, &format!("cat {PID_MAX}")).await.ok(), hosts.trim());
    assert_eq!(fs::read_to_string(PID_MAX).unwrap(), hosts);
    other.end().await;
    container.end().await;
}

/// Two values for each, neither of which is anybody's own.
const SETTINGS: [(&str, &str, &str); 31] = [
    ("net/ipv4/ip_default_ttl", "77", "78"),
    ("net/ipv4/ip_forward", "1", "0"),
    ("net/ipv4/ip_nonlocal_bind", "1", "0"),
    ("net/ipv4/tcp_keepalive_time", "601", "602"),
    ("net/ipv4/ping_group_range", "5\t6", "0\t0"),
    ("net/ipv4/conf/all/rp_filter", "2", "1"),
    ("net/ipv6/idgen_retries", "4", "5"),
    ("net/ipv6/conf/all/disable_ipv6", "1", "0"),
    ("net/ipv6/conf/all/forwarding", "1", "0"),
    ("net/ipv6/conf/all/keep_addr_on_down", "1", "-1"),
    ("net/ipv6/conf/default/disable_ipv6", "1", "0"),
    ("net/ipv6/conf/default/keep_addr_on_down", "1", "-1"),
    ("net/ipv6/conf/lo/disable_ipv6", "1", "0"),
    ("net/ipv6/conf/lo/keep_addr_on_down", "1", "-1"),
    ("net/core/somaxconn", "777", "778"),
    ("net/unix/max_dgram_qlen", "33", "34"),
    ("net/netfilter/nf_conntrack_frag6_timeout", "61", "62"),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", "8001", "8002"),
    ("user/max_net_namespaces", "71", "72"),
    ("user/max_pid_namespaces", "71", "72"),
    ("user/max_inotify_watches", "4001", "4002"),
    ("user/max_inotify_instances", "71", "72"),
    ("kernel/msgmax", "8111", "8112"),
    ("kernel/msgmnb", "17111", "17112"),
    ("kernel/sem", "250\t32000\t100\t999", "250\t32000\t100\t998"),
    ("kernel/shmmax", "4096111", "4096112"),
    ("kernel/shmall", "4096111", "4096112"),
    ("kernel/shmmni", "4000", "4001"),
    ("fs/mqueue/queues_max", "71", "72"),
    ("fs/mqueue/msg_max", "21", "22"),
    ("fs/mqueue/msgsize_max", "8321", "8322"),
];

#[tokio::test]
async fn what_a_namespace_keeps_is_the_containers_to_write() {
    let settings: Vec<_> =
        SETTINGS.iter().filter(|(name, ..)| Path::new(&format!("/proc/sys/{name}")).exists()).collect();
    assert!(settings.len() > 20, "{settings:?}");
    let hosts = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap();
    let before: Vec<_> = settings.iter().map(|(name, ..)| hosts(name)).collect();
    // Which this machine's engines might lack, but nobody in a user namespace of its own.
    let may = |set: &str| (format!("/process/capabilities/{set}"), json!("CAP_SYS_RESOURCE"));
    let bundle = ["bounding", "effective", "permitted"].map(may).into_iter();
    let bundle = bundle.fold(privileged("trixie"), |bundle, (set, name)| bundle.push(&set, name));
    let container = Container::sleeping(bundle).await;
    let other = Container::sleeping(privileged("trixie")).await;
    let write = |at: fn(&(&str, &str, &str)) -> String| settings.iter().map(|it| at(it)).collect::<String>();
    let read = write(|(name, ..)| format!("echo \"{name} $(cat /proc/sys/{name})\"\n"));
    let others = bash(&other, &read).await;
    let first = write(|(name, value, _)| format!("echo '{value}' > /proc/sys/{name} || echo {name} refuses\n"));
    let expected = |at: fn(&(&str, &str, &str)) -> String| write(at).trim_end().to_owned();
    let ours = expected(|(name, value, _)| format!("{name} {value}\n"));
    assert_eq!(bash(&container, &(first + &read)).await.ok(), ours);
    // In namespaces below it, whoever made them has values of their own.
    let second = write(|(name, _, value)| format!("echo '{value}' > /proc/sys/{name} || echo {name} refuses\n"));
    let nested = format!("unshare -Urni bash -c '{}'", script_in_quotes(&(second + &read)));
    assert_eq!(bash(&container, &nested).await.ok(), expected(|(name, _, value)| format!("{name} {value}\n")));
    assert_eq!(bash(&container, &read).await.ok(), ours, "what is below is not its own");
    assert_eq!(bash(&other, &read).await.ok(), others.ok(), "another container's");
    for ((name, value, _), before) in settings.iter().zip(&before) {
        assert_eq!(&hosts(name), before, "{name}");
        assert!(!others.ok().contains(&format!("{name} {value}\n")), "{name} tells nothing");
    }
    other.end().await;
    container.end().await;
}

/// Groups that the map does not have are no groups, and algorithms that the host does not allow are not for it.
#[tokio::test]
async fn what_the_kernel_refuses_is_refused() {
    let container = Container::sleeping(privileged("trixie")).await;
    let pings =
        async |range: &str| bash(&container, &format!("echo '{range}' > /proc/sys/net/ipv4/ping_group_range")).await;
    assert_eq!(pings("0 65535").await.status, 0);
    for range in ["0 65536", "0 2147483647", "65536 65537"] {
        assert!(pings(range).await.failed().contains("Invalid argument"), "{range}");
    }
    assert_eq!(bash(&container, "cat /proc/sys/net/ipv4/ping_group_range").await.ok(), "0\t65535");
    let list = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{name}_congestion_control")).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let allowed = list("allowed");
    for name in list("available") {
        let said = bash(&container, &format!("echo {name} > /proc/sys/net/ipv4/tcp_congestion_control")).await;
        match allowed.contains(&name) {
            true => assert_eq!(said.status, 0, "{name}: {said:?}"),
            false => assert!(said.failed().contains("Operation not permitted"), "{name}: {said:?}"),
        }
    }
    container.end().await;
}

#[tokio::test]
async fn facts_are_the_same_for_all_and_ids_are_fresh() {
    let container = Container::sleeping(privileged("trixie")).await;
    for name in ["cap_last_cap", "ngroups_max", "osrelease", "random/uuid"] {
        let path = format!("/proc/sys/kernel/{name}");
        let said = bash(&container, &format!("stat -c %a:%u {path}; echo 1 > {path}")).await;
        assert_eq!(said.stdout.trim(), "444:65534", "{path}");
        assert!(said.failed().contains("Permission denied"), "{path}: {said:?}");
        let read = format!("cat {path}");
        let (first, again) = (bash(&container, &read).await, bash(&container, &read).await);
        let hosts = fs::read_to_string(&path).unwrap();
        match name {
            "random/uuid" => {
                assert!(first.ok() != again.ok() && first.ok().len() == 36 && first.ok() != hosts.trim(), "{first:?}")
            }
            _ => assert_eq!([first.ok(), again.ok()], [hosts.trim(); 2], "{path}"),
        }
    }
    // A boot is the container's, for its life.
    let boot =
        async |container: &Container| bash(container, "cat /proc/sys/kernel/random/boot_id").await.ok().to_owned();
    let (first, again) = (boot(&container).await, boot(&container).await);
    let other = Container::sleeping(privileged("trixie")).await;
    let hosts = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(first == again && first.len() == 36 && first != hosts.trim() && first != boot(&other).await, "{first}");
    other.end().await;
    container.end().await;
}

/// docs/emulation.md: where the kernel has a place for a filesystem of its own, it is there, and empty.
#[tokio::test]
async fn places_for_the_kernels_filesystems_are_there_and_empty() {
    let container = Container::sleeping(privileged("trixie")).await;
    let names = ["config", "debug", "tracing", "security"];
    let there: Vec<_> = names.iter().filter(|name| Path::new(&format!("/sys/kernel/{name}")).is_dir()).collect();
    assert!(!there.is_empty());
    let expected: String = there.iter().map(|name| format!("{name} 555:65534:65534 0\n")).collect();
    let look = "for name in config debug tracing security; do
        [ ! -e $name ] || echo $name $(stat -c %a:%u:%g $name) $(ls -A $name | wc -l); done";
    for place in [
        "cd /sys/kernel".to_owned(),
        "mkdir -p /mnt/s; mount -t sysfs s /mnt/s || exit 3; cd /mnt/s/kernel".to_owned(),
        "/busybox/bin/busybox mount -t sysfs s /mnt/s || exit 3; cd /mnt/s/kernel".to_owned(),
    ] {
        let said = bash(&container, &format!("{place}\n{look}\ncd /; umount /mnt/s 2> /dev/null; true")).await;
        assert_eq!(said.ok(), expected.trim_end(), "{place}");
    }
    for name in there {
        // Nothing is made there, and something of its own can be mounted there.
        let path = format!("/sys/kernel/{name}");
        bash(&container, &format!("mkdir {path}/x || touch {path}/x")).await.failed();
        let script = format!("mount -t tmpfs t {path} && touch {path}/x && ls {path}; umount {path}; ls -A {path}");
        assert_eq!(bash(&container, &script).await.ok(), "x", "{path}");
    }
    container.end().await;
}
