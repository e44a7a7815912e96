//! The container's cgroup is where the engine wants it from the first instruction on, shows nothing above itself, and is
//! the container's without a way out (CVE-2022-0492, CVE-2023-25809, CVE-2025-47291).

use std::path::Path;

use serde_json::{Value, json};
use tests::shim::How;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

/// The groups of a process, as the host sees them.
fn groups_of(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().map(|line| line.splitn(3, ':').nth(2).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_process_is_below_the_path_from_its_first_instruction_on() {
    for how in [How::default(), How::default().on_unified()] {
        // A first program that tells where it began, and does nothing else before.
        let bundle = Bundle::inner_engine().args(&["/bin/cat", "/proc/self/cgroup"]);
        let unified = how.binary != How::default().binary;
        let shim = Shim::start_as(&bundle, &how).await;
        let path = format!("/eci-tests/{}", bundle.id);
        let mut container = Container::create_in(&shim, bundle, Pipes::output()).await.unwrap();
        let before = groups_of(container.pid);
        let there =
            |groups: &[String]| groups.iter().filter(|group| format!("{group}/").contains(&format!("{path}/"))).count();
        // With the unified view alone, the other hierarchies are none that the shim could see.
        let expected = if unified { 1 } else { before.len() };
        assert_eq!(there(&before), expected, "{before:?}");
        container.start().await.unwrap();
        let seen = container.output().await;
        let own: Vec<&str> = seen.ok().lines().filter(|line| !unified || line.starts_with("0::")).collect();
        let at = if unified { ":/init.scope" } else { ":/" };
        assert!(!own.is_empty() && own.iter().all(|line| line.ends_with(at)), "{own:?}");
        container.end().await;
    }
}

#[tokio::test]
async fn the_hosts_groups_are_not_to_be_seen_without_a_cgroup_namespace_in_the_spec_either() {
    // The default spec has none, which is how engines say `--cgroupns=host`.
    let bundle = Bundle::inner_engine();
    assert!(!bundle.spec["linux"]["namespaces"].as_array().unwrap().iter().any(|it| it["type"] == "cgroup"));
    let container = Container::sleeping(bundle.clone()).await;
    let script =
        "find /sys/fs/cgroup -mindepth 2 -type d; cat /proc/1/cgroup | grep -v ':/$' | grep -v '^0::/init.scope$';
        mkdir /tmp/c; for c in $(sed 's/^[^:]*:\\([^:]*\\):.*/\\1/' /proc/1/cgroup | grep .); do
          mount -t cgroup -o $c none /tmp/c && find /tmp/c -mindepth 1 -type d && umount /tmp/c; done;
        mount -t cgroup2 none /tmp/c && find /tmp/c -mindepth 1 -type d; :";
    let output = container.sh(script).await;
    let foreign: Vec<&str> = output.ok().lines().filter(|line| !line.ends_with("/init.scope")).collect();
    assert_eq!(foreign, [""; 0], "{output:?}");
    // What is above stays out of reach by `..` and by the parent's files.
    for root in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        let output = container.sh(&format!("[ ! -d {root}/eci-tests ] && ! [ -e {root}/../eci-tests ]")).await;
        assert_eq!(output.status, 0, "{output:?}");
    }
    container.end().await;
}

#[tokio::test]
async fn what_is_the_containers_gives_no_release_agent_and_no_parent() {
    let container = Container::sleeping(Bundle::inner_engine()).await;
    // notify_on_release is its own on v1; the agent is a file of the hierarchy's root, which no container sees.
    let script = "find /sys/fs/cgroup -name release_agent; for g in /sys/fs/cgroup/*/; do
          [ ! -e $g/notify_on_release ] || echo 1 > $g/notify_on_release || echo $g refuses
          echo /x 2> /dev/null > $g/release_agent && echo $g has an agent
        done; :";
    let output = container.sh(script).await;
    assert!(!output.ok().contains("agent"), "{output:?}");
    // Devices, even with every capability: the list stays the runtime's.
    let devices = Path::new("/sys/fs/cgroup/devices").join("eci-tests").join(&container.bundle.id);
    if devices.exists() {
        let before = std::fs::read_to_string(devices.join("devices.list")).unwrap();
        container.sh("mkdir /sys/fs/cgroup/devices/c && echo a > /sys/fs/cgroup/devices/c/devices.allow; :").await;
        container.sh("echo a > /sys/fs/cgroup/devices/devices.allow; :").await;
        assert_eq!(std::fs::read_to_string(devices.join("devices.list")).unwrap(), before);
    }
    container.end().await;
}

#[tokio::test]
async fn annotations_give_no_device_and_no_limit() {
    // CDI (CVE-2026-53492): an image's labels become annotations.
    let annotations: Value = json!({
        "cdi.k8s.io/gpu": "vendor.com/gpu=all",
        "run.oci.systemd.subgroup": "../..",
        "org.systemd.property.MemoryMax": "1",
    });
    let container = Container::sleeping(Bundle::new().set("/annotations", annotations)).await;
    let plain = Container::sleeping(Bundle::new()).await;
    let look = "ls /dev; cat /proc/self/cgroup";
    assert_eq!(container.sh(look).await.ok(), plain.sh(look).await.ok());
    container.end().await;
    plain.end().await;
}
