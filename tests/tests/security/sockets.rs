//! Nobody but the host's root gets at a shim's socket, and no container meets one: it is a file in a directory that is
//! root's alone, and never a name of a network namespace (CVE-2020-15257). Whoever gets at it all the same is hung up on:
//! `task::codes::a_peer_that_is_not_root_is_hung_up_on`.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use tests::{Bundle, Container};

/// Names of abstract sockets (proc_net(5)).
fn abstract_names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_whitespace().nth(7)).filter(|name| name.starts_with('@')).collect()
}

#[tokio::test]
async fn a_shims_socket_is_a_file_that_is_roots_alone() {
    let before = std::fs::read_to_string("/proc/net/unix").unwrap();
    let container = Container::sleeping(Bundle::new()).await;
    let socket = container.shim.socket();
    let (file, dir) = (std::fs::metadata(&socket).unwrap(), std::fs::metadata(socket.parent().unwrap()).unwrap());
    assert!(file.file_type().is_socket() && socket.is_absolute(), "{socket:?}");
    assert_eq!((file.mode() & 0o777, file.uid()), (0o600, 0));
    assert_eq!((dir.mode() & 0o777, dir.uid()), (0o700, 0));
    let now = std::fs::read_to_string("/proc/net/unix").unwrap();
    assert!(now.contains(socket.to_str().unwrap()), "this is where sockets are listed: {now}");
    assert_eq!(abstract_names(&now), abstract_names(&before));
    container.end().await;
}

#[tokio::test]
async fn neither_a_user_of_the_host_nor_the_containers_own_ids_can_connect() {
    let container = Container::sleeping(Bundle::new()).await;
    let socket = container.shim.socket();
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let connect_as = |uid: u32| {
        let (reuid, regid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        let mut command = Command::new("setpriv");
        command.args([&*reuid, &*regid, "--clear-groups", "/usr/bin/python3", "-c", connect]).arg(&socket);
        tests::Output::from(command.output().unwrap())
    };
    assert_eq!(connect_as(0).status, 0);
    for uid in [65534, container.host_base(), container.host_base() + 1000] {
        let output = connect_as(uid);
        assert!(output.status != 0 && output.stderr.contains("PermissionError"), "{uid}: {output:?}");
    }
    container.end().await;
}

#[tokio::test]
async fn a_container_in_a_network_of_the_hosts_sees_no_socket_of_ours() {
    let name = tests::place::unique("cni");
    tests::sh(&format!("ip netns add {name}")).ok();
    let path = format!("/run/netns/{name}");
    let bundle = Bundle::new().all_capabilities().namespace("network", Some(&path));
    let container = Container::sleeping(bundle).await;
    let seen = container.sh("cat /proc/net/unix").await;
    assert!(seen.ok().starts_with("Num"), "{seen:?}");
    assert_eq!(abstract_names(seen.ok()), [""; 0]);
    // By its path neither: no directory of the host's is the container's.
    let socket = container.shim.socket();
    let (dir, file) = (socket.parent().unwrap().display(), socket.display());
    container.sh(&format!("[ ! -e {file} ] && [ ! -e {dir} ] && [ ! -e /run/eci ]")).await.ok();
    container.end().await;
    tests::sh(&format!("ip netns del {name}")).ok();
}
