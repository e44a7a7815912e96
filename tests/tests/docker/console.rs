//! The examples by which the project's features are shown, typed as they are: with busybox's mount, which uses mount(2), and
//! with Debian 13's (util-linux 2.41), which uses the new mount API (fsopen(2), open_tree(2), mount_setattr(2)).
//!
//! What is refused by name has its examples in [`super::namespaces`] and [`super::mount_policy`], the walk over BPF maps in
//! [`super::privileged`].

use tests::host::Host;

on_both_dockers!(
    two_containers_have_ids_that_are_not_each_others,
    a_home_directory_is_shared_with_its_owners,
    a_read_only_bind_mount_stays_so_whatever_mounts,
    a_tmpfs_of_the_containers_own_becomes_read_only_and_back,
);

/// Options that put Debian 13's mount and umount, with what they are linked with, beside busybox's: at `/debian`.
const DEBIAN: &str = "-v /hosts/rootfs/trixie/usr/bin:/debian:ro -v /hosts/rootfs/trixie/usr/lib:/lib:ro \
                      -v /hosts/rootfs/trixie/usr/lib64:/lib64:ro";

/// Both commands, by the directory that they are in.
const COMMANDS: [&str; 2] = ["/bin", "/debian"];

fn two_containers_have_ids_that_are_not_each_others(host: &Host) {
    host.sh("for name in one two; do $DOCKER -d --name $name busybox sleep 1000; done").ok();
    let map = |name: &str| {
        let map = host.sh(&format!("docker exec {name} cat /proc/self/uid_map"));
        map.ok().split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
    };
    let (one, two) = (map("one"), map("two"));
    for map in [&one, &two] {
        assert!(matches!(map[..], [0, host, 65536] if host >= 65536), "{map:?}");
    }
    assert!(one[1].abs_diff(two[1]) >= 65536, "{one:?} {two:?}");
    host.sh("docker rm -f one two").ok();
}

fn a_home_directory_is_shared_with_its_owners(host: &Host) {
    host.sh("mkdir -p /state/home && echo mine > /state/home/file && chown -R 1000:1000 /state/home").ok();
    let inside = "cat /mnt/file; stat -c %u:%g /mnt /mnt/file; touch /mnt/made && chown 1000:1000 /mnt/made";
    let said = host.sh(&format!("HOME=/state/home; $DOCKER --rm -v $HOME:/mnt busybox sh -c '{inside}'"));
    assert_eq!(said.ok(), "mine\n1000:1000\n1000:1000");
    assert_eq!(host.sh("stat -c %u:%g /state/home/made; rm -r /state/home").ok(), "1000:1000");
}

fn a_read_only_bind_mount_stays_so_whatever_mounts(host: &Host) {
    host.sh("mkdir -p /state/shared && echo content > /state/shared/file").ok();
    for rights in ["--cap-add SYS_ADMIN", "--cap-add SYS_ADMIN --security-opt seccomp=unconfined", "--privileged"] {
        for at in COMMANDS {
            // A bind mount of it elsewhere is as read-only, and goes as it came.
            let script = format!(
                "! {at}/mount -o remount,rw,bind /m && ! {at}/mount -o remount,rw /m && ! {at}/umount /m && ! touch /m/made || exit 9
                 mkdir /copy && {at}/mount --bind /m /copy && ! {at}/mount -o remount,rw,bind /copy && ! touch /copy/made || exit 8
                 {at}/umount /copy && cat /m/file"
            );
            let said =
                host.sh(&format!("$DOCKER --rm {rights} {DEBIAN} -v /state/shared:/m:ro busybox sh -c '{script}'"));
            assert_eq!(said.ok(), "content", "{rights} {at}");
        }
    }
    assert_eq!(host.sh("ls /state/shared; rm -r /state/shared").ok(), "file");
}

fn a_tmpfs_of_the_containers_own_becomes_read_only_and_back(host: &Host) {
    for rights in ["--cap-add SYS_ADMIN --security-opt seccomp=unconfined", "--privileged"] {
        for at in COMMANDS {
            let script = format!(
                "mkdir /own && {at}/mount -t tmpfs tmpfs /own && touch /own/one && \
                 {at}/mount -o remount,ro tmpfs /own && ! touch /own/two && \
                 {at}/mount -o remount,rw tmpfs /own && touch /own/three && ls /own && {at}/umount /own"
            );
            let said = host.sh(&format!("$DOCKER --rm {rights} {DEBIAN} busybox sh -c '{script}'"));
            assert_eq!(said.ok(), "one\nthree", "{rights} {at}");
        }
    }
}
