//! `[sysctl]`: a limit of the host's is raised by what a container writes, up to the operator's ceiling.
//!
//! Where these shims live, plain files are mounted over the host's own: nothing of the machine changes.

use std::path::Path;

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container};

const LIMIT: &str = "/proc/sys/fs/aio-max-nr";
const CONNECTIONS: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// A room with this config, whose host has 100 for each setting.
fn room(config: &str) -> Room {
    let room = Room::new();
    room.configure(config);
    for setting in settings() {
        room.sh(&format!("file=$(mktemp -p /run); echo 100 > $file; mount --bind $file {setting}")).ok();
    }
    room
}

/// The second is a module's.
fn settings() -> impl Iterator<Item = &'static str> {
    [LIMIT, CONNECTIONS].into_iter().filter(|setting| Path::new(setting).exists())
}

async fn sleeping(room: &Room) -> Container {
    room.sleeping(Bundle::new().set("/linux/readonlyPaths", json!([]))).await
}

/// What the container and the host have, once it was written inside.
async fn written(room: &Room, container: &Container, setting: &str, value: u32) -> (String, String) {
    let inside = container.sh(&format!("echo {value} > {setting}; cat {setting}")).await;
    (inside.ok().to_owned(), room.sh(&format!("cat {setting}")).ok().to_owned())
}

fn both(inside: u32, host: u32) -> (String, String) {
    (inside.to_string(), host.to_string())
}

#[tokio::test]
async fn a_write_raises_the_hosts_value_up_to_the_ceiling() {
    let room = room("[sysctl]\nnf_conntrack_max = {max = 5000}\naio-max-nr = {max = 5000}\n");
    let container = sleeping(&room).await;
    for setting in settings() {
        let raised = |from: u32, to: u32| format!("setting={setting} from={from} to={to}");
        assert_eq!(written(&room, &container, setting, 50).await, both(50, 100));
        assert_eq!(written(&room, &container, setting, 3000).await, both(3000, 3000));
        let line = container.shim.logged(&raised(100, 3000)).await;
        assert!(line.contains("level=info msg=raised ") && line.contains(&container.id()), "{line}");
        assert_eq!(written(&room, &container, setting, 2000).await, both(2000, 3000));
        assert_eq!(written(&room, &container, setting, 70_000).await, both(70_000, 5000));
        container.shim.logged(&raised(3000, 5000)).await;
        let bad = container.sh(&format!("echo -1 > {setting}")).await;
        assert!(bad.status != 0 && bad.stderr.contains("Invalid argument"), "{bad:?}");
        assert_eq!(room.sh(&format!("cat {setting}")).ok(), "5000");
    }
    let raises = container.shim.log().lines().filter(|line| line.contains("msg=raised")).count();
    assert_eq!(raises, 2 * settings().count(), "one line for each raise");
    container.end().await;
    assert_eq!(room.sh(&format!("cat {LIMIT}")).ok(), "5000", "it stays when the container has ended");
}

/// The kernel's files take a number at their beginning only, and no other way than this.
#[tokio::test]
async fn a_file_of_the_kernels_own_is_raised_as_well() {
    let room = Room::new();
    room.configure("[sysctl]\naio-max-nr = {max = 9000}\n");
    // This one the tests' own ipc namespace has: 8192.
    room.sh(&format!("mount --bind /proc/sys/kernel/msgmax {LIMIT}")).ok();
    let container = sleeping(&room).await;
    assert_eq!(written(&room, &container, LIMIT, 8191).await, both(8191, 8192));
    assert_eq!(written(&room, &container, LIMIT, 8200).await, both(8200, 8200));
    assert_eq!(written(&room, &container, LIMIT, 9001).await, both(9001, 9000));
    container.end().await;
}

#[tokio::test]
async fn without_a_ceiling_the_hosts_value_stays() {
    let room = room("[sysctl]\nmax_map_count = {max = 2147483647}\n");
    let container = sleeping(&room).await;
    for setting in settings() {
        assert_eq!(written(&room, &container, setting, 3000).await, both(3000, 100));
    }
    assert!(!container.shim.log().contains("raised"), "{}", container.shim.log());
    container.end().await;
}

#[tokio::test]
async fn a_ceiling_that_is_not_understood_keeps_containers_from_starting() {
    let room = Room::new();
    for (line, reason) in [
        ("nf_conntrack = {max = 1}", "nf_conntrack: there is no such key, the nearest is sysctl.nf_conntrack_max"),
        ("nf_conntrack_max = 1", "nf_conntrack_max: must be a table, { max = ... }"),
        ("nf_conntrack_max = {max = -1}", "nf_conntrack_max.max: must be from 1 to 2147483647"),
    ] {
        room.configure(&format!("[sysctl]\n{line}\n"));
        let refusal = room.refused(Bundle::new()).await;
        assert!(refusal.ends_with(&format!("/etc/eci/config.toml:2: sysctl.{reason}")), "{refusal}");
    }
}
