//! Between containers and images: `build`, `commit`, `diff`, `export`, `save`, `cp`.

use tests::host::Host;

on_each_docker!(
    the_classic_builder_runs_its_steps_with_the_default_runtime,
    buildkit_builds_what_runs,
    what_a_container_changed_is_told_and_committed_with_its_owners,
    a_running_container_is_told_copied_and_committed,
    what_a_container_has_is_exported_with_its_owners,
    files_are_copied_in_and_out_of_a_stopped_container,
    an_image_of_more_layers_than_a_page_of_options,
);

const DOCKERFILE: &str = "FROM busybox
RUN cat /proc/self/uid_map > /map && echo built > /built && chown user:users /built
COPY --chown=33:34 file /file
ENV A=1
USER user
CMD [\"sh\", \"-c\", \"cat /built /file; stat -c %u:%g /built /file; echo $A; id -u\"]
";
const BUILT: &str = "built\ncopied\n1000:100\n33:34\n1\n1000";

fn build(host: &Host, builder: &str) -> tests::Output {
    let dir = host.state().join("build");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    std::fs::write(dir.join("file"), "copied\n").unwrap();
    host.sh(&format!("{builder} docker build -q -t built /state/build > /dev/null && $DOCKER --rm built"))
}

fn the_classic_builder_runs_its_steps_with_the_default_runtime(host: &Host) {
    assert_eq!(build(host, "DOCKER_BUILDKIT=0").ok(), BUILT);
    // Contained: not with the host's ids.
    let map = host.sh("$DOCKER --rm built cat /map");
    assert!(!map.ok().contains("4294967295"), "{map:#?}");
    host.sh("docker rmi built && rm -r /state/build").ok();
}

fn buildkit_builds_what_runs(host: &Host) {
    assert_eq!(build(host, "DOCKER_BUILDKIT=1").ok(), BUILT);
    host.sh("docker rmi built && docker builder prune -af && rm -r /state/build").ok();
}

fn what_a_container_changed_is_told_and_committed_with_its_owners(host: &Host) {
    let change = "echo new > /new; chown 1000:100 /new; rm /var/www/index.html; echo user:x >> /etc/group; mkdir -m 700 /dir; mkfifo /dir/fifo; ln -s new /link; chmod 4755 /new";
    host.sh(&format!("$DOCKER --name one busybox sh -c '{change}'")).ok();
    let diff = host.sh("docker diff one");
    let mut lines: Vec<&str> = diff.ok().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A /dir",
            "A /dir/fifo",
            "A /link",
            "A /new",
            "C /etc",
            "C /etc/group",
            "C /var",
            "C /var/www",
            "D /var/www/index.html"
        ]
    );
    let look = "stat -c '%A %u:%g %n' /new /dir /dir/fifo; cat /link; ls /var/www";
    let expected = "-rwsr-xr-x 1000:100 /new\ndrwx------ 0:0 /dir\nprw-r--r-- 0:0 /dir/fifo\nnew";
    host.sh("docker commit one committed").ok();
    assert_eq!(host.sh(&format!("$DOCKER --rm committed sh -c \"{look}\"")).ok(), expected);
    assert_eq!(host.sh(&format!("docker run --rm --runtime runc committed sh -c \"{look}\"")).ok(), expected);
    let saved = "docker save committed -o /tmp/saved && docker rmi committed > /dev/null && docker load -q -i /tmp/saved && rm /tmp/saved";
    assert!(host.sh(saved).ok().contains("committed"));
    assert_eq!(host.sh(&format!("$DOCKER --rm committed sh -c \"{look}\"")).ok(), expected);
    host.sh("docker rm one && docker rmi committed").ok();
}

fn a_running_container_is_told_copied_and_committed(host: &Host) {
    // dockerd's own mount of the container's layers shows what the container writes, and the other way round.
    host.sh("$DOCKER -d --name one busybox sh -c 'echo inside > /home/inside; chown 1000:100 /home/inside; exec sleep 1000'").ok();
    host.until("[ \"$(docker exec one stat -c %u:%g /home/inside)\" = 1000:100 ]");
    let out = "docker cp one:/home/inside - | tar -xO; docker cp one:/home/inside - | tar -tv --numeric-owner | awk '{ print $2 }'";
    assert_eq!(host.sh(out).ok(), "inside\n1000/100");
    host.sh("echo outside > /tmp/in && docker cp /tmp/in one:/home/in && rm /tmp/in").ok();
    assert_eq!(host.sh("docker diff one | sort").ok(), "A /home/in\nA /home/inside\nC /home");
    host.sh("docker commit one committed").ok();
    let look = "$DOCKER --rm committed sh -c 'cat /home/in /home/inside; stat -c %u:%g /home/in /home/inside'";
    assert_eq!(host.sh(look).ok(), "outside\ninside\n0:0\n1000:100");
    host.sh("docker exec one true && docker rm -f one && docker rmi committed").ok();
}

fn what_a_container_has_is_exported_with_its_owners(host: &Host) {
    host.sh("$DOCKER --name one busybox sh -c 'touch /new; chown 1000:100 /new; chmod 4755 /new; mkdir -m 700 /dir'")
        .ok();
    let exported = "docker export one | tar -tv --numeric-owner | awk '$6 ~ /^(new|dir\\/|bin\\/busybox)$/ { print $1, $2, $6 }' | sort";
    assert_eq!(host.sh(exported).ok(), "-rwsr-xr-x 1000/100 new\n-rwxr-xr-x 0/0 bin/busybox\ndrwx------ 0/0 dir/");
    // Docker 26 leaves the mount behind that it made for it, and with that the layer, whatever the runtime is.
    let layer = "layer=$(docker inspect -f '{{with .GraphDriver.Data}}{{.MergedDir}}{{end}}' one); docker rm one; layer=${layer%/merged}
                 [ ! -d \"${layer:-/none}\" ] || { umount $layer/merged && rm -r $layer; }";
    host.sh(layer).ok();
}

fn files_are_copied_in_and_out_of_a_stopped_container(host: &Host) {
    host.sh("$DOCKER --name one busybox sh -c 'echo inside > /home/out; chown 1000:100 /home/out'").ok();
    let out =
        "docker cp one:/home/out - | tar -xO; docker cp one:/home/out - | tar -tv --numeric-owner | awk '{ print $2 }'";
    assert_eq!(host.sh(out).ok(), "inside\n1000/100");
    host.sh("echo outside > /tmp/in && chown 33:34 /tmp/in && docker cp -a /tmp/in one:/home/in").ok();
    host.sh("docker commit one committed").ok();
    let look = "$DOCKER --rm committed sh -c 'cat /home/in; stat -c %u:%g /home/in'";
    assert_eq!(host.sh(look).ok(), "outside\n33:34");
    host.sh("docker rm one; docker rmi committed; rm /tmp/in").ok();
}

fn an_image_of_more_layers_than_a_page_of_options(host: &Host) {
    // dockerd's graph driver takes at most 128 layers. The paths of 115 are longer than a page (mount(2)).
    let build = "mkdir /state/deep && cd /state/deep && echo x > f && { echo FROM busybox; for i in $(seq 115); do echo \"COPY f /f$i\"; done; } > Dockerfile && DOCKER_BUILDKIT=1 docker build -q -t deep .";
    host.sh(build).ok();
    let inside =
        "$DOCKER --rm deep sh -c 'ls / | grep -c ^f; cat /f1 /f115; echo y > /f3; rm /f4; cat /f3; ls / | grep -c ^f'";
    assert_eq!(host.sh(inside).ok(), "115\nx\nx\ny\n114");
    assert!(host.sh("$DOCKER --rm --read-only deep touch /f3").failed().contains("Read-only file system"));
    host.sh("docker rmi deep && docker builder prune -af && rm -r /state/deep").ok();
}
