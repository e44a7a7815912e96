//! Two runtimes on one host, by the operator's config: one that gives a container what its spec says, and one that gives it
//! what system software needs.

use tests::host::Host;

use crate::config::{File, OWN};
use crate::inner::{by_debians_tools, script};

on_both_dockers!(
    a_plain_container_of_the_systems_runtime_is_a_system_container,
    what_the_user_drops_stays_dropped,
    another_user_has_what_docker_gives,
    only_the_operators_file_decides,
    what_an_image_says_decides_nothing,
    debians_tools_run_under_dockers_profile,
);

/// The runtime with a config of its own, while this lives.
fn system(host: &Host) -> File<'_> {
    File::new(host, OWN, &["[container]", "grants = \"system\""])
}

const SYSTEM: &str = "configured";

const ACTS: [&str; 6] = [
    "mkdir -p /mnt && mount -t tmpfs t /mnt",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "mkdir $(ls -d /sys/fs/cgroup/unified /sys/fs/cgroup/cpu /sys/fs/cgroup | head -n 1)/made",
    "unshare --mount --pid --fork true",
    "hostname inner",
    "chroot / true && ip link set lo mtu 1400",
];

fn a_plain_container_of_the_systems_runtime_is_a_system_container(host: &Host) {
    let _config = system(host);
    for act in ACTS {
        let run = |runtime: &str| host.sh(&format!("docker run --rm --runtime {runtime} busybox sh -c '{act}'"));
        run(SYSTEM).ok();
        run("named").failed();
        // So is an exec, and so is one that comes later.
        let exec = format!(
            "docker run -d --name one --runtime {SYSTEM} busybox sleep 1000 > /dev/null
             docker exec one sh -c '{act}'; echo $?; docker rm -f one > /dev/null"
        );
        assert_eq!(host.sh(&exec).ok(), "0", "{act}");
    }
    // Nothing of it is the host's.
    for act in ["echo 1 > /proc/sys/kernel/core_pattern", "mknod /disk b 8 0", "swapon /bin/busybox"] {
        host.sh(&format!("docker run --rm --runtime {SYSTEM} busybox sh -c '{act}'")).failed();
    }
}

fn what_the_user_drops_stays_dropped(host: &Host) {
    let _config = system(host);
    let effective = |options: &str| {
        let said =
            host.sh(&format!("docker run --rm --runtime {SYSTEM} {options} busybox grep CapEff /proc/self/status"));
        u64::from_str_radix(said.ok().split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let all = effective("");
    assert!(all.count_ones() > 37, "{all:x}");
    assert_eq!(effective("--cap-drop NET_RAW"), all & !(1 << 13));
    assert_eq!(effective("--cap-drop NET_RAW --cap-drop MKNOD"), all & !(1 << 13 | 1 << 27));
    assert_eq!(effective("--cap-drop ALL"), 0);
    let ping =
        host.sh(&format!("docker run --rm --runtime {SYSTEM} --cap-drop NET_RAW busybox arping -c 1 -w 1 127.0.0.1"));
    assert!(ping.failed().contains("Operation not permitted"), "{ping:#?}");
    let mount = "mkdir -p /mnt && mount -t tmpfs t /mnt";
    host.sh(&format!("docker run --rm --runtime {SYSTEM} --cap-drop NET_RAW busybox sh -c '{mount}'")).ok();
    // A list of refusals is the user's, too.
    let profile =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(host.state().join("profile.json"), profile).unwrap();
    host.sh(&format!(
        "docker run --rm --runtime {SYSTEM} --security-opt seccomp=/state/profile.json busybox sh -c '{mount}'"
    ))
    .failed();
    host.sh("rm /state/profile.json").ok();
}

fn another_user_has_what_docker_gives(host: &Host) {
    let _config = system(host);
    let sets = |runtime: &str| {
        host.sh(&format!(
            "docker run --rm --runtime {runtime} --user 1000 busybox grep -E 'Cap(Eff|Prm|Bnd|Amb)' /proc/self/status"
        ))
        .ok()
        .to_owned()
    };
    assert_eq!(sets(SYSTEM), sets("runc"));
    host.sh(&format!("docker run --rm --runtime {SYSTEM} --user 1000 busybox mount -t tmpfs t /tmp")).failed();
}

fn what_an_image_says_decides_nothing(host: &Host) {
    // Labels that containerd's restart monitor, CRI and other runtimes know, and files where ours are on a host.
    let image = "tar c -C /hosts/images/busybox . > /state/image.tar
        mkdir -p /state/more/etc/eci; echo '[container]\ngrants = \"system\"' > /state/more/etc/eci/config.toml
        echo '{}' > /state/more/config.json; echo '{}' > /state/more/eci.json
        printf '#!/bin/sh\ntouch /state/ran' > /state/logger; chmod +x /state/logger
        tar rf /state/image.tar -C /state/more etc/eci config.json eci.json
        docker import --change 'LABEL containerd.io/restart.loguri=binary:///state/logger containerd.io/restart.status=running' \
            --change 'LABEL io.kubernetes.cri.untrusted-workload=false com.docker.runtime=runc' \
            --change 'ENV LD_PRELOAD=/state/logger SYSBOX_HONOR_CAPS=FALSE' /state/image.tar sly";
    host.sh(image).ok();
    let inside = "unset LD_PRELOAD; mount -t tmpfs t /tmp 2> /dev/null && echo mounted; grep ^Seccomp: /proc/self/status; cat /config.json";
    assert_eq!(host.sh(&format!("$DOCKER --rm sly sh -c '{inside}'")).ok(), "Seccomp:\t2\n{}");
    // What a container's own network leads to is no engine and no shim.
    let gateway = "gateway=$(ip route | awk \"/^default/ { print \\$3 }\"); for port in 2375 2376 2377; do nc -w 1 $gateway $port < /dev/null && exit 1; done; true";
    host.sh(&format!("$DOCKER --rm busybox sh -c '{gateway}'")).ok();
    host.sh("! test -e /state/ran; docker rmi sly; rm -rf /state/image.tar /state/more /state/logger").ok();
}

fn only_the_operators_file_decides(host: &Host) {
    let _config = system(host);
    let asking =
        "--label eci.grants=system --annotation eci.grants=system -e ECI_GRANTS=system -e SYSBOX_SYSCONT_MODE=TRUE";
    host.sh(&format!("$DOCKER --rm {asking} busybox mount -t tmpfs t /tmp")).failed();
}

/// Mounts by the new calls, a procfs in a user namespace inside, and bubblewrap: what the loosened profile is for.
fn debians_tools_run_under_dockers_profile(host: &Host) {
    let bwrap = "/hosts/sandboxes/trixie/usr/bin/bwrap";
    if host.sh(&format!("test -x {bwrap}")).status != 0 {
        let reason = "there is no bubblewrap (tests/hosts/layer sandboxes trixie)";
        return tests::place::skip("grants::debians_tools_run_under_dockers_profile", reason);
    }
    let _config = system(host);
    let volume = script(
        host,
        "cd /tmp; mkdir x; mount -t tmpfs t x; mount -o remount,ro x; ! touch x/f 2> /dev/null; mount -o remount,rw x; touch x/f; umount x
         mount -t proc p x; cmp x/sys/kernel/random/boot_id /proc/sys/kernel/random/boot_id; umount x; mount -t sysfs s x; umount x
         mount --bind / x; ls -d x/proc/uptime; umount x; unshare -Urpf --mount-proc sh -c 'echo $$; ls -d /proc/[0-9]*'
         for all in '' --unshare-all; do
             /bwrap $all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp sh -c 'ls -d /proc/1; touch /made 2>&1 | grep -o Read-only'
         done",
    );
    let run = |runtime: &str| {
        host.sh(&format!("docker run --rm --runtime {runtime} {volume} -v {bwrap}:/bwrap:ro {}", by_debians_tools()))
    };
    let wrapped = "/proc/1\nRead-only\n/proc/1\nRead-only";
    assert_eq!(run(SYSTEM).ok(), format!("x/proc/uptime\n1\n/proc/1\n{wrapped}"));
    run("named").failed();
    host.sh("rm /state/script").ok();
}
