//! `[container] max_user_namespaces`: how many user namespaces a container has, whatever its root does.

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container};

/// Every capability, CAP_SYS_RESOURCE and CAP_SYS_ADMIN among them, and nothing read-only.
fn powerful() -> Bundle {
    Bundle::new()
        .with_inside()
        .all_capabilities()
        .push("/process/capabilities/bounding", json!("CAP_SYS_RESOURCE"))
        .push("/process/capabilities/effective", json!("CAP_SYS_RESOURCE"))
        .push("/process/capabilities/permitted", json!("CAP_SYS_RESOURCE"))
        .set("/process/noNewPrivileges", json!(false))
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/maskedPaths", json!([]))
}

fn config(limit: &str) -> Room {
    let room = Room::new();
    room.configure(&format!("[container]\n{limit}\n"));
    room
}

const RAISE: &str = "echo 1000000 > /proc/sys/user/max_user_namespaces && cat /proc/sys/user/max_user_namespaces";

/// How many there can be at a time, each as another user. Those of the last look go when the kernel gets to it.
async fn most(container: &Container, expected: u32) -> String {
    let mut said = String::new();
    for _ in 0..100 {
        said = container.exec(&["/inside", "user-namespaces", "12"]).await.ok().to_owned();
        if said.starts_with(&format!("{expected} ")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    said
}

#[tokio::test]
async fn the_containers_root_cannot_raise_it() {
    for (limit, said) in [(0, "0 ENOSPC"), (1, "1 ENOSPC"), (5, "5 ENOSPC"), (2_147_483_646, "12 done")] {
        let room = config(&format!("max_user_namespaces = {limit}"));
        let container = room.sleeping(powerful()).await;
        assert_eq!(most(&container, limit.min(12)).await, said, "at most {limit}");
        // The sysctl that the container sees is its own, and limits nothing beyond.
        assert_eq!(container.sh(RAISE).await.ok(), "1000000");
        assert_eq!(most(&container, limit.min(12)).await, said, "at most {limit}, raised");
        container.end().await;
    }
}

#[tokio::test]
async fn depth_and_fresh_mounts_of_proc_lead_to_no_more() {
    let room = config("max_user_namespaces = 2");
    let container = room.sleeping(powerful()).await;
    let raise =
        "mkdir -p /mnt; mount -t proc proc /mnt && echo 1000 > /mnt/sys/user/max_user_namespaces && echo raised";
    assert_eq!(container.sh(raise).await.ok(), "raised");
    for (depth, said) in [("nested nested", "0:0"), ("nested nested nested", "ENOSPC")] {
        let look = format!(
            "for i in $(seq 100); do said=$(/inside {depth} euid); [ \"$said\" != {said} ] || break; sleep 0.1; done; echo $said"
        );
        assert_eq!(container.sh(&look).await.ok(), said, "{depth}");
    }
    container.end().await;
}

#[tokio::test]
async fn without_a_limit_the_kernels_holds() {
    let container = Container::sleeping(powerful()).await;
    assert_eq!(most(&container, 12).await, "12 done");
    container.end().await;
}

#[tokio::test]
async fn a_limited_container_is_like_any_other() {
    let room = config("max_user_namespaces = 3");
    let limited = room
        .sleeping(powerful().mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw", "nosuid", "noexec", "nodev"]))
        .await;
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", limited.pid)).unwrap();
    let fields: Vec<u32> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
    assert!(fields[0] == 0 && fields[1] >= 65536 && fields[2] == 65536, "{map}");
    assert_eq!(limited.sh("cat /proc/self/uid_map | tr -s ' '").await.ok(), "0 0 65536", "of the namespace above it");
    let own = "stat -c %u:%g / /proc/1 && touch /x && stat -c %u /x && mkdir -p /mnt && mount -t tmpfs none /mnt && \
               echo 1 > /proc/sys/net/ipv4/ip_forward && for kind in net ipc uts pid mnt cgroup; do /inside owner $kind; done";
    assert_eq!(limited.sh(own).await.ok(), "0:0\n0:0\n0\nown\nown\nown\nown\nown\nown");
    // Another container joins its namespaces, and with them the limit.
    let bundle = powerful().namespace("ipc", Some(&format!("/proc/{}/ns/ipc", limited.pid)));
    let other = room.sleeping(bundle).await;
    let user = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_eq!(user(other.pid), user(limited.pid));
    assert_eq!(most(&other, 3).await, "3 ENOSPC");
    other.end().await;
    limited.end().await;
}
