//! `--privileged` gives everything inside and nothing outside.

use tests::host::Host;
use tests::place;

on_both_dockers!(
    it_has_every_capability_and_the_harmless_devices,
    what_is_the_kernels_is_not_permitted,
    raw_disks_are_out_of_reach_also_by_name,
    what_is_its_own_of_proc_and_sys_is_writable,
    a_bpf_map_walk_is_refused,
    a_base_filter_holds_without_a_profile,
);

/// Makes `/inside` of the tests known to the host, as `-v` takes it.
fn inside(host: &Host) -> &'static str {
    std::fs::copy(place::inside(), host.state().join("inside")).expect("the helper");
    "-v /state/inside:/inside:ro"
}

fn it_has_every_capability_and_the_harmless_devices(host: &Host) {
    let capabilities = host.sh(
        "$DOCKER --rm --privileged busybox grep -E 'Cap(Eff|Bnd)' /proc/self/status; grep CapBnd /proc/self/status",
    );
    let sets: Vec<&str> = capabilities.ok().split_whitespace().filter(|word| !word.starts_with("Cap")).collect();
    assert!(sets.len() == 3 && sets.iter().all(|set| *set == sets[0]), "{sets:?}");
    let nodes = "find /dev -type b -o -type c ! -path '/dev/pts/*' ! -name console | sort | tr '\\n' ' '";
    let found = host.sh(&format!("$DOCKER --rm --privileged busybox sh -c \"{nodes}\""));
    let fixed = ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];
    let found: Vec<&str> = found.ok().split_whitespace().collect();
    assert!(fixed.iter().all(|node| found.contains(node)), "{found:?}");
    let more: Vec<&&str> = found.iter().filter(|node| !fixed.contains(node)).collect();
    assert!(more.iter().all(|node| ["/dev/fuse", "/dev/net/tun"].contains(*node)), "{found:?}");
    for node in more {
        host.sh(&format!("$DOCKER --rm --privileged {} busybox /inside open {node} rw", inside(host))).ok();
    }
    host.sh("rm -f /state/inside").ok();
}

fn what_is_the_kernels_is_not_permitted(host: &Host) {
    let said = host.sh(&format!("$DOCKER --rm --privileged {} busybox /inside kernel", inside(host)));
    assert!(said.ok().lines().count() > 20, "{said:#?}");
    for line in said.ok().lines() {
        // A kernel may have been built without these.
        let missing = (line.contains("_module ") || line.contains("kexec")) && line.ends_with(" ENOSYS");
        assert!(line.ends_with(" EPERM") || missing, "{line}");
    }
    let date = host.sh("date +%Y; $DOCKER --rm --privileged busybox date -s 2001-01-01; date +%Y");
    assert!(date.stderr.contains("Operation not permitted"), "{date:#?}");
    let swap = host
        .sh("$DOCKER --rm --privileged busybox sh -c 'head -c 1000000 /dev/zero > /swap; mkswap /swap; swapon /swap'");
    assert!(swap.failed().contains("Operation not permitted"), "{swap:#?}");
    host.sh("rm -f /state/inside").ok();
}

fn raw_disks_are_out_of_reach_also_by_name(host: &Host) {
    let disk = host.sh("find /dev -type b | head -n 1").ok().to_owned();
    if disk.is_empty() {
        return place::skip("docker::privileged::raw_disks", "this machine has no block device");
    }
    let made = host.sh("$DOCKER --rm --privileged busybox mknod /disk b 254 0").failed();
    assert!(made.contains("Operation not permitted"), "{made}");
    let gone = host.sh(&format!("$DOCKER --rm --privileged busybox head -c 1 {disk}")).failed();
    assert!(gone.contains("No such file"), "{gone}");
    // Asked for, it is there, with the host's owner and mode.
    let mode = host.sh(&format!("stat -c %a {disk}"));
    let node = host.sh(&format!("$DOCKER --rm --cap-add ALL --device {disk}:/dev/d busybox stat -c '%F %a %u' /dev/d"));
    assert_eq!(node.ok(), format!("block special file {} 65534", mode.ok()));
    let read = host.sh(&format!("$DOCKER --rm --cap-add ALL --device {disk}:/dev/d busybox head -c 1 /dev/d")).failed();
    assert!(read.contains("Permission denied"), "{read}");
}

fn what_is_its_own_of_proc_and_sys_is_writable(host: &Host) {
    let group = "$(ls -d /sys/fs/cgroup/unified /sys/fs/cgroup/cpu /sys/fs/cgroup | head -n 1)/made";
    let own = format!(
        "set -e; echo 1 > /proc/sys/net/ipv4/ip_forward; mkdir /mnt {group}; mount -t tmpfs t /mnt; umount /mnt
         mount -t proc p /mnt; umount /mnt; mount -t sysfs s /mnt; ip link set lo mtu 1400; hostname inner; echo all"
    );
    std::fs::write(host.state().join("own"), own).expect("a script");
    let run = "$DOCKER --rm --privileged -v /state/own:/own:ro busybox sh /own";
    assert_eq!(host.sh(run).ok(), "all");
    // A plain one has it all read-only, or not at all.
    host.sh("$DOCKER --rm -v /state/own:/own:ro busybox sh /own").failed();
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        let said = host.sh(&format!("[ ! -e {path} ] || $DOCKER --rm --privileged busybox sh -c 'exec 3> {path}'"));
        let missing = host.sh(&format!("[ -e {path} ]")).status != 0;
        assert!(missing || said.failed().contains("ermission denied"), "{path}: {said:#?}");
    }
    host.sh("rm /state/own").ok();
}

/// The mission's own example: what a privileged container of Docker's sees of the host's BPF maps.
fn a_bpf_map_walk_is_refused(host: &Host) {
    let run = |runtime: &str| {
        host.sh(&format!("docker run --rm --runtime {runtime} --privileged {} busybox /inside bpf-maps", inside(host)))
    };
    assert_eq!(run(&tests::host::runtime()).failed().trim(), "EPERM");
    // The near miss: with runc the walk begins, and ends where there is no further map.
    let theirs = run("runc");
    assert!(["ok", "ENOENT"].contains(&theirs.stdout.trim()), "{theirs:#?}");
    host.sh("rm -f /state/inside").ok();
}

fn a_base_filter_holds_without_a_profile(host: &Host) {
    for options in
        ["--security-opt seccomp=unconfined", "--privileged", "--security-opt seccomp=unconfined --user user"]
    {
        let run = format!("$DOCKER --rm {options} {} busybox /inside", inside(host));
        for (verb, said) in [
            ("syscall 41 40 1 0", "EPERM"),
            ("syscall 425 1 0", "EPERM"),
            ("syscall32 102 1 0", "ENOSYS"),
            ("syscall32 359 40 1 0", "EPERM"),
            ("syscall 41 1 1 0", "ok"),
            ("syscall32 359 1 1 0", "ok"),
        ] {
            assert_eq!(host.sh(&format!("{run} {verb}")).stdout.trim(), said, "{options}: {verb}");
        }
    }
    let exec = format!(
        "$DOCKER -d --name one --security-opt seccomp=unconfined {} busybox sleep 1000 > /dev/null
         docker exec --privileged one /inside syscall 41 40 1 0; docker rm -f one > /dev/null",
        inside(host)
    );
    assert_eq!(host.sh(&exec).ok(), "EPERM");
    host.sh("rm -f /state/inside").ok();
}
