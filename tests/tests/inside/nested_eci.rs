//! eci in a container of eci's: Debian's containerd starts the very shim that made the container it runs in.

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container, place};

use crate::setup::{bash, privileged};

/// A privileged container with the shim, and containerd's state on filesystems of its own.
fn with_eci(size: u32) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": 1_000_000, "size": size }]);
    privileged("trixie")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .bind(&place::shim(), "/usr/local/bin/containerd-shim-eci-v2", &["ro"])
        .bind(&place::hosts().join("images"), "/images", &["ro"])
}

const START: &str = "mkdir -p /var/lib/containerd /run/containerd; mount -t tmpfs c /var/lib/containerd; mount -t tmpfs r /run
    containerd > /tmp/containerd.log 2>&1 &
    until ctr version > /dev/null 2>&1; do [ $SECONDS -lt 60 ] || { tail /tmp/containerd.log >&2; exit 9; }; sleep 0.1; done
    ctr image import /images/busybox.tar > /dev/null
    image=$(ctr image ls -q)";

#[tokio::test]
async fn in_a_larger_range_containers_run_on_kernel_locks() {
    let room = Room::new();
    let container = room.sleeping(with_eci(1_048_576)).await;
    let script = std::env::var("NESTED_SCRIPT").unwrap();
    let said = bash(&container, &format!("{START}\n{}", std::fs::read_to_string(script).unwrap())).await;
    println!("{said:?}");
    eprintln!("{}", said.failed());
    container.end().await;
}
