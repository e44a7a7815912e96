//! What makes namespaces of its own: unshare, ip netns, bubblewrap, and mounts as systemd makes them for a service.

use serde_json::json;
use tests::{Container, place};

use crate::setup::{Kind, bash, privileged};

in_kinds!(
    unshare_mounts_a_procfs_of_its_own: privileged, privileged_read_only, system, system_read_only;
    a_service_s_mounts: privileged, privileged_read_only, system, system_read_only;
    ip_netns_has_a_sysfs_of_its_network: privileged, privileged_read_only, system, system_read_only;
    the_files_of_another_network_namespace_can_be_made_read_only: privileged, system;
    bubblewrap: privileged, privileged_read_only, system, system_read_only;
    fuse_overlayfs: privileged, privileged_read_only, system, system_read_only;
);

async fn unshare_mounts_a_procfs_of_its_own(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    let uptime = bash(&container, "unshare -Urpf --mount-proc cut -d ' ' -f 1 /proc/uptime").await;
    assert!(uptime.ok().parse::<f64>().unwrap() < 300.0, "{uptime:?}");
    assert_eq!(
        bash(&container, "unshare -Urpf --mount-proc sh -c 'echo $$; ls -d /proc/[0-9]*' | sort").await.ok(),
        "/proc/1\n1"
    );
    // Who has neither a pid nor a network namespace is refused by the kernel.
    for fstype in ["proc", "sysfs"] {
        let refused = bash(&container, &format!("unshare -Urm mount -t {fstype} x /mnt")).await;
        assert!(refused.failed().contains("permission denied"), "{refused:?}");
    }
    assert_eq!(bash(&container, "unshare -Urmn sh -c 'mount -t sysfs s /mnt && ls /mnt/class/net'").await.ok(), "lo");
    container.end().await;
}

/// PrivateTmp=, ProtectSystem=, BindPaths= of systemd.exec(5).
async fn a_service_s_mounts(kind: Kind) {
    let script = "set -e; mount --make-rslave /; mount -t tmpfs -o nosuid,nodev,mode=1777 t /tmp; mkdir /tmp/own; mount --rbind /tmp/own /var/tmp
        mount --bind /usr /usr; mount -o remount,bind,ro /usr; ! touch /usr/x 2> /dev/null; mount -t tmpfs -o ro,nosuid,nodev none /mnt
        mount --rbind / /run; mount --make-rprivate /run; touch /var/tmp/mine; ls /tmp/own; umount -l /run; umount /var/tmp; umount /tmp";
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    assert_eq!(bash(&container, &format!("unshare -m bash -c '{script}' && ls /tmp")).await.ok(), "mine");
    container.end().await;
}

async fn ip_netns_has_a_sysfs_of_its_network(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    let inside = "ip link set lo up; ls /sys/class/net; ls /sys/firmware | wc -l; echo 888 > /proc/sys/net/core/somaxconn; cat /proc/sys/net/core/somaxconn";
    let script = format!("set -e; ip netns add other; ip link add one type veth peer name two netns other; ip netns exec other sh -c '{inside}'
        cat /proc/sys/net/core/somaxconn; ls /sys/class/net | wc -w; ip netns del other; ls /run/netns | wc -l");
    let said = bash(&container, &script).await;
    let lines: Vec<&str> = said.ok().lines().collect();
    assert_eq!((lines[0], &lines[2..4], *lines.last().unwrap()), ("lo", &["0", "888"][..], "0"), "{said:?}");
    assert!(lines[1] == "two" && lines[4] != "888", "{said:?}");
    container.end().await;
}

/// It makes everything read-only that mountinfo shows, by its path, also where this leads nowhere in its own namespaces.
async fn the_files_of_another_network_namespace_can_be_made_read_only(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    let (file, mount) =
        ("/proc/sys/net/core/rmem_max", "/busybox/bin/busybox mount -o remount,bind,ro,nosuid,nodev,noexec,relatime");
    let shown = format!("awk '$5 == \"{file}\" {{ print $6 }}' /proc/self/mountinfo | cut -d , -f 1");
    for unshared in ["-m", "-mn", "-Urmn"] {
        let script = format!("exec unshare {unshared} bash -c '{mount} {file} && {}'", shown.replace('\'', r"'\''"));
        assert_eq!(bash(&container, &script).await.ok(), "ro", "{unshared}");
    }
    for path in ["/proc/sys/net/core/somaxconn", "/proc/sys/net/none"] {
        bash(&container, &format!("{mount} {path}")).await.failed();
    }
    assert_eq!(bash(&container, &shown).await.ok(), "rw");
    // Who has no right to has none by this.
    bash(&container, &format!("chroot --userspec=1000:1000 / {mount} {file}")).await.failed();
    container.end().await;
}

/// The tools of the layer `sandboxes`.
fn have_the_layer(test: &str) -> bool {
    let have = place::hosts().join("sandboxes/trixie/.complete").exists();
    if !have {
        place::skip(test, "there is no bubblewrap (tests/hosts/layer sandboxes trixie)");
    }
    have
}

async fn bubblewrap(kind: Kind) {
    if !have_the_layer("sandboxes::bubblewrap") {
        return;
    }
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    for options in ["", "--unshare-all", "--unshare-user --uid 1000 --unshare-all"] {
        for user in ["", "chroot --userspec=1000:1000 / "] {
            let tree = "--ro-bind / / --proc /proc --dev /dev --tmpfs /tmp";
            let script = "cut -d ' ' -f 1 /proc/uptime; head -c 3 /dev/zero | wc -c; touch /tmp/x /usr/x 2>&1";
            let said = bash(&container, &format!("{user}bwrap {options} {tree} sh -c \"{script}\"; true")).await;
            let lines: Vec<&str> = said.ok().lines().collect();
            assert!(lines.len() == 3 && lines[0].parse::<f64>().unwrap() < 300.0, "{options} {user}: {said:?}");
            assert!(lines[1] == "3" && lines[2].contains("Read-only file system"), "{options} {user}: {said:?}");
        }
    }
    container.end().await;
}

async fn fuse_overlayfs(kind: Kind) {
    if !have_the_layer("sandboxes::fuse_overlayfs") {
        return;
    }
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    let script = "set -e; cd /mnt; mkdir l u w m; echo below > l/f; fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w m 2> /dev/null
        cat m/f; echo above > m/f; cat u/f l/f; umount m; ls m; ls -d m";
    assert_eq!(bash(&container, script).await.ok(), "below\nabove\nbelow\nm");
    // As a root, in which a procfs is mounted and a device made.
    let script = "set -e; cd /mnt; rm -r l u w; mkdir -p l/bin l/proc u w; cp /busybox/bin/busybox l/bin/
        fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w m 2> /dev/null
        chroot m /bin/busybox sh -c 'set -e; b=/bin/busybox; $b mount -t proc p /proc; $b head -c 8 /proc/meminfo; echo
            $b mknod /null c 1 3; echo x > /null; $b stat -c %t:%T /null; $b umount /null; $b umount /proc'
        umount m; ls m | wc -l";
    assert_eq!(bash(&container, script).await.ok(), "MemTotal\n1:3\n0");
    container.end().await;
}

/// A FUSE of a user's, who alone is let in, at `/mnt/f/m`: `$server`.
const FUSE: &str = "set -e; as='chroot --userspec=daemon /'; ln -sf /proc/self/mounts /etc/mtab
    mkdir -p /mnt/f; chown daemon /mnt/f; cd /mnt/f
    $as mkdir -p /mnt/f/l /mnt/f/u /mnt/f/w /mnt/f/m
    $as fuse-overlayfs -f -o lowerdir=/mnt/f/l,upperdir=/mnt/f/u,workdir=/mnt/f/w /mnt/f/m > /mnt/log 2>&1 & server=$!
    until grep -q ' /mnt/f/m .* - fuse' /proc/self/mountinfo; do kill -0 $server || { cat /mnt/log >&2; exit 9; }; sleep 0.05; done
    $as ls /mnt/f/m; ! ls /mnt/f/m 2> /dev/null";

/// The kernel asks no server before it takes its mount away or changes the mount's flags: it may have died, or hang.
#[tokio::test]
async fn a_fuse_whose_server_answers_no_more() {
    if !have_the_layer("sandboxes::a_fuse_whose_server_answers_no_more") {
        return;
    }
    let container = Container::sleeping(privileged("trixie")).await;
    for ended in ["kill -KILL $server; wait $server || true", "kill -STOP $server"] {
        for script in [
            "umount /mnt/f/m",
            "/busybox/bin/busybox umount /mnt/f/m",
            "fusermount3 -u m",
            "bwrap --ro-bind / / true; umount m",
            "$as bwrap --ro-bind / / true; umount m",
            "mount -o remount,bind,ro /mnt/f/m; mount -o remount,bind,rw m; umount m",
            // Nor of what is mounted on it.
            "mount -t proc p m; head -c 8 m/meminfo > /dev/null; umount m; mount --bind / m; umount m; umount m",
        ] {
            let end = "kill -KILL $server 2> /dev/null || true; ! grep ' /mnt/f' /proc/self/mountinfo";
            let said = bash(&container, &format!("{FUSE}; {ended}; {script}; {end}")).await;
            assert_eq!(said.ok(), "", "{ended}; {script}");
        }
    }
    container.end().await;
}

/// Nor does it matter to a caller with an absolute path that it stands in such a filesystem.
#[tokio::test]
async fn a_caller_that_stands_in_a_dead_fuse() {
    if !have_the_layer("sandboxes::a_caller_that_stands_in_a_dead_fuse") {
        return;
    }
    let container = Container::sleeping(privileged("trixie")).await;
    let script = "set -e; mkdir -p /mnt/l /mnt/u /mnt/w /mnt/m /mnt/x; mount='/busybox/bin/busybox mount'
        fuse-overlayfs -f -o timeout=0,lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m > /mnt/log 2>&1 & server=$!
        until grep -q ' /mnt/m .* - fuse' /proc/self/mountinfo; do kill -0 $server; sleep 0.05; done
        cd /mnt/m; kill -KILL $server; wait $server || true; ! sh -c 'cd .' 2> /dev/null
        $mount -t proc p /mnt/x; $mount -o remount,ro /mnt/x; head -c 8 /mnt/x/meminfo; echo; umount /mnt/x
        $mount --bind / /mnt/x; umount /mnt/x; mknod /null c 1 3; echo x > /null; cd /; umount /mnt/m";
    assert_eq!(bash(&container, script).await.ok(), "MemTotal");
    container.end().await;
}

#[tokio::test]
async fn one_cover_can_be_made_read_only_and_writable_again() {
    // As an engine makes the settings read-only, with the right to mount.
    let bundle = privileged("trixie").set("/linux/readonlyPaths", json!(["/proc/sys"]));
    let container = Container::sleeping(bundle).await;
    // The topmost: what is read-only has its covers, too.
    let shown =
        |path: &str| format!("awk '$5 == \"{path}\" {{ print $6 }}' /proc/self/mountinfo | tail -n 1 | cut -d , -f 1");
    for mount in ["mount", "/busybox/bin/busybox mount"] {
        for (path, flags) in
            [("/proc/uptime", "nosuid,nodev,noexec"), ("/proc/meminfo", "nosuid,nodev,noexec,relatime")]
        {
            for option in ["ro", "rw"] {
                let script = format!("{mount} -o remount,bind,{option},{flags} {path} && {}", shown(path));
                assert_eq!(bash(&container, &script).await.ok(), option, "{mount} {path}");
            }
        }
        let covers = "/proc/sys/kernel/panic /proc/sys";
        for path in covers.split(' ') {
            bash(&container, &format!("{mount} -o remount,bind,rw,nosuid,nodev,noexec {path}")).await.failed();
            assert_eq!(bash(&container, &shown(path)).await.ok(), "ro", "{mount} {path}");
        }
    }
    assert!(bash(&container, "echo 5 > /proc/sys/kernel/panic").await.failed().contains("Read-only"));
    container.end().await;
}
