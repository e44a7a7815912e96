//! What Docker's users mount: every way in that leads to what is restricted, and what lies close to it and works.

use tests::host::Host;

on_each_docker!(
    what_is_restricted_is_refused_by_every_way_in,
    the_socket_is_refused_by_every_way_in,
    what_lies_above_is_refused_or_covered,
    what_users_mount_every_day_works,
    volumes_are_those_of_the_containers_that_had_them,
);

const RESTRICTED: &str = "OCI runtime create failed: error in the container spec: can't mount SOURCE because it's configured as \
                          a restricted host mount";
const SOCKET: &str = "OCI runtime create failed: error in the container spec: docker socket mount denied: SOURCE is the socket \
                      of a container engine and would hand over the host; run an engine inside the container instead";

/// Runs it, and sees to it that it is refused, with `words` about `source`, and logged.
#[track_caller]
fn refused(host: &Host, words: &str, source: &str, options: &str) {
    const DENIED: &str = "$(grep -c 'msg=denied .*audit=true .*rule=mounts' /state/log/containerd.log)";
    let denied = || host.sh(&format!("echo {DENIED}")).ok().parse::<u32>().unwrap_or(0);
    let before = denied();
    let output = host.sh(&format!("$DOCKER --rm {options} busybox echo it runs"));
    let said = output.failed();
    assert!(said.contains(&words.replace("SOURCE", source)), "{options}: {said}");
    assert_eq!(output.stdout, "", "{options}");
    // containerd copies what the shim logs.
    host.until(&format!("[ {DENIED} -gt {before} ]"));
    assert_eq!(denied(), before + 1, "{options}");
}

fn what_is_restricted_is_refused_by_every_way_in(host: &Host) {
    let file = "/etc/docker/daemon.json";
    refused(host, RESTRICTED, file, &format!("-v {file}:/m"));
    refused(host, RESTRICTED, file, &format!("-v {file}:/m:ro"));
    refused(host, RESTRICTED, file, &format!("--mount type=bind,source={file},target=/m,readonly"));
    refused(
        host,
        RESTRICTED,
        "/etc/containerd",
        "--mount type=bind,source=/etc/containerd,target=/m,bind-recursive=disabled",
    );
    for source in ["/proc", "/sys", "/dev", "/var/lib/docker/volumes", "/run/containerd"] {
        refused(host, RESTRICTED, source, &format!("-v {source}:/m"));
    }
    refused(host, RESTRICTED, "/sys/fs/cgroup", "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:rw");
    // Another container's, and what is the engine's of one's own.
    host.sh("docker run -d --runtime runc --name other -v data:/data busybox sleep 1000").ok();
    let id = host.sh("docker inspect -f '{{.Id}}' other").ok().to_owned();
    for name in ["config.v2.json", "hosts"] {
        let source = format!("/var/lib/docker/containers/{id}/{name}");
        refused(host, RESTRICTED, &source, &format!("-v {source}:/m"));
    }
    host.sh("docker rm -f other && docker volume rm data").ok();

    host.sh("mkdir -p /state/user/alias && ln -s /etc/docker /state/user/link && mount --bind /etc/docker /state/user/alias").ok();
    for name in ["link", "link/daemon.json", "alias", "alias/daemon.json"] {
        let source = format!("/state/user/{name}");
        refused(host, RESTRICTED, &source, &format!("-v {source}:/m"));
    }
    refused(host, RESTRICTED, "/state/user", "-v /state/user:/m");
    // A volume that is a bind mount, and one that is a filesystem of the host's kernel.
    host.sh("docker volume create -o type=none -o o=bind -o device=/etc/docker evil && docker volume create -o type=proc -o device=proc kernel").ok();
    for name in ["evil", "kernel"] {
        let source = format!("/var/lib/docker/volumes/{name}/_data");
        refused(host, RESTRICTED, &source, &format!("-v {name}:/m"));
        refused(host, RESTRICTED, &source, &format!("--mount type=volume,source={name},target=/m,volume-nocopy"));
        host.sh(&format!("docker create --runtime runc --name from -v {name}:/m busybox")).ok();
        refused(host, RESTRICTED, &source, "--volumes-from from");
        host.sh("docker rm from").ok();
    }
    host.sh("docker volume rm evil kernel; umount /state/user/alias; rm -r /state/user").ok();
}

fn the_socket_is_refused_by_every_way_in(host: &Host) {
    for path in ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"] {
        refused(host, SOCKET, path, &format!("-v {path}:/var/run/docker.sock"));
        refused(host, SOCKET, path, &format!("--privileged --mount type=bind,source={path},target=/m,readonly"));
    }
    host.sh("mkdir /run/user && ln -s /var/run/docker.sock /run/user/link && touch /run/user/copy && mount --bind /run/docker.sock /run/user/copy").ok();
    for path in ["/run/user/link", "/run/user/copy"] {
        refused(host, SOCKET, path, &format!("-v {path}:/m"));
    }
    refused(host, RESTRICTED, "/run/user", "-v /run/user:/m");
    host.sh("umount /run/user/copy; rm /run/user/*; ln /run/docker.sock /run/user/hard").ok();
    refused(host, SOCKET, "/run/user/hard", "-v /run/user/hard:/m");
    refused(host, RESTRICTED, "/run/user", "-v /run/user:/m");
    host.sh("rm /run/user/hard && echo x > /run/user/file").ok();
    assert_eq!(host.sh("$DOCKER --rm -v /run/user:/m busybox cat /m/file").ok(), "x");
    host.sh("rm -r /run/user").ok();
    host.sh("docker volume create -o type=none -o o=bind -o device=/run above").ok();
    refused(host, RESTRICTED, "/var/lib/docker/volumes/above/_data", "-v above:/m");
    host.sh("docker volume rm above").ok();
    if host.sh("docker run --help").stdout.contains("--use-api-socket") {
        refused(host, SOCKET, "/var/run/docker.sock", "--use-api-socket");
    }
}

fn what_lies_above_is_refused_or_covered(host: &Host) {
    for source in ["/", "/etc", "/var/run", "/run", "/var/lib"] {
        refused(host, RESTRICTED, source, &format!("-v {source}:/m"));
        refused(host, RESTRICTED, source, &format!("--mount type=bind,source={source},target=/m,readonly"));
    }
    host.sh("mkdir -p /etc/eci && echo '[mounts]\nancestors = \"mask\"' > /etc/eci/config.toml").ok();
    let script = "ls -A /m/docker /m/containerd | grep -v :; test -S /m/docker.sock || echo no socket; test -e /m/ready && echo ready; umount /m/docker";
    let output = host.sh(&format!("$DOCKER --rm --cap-add SYS_ADMIN -v /run:/m busybox sh -c '{script}'"));
    host.sh("rm -r /etc/eci").ok();
    assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), ["no", "socket", "ready"], "{output:#?}");
    assert!(output.failed().contains("umount"), "{output:#?}");
}

fn what_users_mount_every_day_works(host: &Host) {
    // A home, modules and /etc/hosts on a disk: the hosts' own root is an overlay.
    host.sh(
        "mkdir -p /state/home/user /state/modules/6.1 /lib/modules; echo mine > /state/home/user/file; echo dep > /state/modules/6.1/dep
        cp /etc/hosts /state/hosts; ln -s /state/home/user /state/home/link
        mount --bind /state/home /home; mount --bind /state/modules /lib/modules; mount --bind /state/hosts /etc/hosts",
    )
    .ok();
    let check = |options: &str, script: &str, expected: &str| {
        let output = host.sh(&format!("HOME=/home/user; $DOCKER --rm {options} busybox sh -c '{script}'"));
        assert_eq!(output.ok(), expected, "{options}");
    };
    check("-v $HOME:/mnt", "cat /mnt/file; stat -c %u:%g /mnt/file; echo new > /mnt/new", "mine\n0:0");
    assert_eq!(host.sh("stat -c %u:%g /home/user/new").ok(), "0:0");
    check("--mount type=bind,source=/home/user/file,target=/m", "cat /m", "mine");
    check("-v /state/home/link:/m", "cat /m/file", "mine");
    check("-v /lib/modules:/lib/modules:ro", "cat /lib/modules/6.1/dep", "dep");
    check("-v /etc/hosts:/m", "grep -c localhost /m", "1");
    check("-v /dev/null:/m", "echo x > /m; cat /m", "");
    check("-v named:/m", "echo x > /m/file; cat /m/file", "x");
    check("-v named:/m", "cat /m/file", "x");
    check("-v /anonymous", "echo x > /anonymous/file; cat /anonymous/file", "x");
    host.sh("docker volume create -o type=none -o o=bind -o device=/home/user good && docker volume create -o type=tmpfs -o device=tmpfs memory").ok();
    check("-v good:/m", "cat /m/file", "mine");
    check("-v memory:/m", "echo x > /m/file; cat /m/file", "x");
    check(
        "--network none --ipc shareable --shm-size 8m",
        "df -m /dev/shm | tail -1 | tr -s \" \" | cut -d\" \" -f2",
        "8",
    );
    host.sh("docker volume rm named good memory; umount /home /lib/modules /etc/hosts; rm -r /state/home /state/modules /state/hosts").ok();
}

fn volumes_are_those_of_the_containers_that_had_them(host: &Host) {
    host.sh("docker run -d --name first --ipc shareable -v shared:/data busybox sh -c 'echo x > /data/file; echo y > /dev/shm/file; sleep 1000'").ok();
    host.until("docker exec first test -e /dev/shm/file");
    assert_eq!(host.sh("$DOCKER --rm --volumes-from first busybox cat /data/file").ok(), "x");
    // Who shares a namespace is given the other's files by Docker.
    assert_eq!(host.sh("$DOCKER --rm --ipc container:first busybox cat /dev/shm/file").ok(), "y");
    let name = host.sh("docker exec first hostname").ok().to_owned();
    let hosts = host.sh("$DOCKER --rm --network container:first busybox sh -c 'hostname; cat /etc/hosts'");
    assert!(hosts.ok().starts_with(&name) && hosts.ok().matches(&name).count() == 2, "{hosts:#?}");
    host.sh("docker rm -f first && docker volume rm shared").ok();
}
