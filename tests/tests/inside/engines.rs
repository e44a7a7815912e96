//! Debian's own Docker in a container: containerd, dockerd, runc.

use tests::room::Room;
use tests::{Bundle, Container, bundle, place};

use crate::setup::{bash, on, privileged};

/// A container with Docker's packages, and a volume for what they keep.
fn with_docker(bundle: Bundle) -> Bundle {
    let lowers = ["docker/trixie", "rootfs/trixie"].map(|dir| place::hosts().join(dir));
    let rootfs = vec![bundle::overlay(&bundle.dir, &lowers)];
    Bundle { rootfs, ..bundle }
        .bind(&place::hosts().join("images"), "/images", &["ro"])
        .bind(&place::new_dir("docker"), "/var/lib/docker", &[])
        .bind(&place::new_dir("containerd"), "/var/lib/containerd", &[])
        .mount("tmpfs", "tmpfs", "/tmp", &["mode=1777"])
}

const START: &str = "containerd > /tmp/containerd.log 2>&1 &
    dockerd --containerd /run/containerd/containerd.sock --bridge none --iptables=false --ip6tables=false > /tmp/dockerd.log 2>&1 &
    until docker info > /dev/null 2>&1; do [ $SECONDS -lt 90 ] || { tail /tmp/*.log >&2; exit 9; }; sleep 0.2; done
    docker load -q -i /images/busybox.tar > /dev/null";

/// What inner containers see and may do.
const INNER: &str = "set -e; run='docker run --rm --network none'; echo 77 > /proc/sys/kernel/panic
    $run busybox cat /proc/sys/kernel/panic; $run busybox sh -c 'echo 5 > /proc/sys/kernel/panic' 2>&1 | grep -o Read-only
    $run --privileged busybox sh -ec 'mount -t proc p /tmp; echo 78 > /tmp/sys/kernel/panic; umount /tmp; mknod /x c 1 3; echo 1 > /x; echo done'
    cat /proc/sys/kernel/panic; $run -m 32m busybox true; docker run -d --name one --network none busybox sleep 100 > /dev/null
    docker exec one cut -d ' ' -f 1 /proc/1/comm; docker rm -f one; docker info -f '{{.Driver}}'";

async fn runs(container: &Container) {
    let said = bash(container, &format!("{START}\n{INNER}")).await;
    assert_eq!(said.ok(), "77\nRead-only\ndone\n78\nsleep\none\noverlay2");
}

#[tokio::test]
async fn docker_in_a_privileged_container() {
    let container = Container::sleeping(with_docker(privileged("trixie"))).await;
    runs(&container).await;
    container.end().await;
}

#[tokio::test]
async fn docker_in_a_system_container() {
    let room = Room::new();
    room.configure("[container]\ngrants = \"system\"\n");
    let bundle = on("trixie").mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    let container = room.sleeping(with_docker(bundle)).await;
    runs(&container).await;
    container.end().await;
}
