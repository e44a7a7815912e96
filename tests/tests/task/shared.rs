//! What engines make for one container below their own directories is bound, and nothing else there; `[mounts] shared`.

use std::path::Path;

use tests::Bundle;

use crate::restricted::Machine;

/// Makes a file or, where it ends with `/`, a directory with a file `name`, and says whether a container may have it bound.
async fn bound(machine: &Machine, bundle: Bundle, source: &str) -> Result<(), String> {
    let path = source.trim_end_matches('/');
    let make = if source.ends_with('/') {
        "mkdir -p $path; echo x > $path/name"
    } else {
        "mkdir -p ${path%/*}; echo x > $path"
    };
    machine.room.sh(&format!("path={path}; {make}")).ok();
    let see = if source.ends_with('/') { "cat /m/name" } else { "cat /m" };
    let bundle = bundle.bind(Path::new(path), "/m", &[]).sh(see);
    match machine.room.create(bundle).await {
        Ok(mut container) => {
            container.start().await.expect("start");
            assert_eq!(container.output().await.ok(), "x", "{source}");
            container.end().await;
            Ok(())
        }
        Err(failure) => Err(failure.message),
    }
}

/// In each, `ID` stands for the container's own id, and for another one in turn.
const OWN: [&str; 9] = [
    "/var/lib/docker/containers/ID/hosts",
    "/var/lib/docker/containers/ID/resolv.conf",
    "/var/lib/docker/containers/ID/mounts/shm/",
    "/var/lib/docker/containers/ID/mounts/secrets/",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/hostname",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/containers/ID/volumes/5f/",
    "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/shm/",
    "/var/lib/nerdctl/1935db59/etchosts/default/ID/hosts",
    "/var/lib/nerdctl/1935db59/containers/default/ID/hostname",
];
const ANYBODYS: [&str; 9] = [
    "/var/lib/docker/tmp/safe-mount123/",
    "/var/lib/docker/volumes/v/_data/",
    "/var/lib/docker/volumes/v/_data/sub/path/",
    "/var/lib/nerdctl/1935db59/volumes/default/v/_data/",
    "/var/lib/kubelet/pods/1-2/etc-hosts",
    "/var/lib/kubelet/pods/1-2/containers/app/0a",
    "/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/v/",
    "/var/lib/kubelet/pods/1-2/volume-subpaths/v/app/0/",
    "/dev/shm/eci-tests/",
];
const NOBODYS: [&str; 11] = [
    "/var/lib/docker/tmp/docker-export/",
    "/var/lib/docker/containers/ID/config.v2.json",
    "/var/lib/docker/containers/ID/",
    "/var/lib/docker/volumes/metadata.db",
    "/var/lib/docker/volumes/v/",
    "/var/lib/docker/overlay2/x/merged/",
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/",
    "/var/lib/nerdctl/1935db59/etchosts/default/ID/",
    "/var/lib/kubelet/pods/1-2/",
    "/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/",
];

#[tokio::test]
async fn what_engines_make_for_one_container_is_bound_and_nothing_beside_it() {
    let machine = Machine::new();
    // Some of it on a disk of its own.
    machine.room.sh(&format!("cd {}; mkdir disk; mount --bind disk /var/lib/docker/volumes", machine.dir)).ok();
    machine.room.sh("cri=/run/containerd/io.containerd.grpc.v1.cri; mkdir -p $cri; mount -t tmpfs tmpfs $cri").ok();
    for source in OWN {
        let bundle = Bundle::new();
        let own = source.replace("ID", &bundle.id);
        assert_eq!(bound(&machine, bundle, &own).await, Ok(()), "{own}");
        let others = source.replace("ID", "c0ffee");
        let refusal = bound(&machine, Bundle::new(), &others).await.unwrap_err();
        assert!(refusal.contains("because it's configured as a restricted host mount"), "{others}: {refusal}");
    }
    for source in ANYBODYS {
        assert_eq!(bound(&machine, Bundle::new(), source).await, Ok(()), "{source}");
    }
    for source in NOBODYS {
        let bundle = Bundle::new();
        let source = source.replace("ID", &bundle.id);
        let refusal = bound(&machine, bundle, &source).await.unwrap_err();
        assert!(refusal.contains("because it's configured as a restricted host mount"), "{source}: {refusal}");
    }
    machine.room.sh("rm -r /dev/shm/eci-tests").ok();
}

#[tokio::test]
async fn a_volume_that_is_a_bind_mount_is_what_it_shows() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine
        .room
        .sh(&format!(
            "cd /var/lib/docker/volumes; mkdir -p evil/_data good/_data tmp/_data; mount --bind /etc/docker evil/_data
            mount --bind {dir}/home/user good/_data; mount -t tmpfs tmpfs tmp/_data"
        ))
        .ok();
    let evil = "/var/lib/docker/volumes/evil/_data";
    assert!(machine.refused(evil).await.ends_with("restricted host mount (it leads to /etc/docker)"));
    assert_eq!(machine.shows("/var/lib/docker/volumes/good/_data", "cat /m/file").await, "mine");
    assert_eq!(machine.shows("/var/lib/docker/volumes/tmp/_data", "ls -A /m; echo none").await, "none");
}

#[tokio::test]
async fn only_what_the_operator_shares_is_bound_where_he_says_so() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine.room.configure(&format!("[mounts]\nshared = [\"{dir}/home\", \"/nowhere\"]"));
    machine
        .room
        .sh(&format!(
            "cd {dir}; ln -s ../home/user run/link; ln -s ../lib/docker-other home/out; mkdir run/alias; mount --bind home/user run/alias
            cd /var/lib/docker/volumes; mkdir -p own/_data out/_data in/_data; echo volume > own/_data/file
            mount --bind {dir}/lib/docker-other out/_data; mount --bind {dir}/home/user in/_data"
        ))
        .ok();
    for source in ["home", "home/user", "home/user/file", "run/link/file", "run/alias/file"] {
        let found = machine.shows(&format!("{dir}/{source}"), "find /m -name file -type f -o -path /m -type f").await;
        assert!(found.starts_with("/m"), "{source}: {found}");
    }
    assert_eq!(machine.shows("/var/lib/docker/volumes/own/_data", "cat /m/file").await, "volume");
    assert_eq!(machine.shows("/var/lib/docker/volumes/in/_data", "cat /m/file").await, "mine");
    let others = ["lib/docker-other", "home/out", "run/other", "."].map(|name| format!("{dir}/{name}"));
    let others =
        others.iter().map(String::as_str).chain(["/etc/hosts", "/dev/null", "/var/lib/docker/volumes/out/_data"]);
    for source in others {
        let refusal = machine.refused(source).await;
        assert_eq!(
            refusal,
            format!(
                "OCI runtime create failed: error in the container spec: can't mount {source} because it isn't below any of the directories that [mounts] shared lists in /etc/eci/config.toml"
            )
        );
    }
    // The list opens nothing that is restricted.
    assert!(machine.refused("/etc/docker").await.ends_with("restricted host mount"));
    machine.room.configure("[mounts]\nshared = []");
    assert!(machine.refused(&format!("{dir}/home/user")).await.contains("[mounts] shared"));
    let bundle = Bundle::new();
    let own = format!("/var/lib/docker/containers/{}/hosts", bundle.id);
    assert_eq!(bound(&machine, bundle, &own).await, Ok(()));
}
