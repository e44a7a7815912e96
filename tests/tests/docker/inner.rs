//! Mounts and devices of a container's own: what each way to run one allows, under Docker's default profile or without one.

use tests::host::Host;
use tests::tools::{DOCKER, SHELL};

on_both_dockers!(
    a_privileged_container_mounts_as_on_a_machine,
    sys_admin_is_enough_to_mount_and_not_to_unmask,
    a_plain_container_sees_its_own_and_makes_harmless_devices,
);

/// A container's command that runs the script with Debian 13's tools (util-linux 2.41 mounts by the new calls), in docker's words.
pub(super) fn by_debians_tools() -> String {
    format!("{DOCKER} busybox {SHELL} -c 'PATH=/usr/bin:/usr/sbin:/bin; . /script'")
}

/// Writes a script where containers can see it.
pub(super) fn script(host: &Host, text: &str) -> &'static str {
    std::fs::write(host.state().join("script"), format!("set -e\n{text}")).expect("a script");
    "-v /state/script:/script:ro"
}

fn a_privileged_container_mounts_as_on_a_machine(host: &Host) {
    let volume = script(
        host,
        "cd /tmp; mkdir p s x; mount -t proc p p; mount -t sysfs s s; cmp p/sys/kernel/random/boot_id /proc/sys/kernel/random/boot_id
         echo 77 > /proc/sys/kernel/panic; cat p/sys/kernel/panic; echo 78 > p/sys/kernel/panic; cat /proc/sys/kernel/panic; ls s/firmware
         umount p/uptime 2>&1 | grep -o Invalid; umount p; umount s; mount --bind / x; ls -d x/proc/uptime; umount x
         mount -t tmpfs t x; mount -o remount,ro x; ! touch x/y 2> /dev/null; mount -o remount,rw x; mknod x/null c 1 3; echo 1 > x/null; umount x
         mount -o remount,hidepid=2 /proc; mount -o remount,ro /sys; unshare -Urpf --mount-proc ls -d /proc/1; ls p s x | wc -w",
    );
    for options in ["", "--read-only --tmpfs /tmp", "--tmpfs /tmp", "-v made:/tmp"] {
        let said = host.sh(&format!("$DOCKER --rm --privileged {options} {volume} busybox sh /script"));
        assert_eq!(said.ok(), "77\n78\nInvalid\nx/proc/uptime\n/proc/1\n3", "{options}");
        host.sh("docker volume rm made 2> /dev/null || true").ok();
    }
    let of_host = host.sh("cat /proc/sys/kernel/panic");
    assert!(!["77", "78"].contains(&of_host.ok()), "{of_host:?}");
    host.sh("rm /state/script").ok();
}

fn sys_admin_is_enough_to_mount_and_not_to_unmask(host: &Host) {
    let volume = script(
        host,
        "cd /tmp; mkdir p x; mount -t proc p p; cmp p/sys/kernel/random/boot_id /proc/sys/kernel/random/boot_id
         (echo 5 > p/sys/kernel/panic) 2>&1 | grep -o Read-only; for file in keys timer_list; do [ ! -e p/$file ] || wc -c < p/$file; done | sort -u
         mount -o remount,bind,rw p/sys 2> /dev/null || echo locked; umount p/keys 2>&1 | grep -oE 'Invalid|not mounted' | sed 's/not mounted/Invalid/'
         umount p; mount -t tmpfs t x; umount x; for option in rw ro; do mount -t sysfs -o $option s x
             touch x/kernel/mm/x 2>&1 | grep -o Read-only; mount -o remount,rw x 2> /dev/null || echo stays; umount x; done; ls p x | wc -w",
    );
    for options in [
        "--cap-add SYS_ADMIN",
        "--cap-add ALL",
        "--cap-add SYS_ADMIN --security-opt seccomp=unconfined --read-only --tmpfs /tmp",
    ] {
        for command in ["busybox sh /script", &by_debians_tools()] {
            let said = host.sh(&format!("$DOCKER --rm {options} {volume} {command}"));
            assert_eq!(
                said.ok(),
                "Read-only\n0\nlocked\nInvalid\nRead-only\nstays\nRead-only\nstays\n2",
                "{options}: {command}"
            );
        }
    }
    // With the profile alone, and with the capability alone.
    for options in ["", "--security-opt seccomp=unconfined", "--cap-drop ALL --cap-add SYS_ADMIN --user 1000"] {
        host.sh(&format!("$DOCKER --rm {options} {volume} busybox sh /script")).failed();
    }
    host.sh("rm /state/script").ok();
}

fn a_plain_container_sees_its_own_and_makes_harmless_devices(host: &Host) {
    let volume = script(
        host,
        "awk '/MemTotal/ { print $2 }' /proc/meminfo; grep -c ^processor /proc/cpuinfo; wc -l < /proc/swaps
         mknod /root/null c 1 3; echo x > /root/null; mknod -m 600 /made/zero c 1 5; head -c 3 /made/zero | wc -c; rm /root/null /made/zero",
    );
    let run = "$DOCKER --rm --memory 64m --memory-swap 64m --cpus 1 -v made:/made";
    assert_eq!(host.sh(&format!("{run} {volume} busybox sh /script")).ok(), "65536\n1\n1\n3");
    let dropped = host.sh(&format!("{run} --cap-drop MKNOD {volume} busybox sh /script"));
    assert!(dropped.failed().contains("Operation not permitted"), "{dropped:?}");
    host.sh("docker volume rm made; rm /state/script").ok();
}
