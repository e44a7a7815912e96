//! A user namespace that the engine has made for a pod and gives with its map, as containerd's CRI does from 2.1 on.

use serde_json::json;
use tests::room::{Dweller, Room};
use tests::{Bundle, Container};

/// Joins the user namespace and, if there is one, the network of a process, with the map from `host` on.
fn given(bundle: Bundle, user: &str, network: Option<&str>, host: u32) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
    let bundle = bundle.namespace("user", Some(user)).set("/linux/uidMappings", map.clone());
    let bundle = bundle.set("/linux/gidMappings", map);
    network.iter().fold(bundle, |bundle, path| bundle.namespace("network", Some(path)))
}

/// A process in namespaces that have been made together, with this map.
fn engine(host: u32) -> Dweller {
    let dweller = Dweller::new(&["--user", "--net"], "");
    map(&dweller, host);
    dweller
}

fn map(dweller: &Dweller, host: u32) {
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", dweller.pid()), format!("0 {host} 65536")).unwrap();
    }
}

fn namespace(pid: u32, kind: &str) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
}

/// Whether no lease is in use (the layers are still there).
fn all_stopped(room: &Room) -> bool {
    room.ranges().iter().all(|[_, _, status]| status == "stopped")
}

#[tokio::test]
async fn it_is_joined_with_its_map_and_its_network_is_the_containers() {
    let room = Room::new();
    // The lowest that a map of a spec may have, as containerd's own tests of it.
    let engine = engine(65536);
    let bundle =
        given(Bundle::new().all_capabilities(), &engine.namespace("user"), Some(&engine.namespace("net")), 65536);
    let sandbox = room.sleeping(bundle).await;
    assert_eq!(sandbox.host_base(), 65536);
    for kind in ["user", "net"] {
        assert_eq!(namespace(sandbox.pid, kind), namespace(engine.pid(), kind), "{kind}");
    }
    let used =
        "ip link set lo up && ip link show lo; stat -c %u:%g /bin; echo written > /tmp/file; stat -c %u /tmp/file";
    let said = sandbox.sh(used).await;
    assert!(said.ok().contains("<LOOPBACK,UP,LOWER_UP>") && said.ok().ends_with("0:0\n0"), "{said:?}");
    assert_eq!(room.ranges().iter().map(|range| range[0].clone()).collect::<Vec<_>>(), ["65536-131071"]);

    // A container of the pod joins those of its sandbox, which has not brought the user namespace itself.
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", sandbox.pid);
    let member = given(Bundle::new(), &path("user"), Some(&path("net")), 65536).namespace("ipc", Some(&path("ipc")));
    let member = room.sleeping(member).await;
    assert_eq!(namespace(member.pid, "user"), namespace(engine.pid(), "user"));
    member.end().await;
    sandbox.end().await;
    assert!(all_stopped(&room), "{:?}", room.ranges());
}

#[tokio::test]
async fn another_map_than_its_own_is_refused() {
    let room = Room::new();
    let engine = engine(300_000);
    let user = engine.namespace("user");
    for wrong in [400_000, 300_001] {
        let refusal = room.refused(given(Bundle::new(), &user, None, wrong)).await;
        let reason =
            "linux.uidMappings: are not those of the user namespace that is joined, which has \"0 300000 65536\"";
        assert!(refusal.ends_with(reason), "{refusal}");
    }
    assert!(all_stopped(&room), "{:?}", room.ranges());
    room.sleeping(given(Bundle::new(), &user, None, 300_000)).await.end().await;
}

#[tokio::test]
async fn one_below_anothers_is_refused_and_so_is_what_it_owns() {
    let room = Room::new();
    let below = Dweller::new(&["--user", "--map-root-user", "unshare", "--user", "--net", "--map-root-user"], "");
    let path = below.namespace("user");
    let refusal = room.refused(given(Bundle::new(), &path, None, 65536)).await;
    let reason = "is neither the user namespace of a running eci container nor one that a lease covers";
    assert!(refusal.contains(&format!("the user namespace {path:?} {reason}")), "{refusal}");
    // A network of another user namespace than the one that is given.
    let (one, other) = (engine(300_000), engine(400_000));
    let network = other.namespace("net");
    let refusal = room.refused(given(Bundle::new(), &one.namespace("user"), Some(&network), 300_000)).await;
    let reason = "is owned by a user namespace that is not";
    assert!(refusal.contains(&format!("the network namespace {network:?} {reason}")), "{refusal}");
}

#[tokio::test]
async fn one_whose_ids_a_container_has_is_refused() {
    let room = Room::new();
    let container: Container = room.sleeping(Bundle::new()).await;
    let host = container.host_base();
    let engine = engine(host);
    let refusal = room.refused(given(Bundle::new(), &engine.namespace("user"), None, host)).await;
    assert!(refusal.contains(&format!("linux.uidMappings: host ids {host}-")), "{refusal}");
    container.end().await;
    room.sleeping(given(Bundle::new(), &engine.namespace("user"), None, host)).await.end().await;
}
