//! What Docker mounts: binds, volumes, tmpfs, and what of them is read-only.

use tests::host::Host;

on_each_docker!(
    a_bind_mount_is_the_hosts_directory_with_its_owners,
    a_read_only_bind_mount_is_so_to_its_ends,
    volumes_keep_what_is_written_and_take_over_what_the_image_has,
    every_type_of_mount_is_served,
    a_read_only_container_writes_to_its_mounts_alone,
    devices_are_given_by_name,
);

fn a_bind_mount_is_the_hosts_directory_with_its_owners(host: &Host) {
    host.sh("mkdir /state/dir && echo host > /state/dir/file && chown 1000:100 /state/dir/file").ok();
    let inside = "$DOCKER --rm -v /state/dir:/dir -v /state/dir/file:/etc/motd busybox sh -c 'cat /dir/file /etc/motd; stat -c %u:%g /dir /dir/file; echo inside > /dir/made; chown 33:34 /dir/made'";
    assert_eq!(host.sh(inside).ok(), "host\nhost\n0:0\n1000:100");
    assert_eq!(host.sh("cat /state/dir/made; stat -c %u:%g /state/dir/made").ok(), "inside\n33:34");
    host.sh("rm -r /state/dir").ok();
}

fn a_read_only_bind_mount_is_so_to_its_ends(host: &Host) {
    host.sh(
        "mkdir -p /state/dir/below && mount -t tmpfs below /state/dir/below && echo content > /state/dir/below/file",
    )
    .ok();
    let write = "cat /dir/below/file; ! touch /dir/made && ! touch /dir/below/made && ! mount -o remount,bind,rw /dir/below && ! umount /dir/below";
    for option in ["-v /state/dir:/dir:ro", "--mount type=bind,src=/state/dir,dst=/dir,readonly"] {
        let output = host.sh(&format!("$DOCKER --rm --cap-add SYS_ADMIN {option} busybox sh -c '{write}'"));
        assert_eq!(output.ok(), "content", "{option}");
        assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{option}: {output:#?}");
    }
    // Writable all the same without `ro`, and not there at all where the mount is not recursive.
    assert_eq!(host.sh("$DOCKER --rm -v /state/dir:/dir busybox sh -c 'touch /dir/made /dir/below/made'").status, 0);
    let alone = "--mount type=bind,src=/state/dir,dst=/dir,readonly,bind-recursive=disabled";
    assert_eq!(host.sh(&format!("$DOCKER --rm {alone} busybox ls /dir/below")).ok(), "");
    host.sh("umount /state/dir/below && rm -r /state/dir").ok();
}

fn volumes_keep_what_is_written_and_take_over_what_the_image_has(host: &Host) {
    host.sh("$DOCKER --rm -v kept:/v busybox sh -c 'echo kept > /v/file; chown 1000:100 /v/file'").ok();
    assert_eq!(
        host.sh("$DOCKER --rm -v kept:/v:ro busybox sh -c 'cat /v/file; stat -c %u:%g /v/file'").ok(),
        "kept\n1000:100"
    );
    // As runc sees it.
    assert_eq!(host.sh("docker run --rm --runtime runc -v kept:/v busybox stat -c %u:%g /v/file").ok(), "1000:100");
    // A new one has what the image has there.
    assert_eq!(host.sh("$DOCKER --rm -v filled:/var/www busybox cat /var/www/index.html").ok(), "served");
    assert_eq!(
        host.sh("$DOCKER --rm --mount type=volume,src=bare,dst=/var/www,volume-nocopy busybox ls /var/www").ok(),
        ""
    );
    // Those of another container, and one without a name, which goes with its container.
    host.sh("$DOCKER -d --name one -v kept:/v -v /anonymous busybox sleep 1000").ok();
    let from =
        "$DOCKER --rm --volumes-from one:ro busybox sh -c 'cat /v/file; ! touch /v/made && ! touch /anonymous/made'";
    assert_eq!(host.sh(from).ok(), "kept");
    host.sh("docker rm -f -v one && docker volume rm kept filled bare").ok();
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
}

fn every_type_of_mount_is_served(host: &Host) {
    host.sh("mkdir -p /state/dir/sub; docker volume create --driver local -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=7 sized; docker volume create -o type=none -o o=bind -o device=/state/dir bound").ok();
    let run = "$DOCKER --rm --shm-size 7m --tmpfs /t:size=1m,mode=700,uid=5 --tmpfs /var/www \
         --mount type=tmpfs,dst=/t2,tmpfs-size=100k,tmpfs-mode=0711 --mount type=bind,src=/state/dir,dst=/b,bind-propagation=rslave \
         --mount type=volume,src=sized,dst=/sized --mount type=volume,src=bound,dst=/bound busybox";
    let sizes = "for dir in /dev/shm /t /t2 /sized; do df -k $dir | awk \"NR == 2 { print \\$2 }\"; done; stat -c %a:%u /t /t2 /sized; ls /var/www /bound";
    assert_eq!(
        host.sh(&format!("{run} sh -c '{sizes}'")).ok(),
        "7168\n1024\n100\n1024\n700:5\n711:0\n1777:7\n/bound:\nsub\n\n/var/www:"
    );
    host.sh("docker volume rm sized bound && rm -r /state/dir").ok();
    // Docker 26 and later mount a part of a volume.
    host.sh("$DOCKER --rm -v parts:/v busybox sh -c 'mkdir /v/part; echo part > /v/part/file'").ok();
    let part = host.sh("$DOCKER --rm --mount type=volume,src=parts,dst=/v,volume-subpath=part busybox cat /v/file");
    assert_eq!(part.ok(), "part");
    host.sh("docker volume rm parts").ok();
    // What is refused, by its reason, starts no container.
    let shared = host.sh("mkdir /state/dir; $DOCKER --rm -v /state/dir:/dir:rshared busybox true; rmdir /state/dir");
    assert!(shared.stderr.contains("\"rshared\" would share mounts with the host"), "{shared:#?}");
}

fn a_read_only_container_writes_to_its_mounts_alone(host: &Host) {
    let write = "! touch /file && ! touch /etc/file && touch /tmp/file /v/file /dev/shm/file && echo x > /dev/null && echo written";
    let run = "$DOCKER --rm --read-only --tmpfs /tmp -v /v busybox sh -c";
    let output = host.sh(&format!("{run} '{write}'"));
    assert_eq!(output.ok(), "written");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output:#?}");
    let remount = "$DOCKER --rm --read-only --cap-add SYS_ADMIN busybox mount -o remount,rw /";
    assert!(host.sh(remount).failed().contains("permission denied"));
}

fn devices_are_given_by_name(host: &Host) {
    let given =
        "$DOCKER --rm --device /dev/fuse --device /dev/net/tun:/dev/other --device /dev/loop-control busybox sh -c";
    let listed = host.sh(&format!(
        "{given} 'stat -c \"%n %t:%T %u:%g\" /dev/fuse /dev/other /dev/loop-control; : <> /dev/fuse; : <> /dev/other; : < /dev/loop-control'"
    ));
    // One that reaches the host is its owner's: it is there, but opens to who may open it on the host.
    assert_eq!(listed.stdout, "/dev/fuse a:e5 0:0\n/dev/other a:c8 0:0\n/dev/loop-control a:ed 65534:65534\n");
    assert_eq!(listed.failed().matches("ermission denied").count(), 1, "{listed:#?}");
    assert!(host.sh("$DOCKER --rm busybox ls /dev/fuse").failed().contains("No such file or directory"));
    let missing = host.sh("$DOCKER --rm --device /dev/nope busybox true").failed();
    assert!(missing.contains("/dev/nope"), "{missing}");
}
