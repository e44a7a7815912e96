//! A container's rights are exactly what Docker's spec says: what runc gives, ours gives.

use tests::host::Host;

on_both_dockers!(
    capabilities_and_protected_paths_are_those_that_runc_gives,
    a_seccomp_profile_is_the_users,
    limits_of_a_process_are_as_asked,
    a_plain_container_is_root_of_its_own_namespaces_only,
);

/// A container's rights: capabilities, mounts (but emulated files) and their flags (of masks only that they are there: ours are read-only),
/// paths that can be written to, limits, identity.
const LOOK: &str = r#"grep -E "^(Cap|NoNewPrivs|Groups|Uid|Gid)" /proc/self/status; umask; cat /proc/self/oom_score_adj
    cut -d" " -f 5- /proc/self/mountinfo | awk "!/cgroup/ && !/ - fuse eci / { sub(\",idmapped\", \"\", \$2); print \$1, \$1 ~ \"^/(proc|sys)/\" && / tmpfs / ? \"masked\" : \$2 }" | sort
    head -c 1 /proc/keys | wc -c; ls /proc/acpi
    for file in /proc/sysrq-trigger /proc/irq /proc/bus /proc/fs; do test -w $file && echo $file writable; done
    ulimit -n; ulimit -u; ulimit -c; id; test -t 0; echo $?"#;

fn capabilities_and_protected_paths_are_those_that_runc_gives(host: &Host) {
    std::fs::write(host.state().join("look"), LOOK).unwrap();
    // runc runs with the machine's user namespace, where an id stands for itself: what both say can be compared.
    for options in [
        "",
        "--cap-drop ALL",
        "--cap-add SYS_ADMIN --cap-drop CHOWN",
        "--cap-drop ALL --cap-add NET_BIND_SERVICE --cap-add SYS_PTRACE",
        "--cap-add ALL",
        "--user user",
        "--user user --cap-add NET_ADMIN --group-add 7",
        "--security-opt no-new-privileges",
        "--security-opt systempaths=unconfined",
        "--ipc none --read-only",
        "--oom-score-adj 77",
    ] {
        let run = |runtime: &str| {
            host.sh(&format!("$DOCKER --runtime {runtime} --rm {options} busybox sh -c \"$(cat /state/look)\" 2>&1"))
                .stdout
        };
        let (ours, theirs) = (run(&tests::host::runtime()), run("runc"));
        assert!(theirs.contains("CapEff"), "{options}: {theirs}");
        assert_eq!(ours, theirs, "{options}");
    }
    host.sh("rm /state/look").ok();
    let privileged = |runtime: &str| {
        host.sh(&format!("docker run --rm --runtime {runtime} --privileged busybox grep ^Cap /proc/self/status"))
            .ok()
            .to_owned()
    };
    assert_eq!(privileged(&tests::host::runtime()), privileged("runc"));
}

fn a_seccomp_profile_is_the_users(host: &Host) {
    assert_eq!(host.sh("$DOCKER --rm busybox grep ^Seccomp: /proc/self/status").ok(), "Seccomp:\t2");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(host.state().join("profile.json"), profile).expect("a profile");
    // The default profile refuses a new user namespace without CAP_SYS_ADMIN; a user's own, and none, do not.
    let act = |option: &str| {
        host.sh(&format!("$DOCKER --rm {option} busybox sh -c 'mkdir /dir; unshare -U true && echo unshared' 2>&1"))
            .stdout
    };
    assert_eq!(act(""), "unshare: unshare(0x10000000): Operation not permitted\n");
    assert_eq!(act("--security-opt seccomp=unconfined"), "unshared\n");
    assert_eq!(
        act("--security-opt seccomp=/state/profile.json"),
        "mkdir: can't create directory '/dir': No space left on device\nunshared\n"
    );
    // An exec has it, too.
    let exec = "$DOCKER -d --name one --security-opt seccomp=/state/profile.json busybox sleep 1000 > /dev/null; docker exec one mkdir /dir; docker rm -f one";
    assert!(host.sh(exec).stderr.contains("No space left on device"));
    host.sh("rm /state/profile.json").ok();
}

fn limits_of_a_process_are_as_asked(host: &Host) {
    let limits = "$DOCKER --rm --ulimit nofile=77:88 --ulimit core=0 --ulimit nproc=100 busybox sh -c";
    assert_eq!(host.sh(&format!("{limits} 'ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -u'")).ok(), "77\n88\n0\n100");
    // More than the machine has itself, which nobody may give without CAP_SYS_RESOURCE, is as much as it has.
    let most = "[ $(ulimit -Hn) = $($DOCKER --rm --ulimit nofile=2000000 busybox sh -c 'ulimit -Hn') ]";
    assert!(host.sh("ulimit -n 2000000").status == 0 || host.sh(most).status == 0);
    let said = host.sh("$DOCKER --rm --ulimit nope=1 busybox true").failed();
    assert!(said.contains("nope"), "{said}");
}

fn a_plain_container_is_root_of_its_own_namespaces_only(host: &Host) {
    let act = "mount -t tmpfs t /mnt 2>&1 || echo no mount; echo h > /proc/sys/kernel/hostname 2>&1 || echo no sysctl; ip link add dummy0 type dummy 2>&1 || echo no link; chown 5:5 /etc/passwd && echo chowned";
    // Within, where they come in their order: a container's two streams do not.
    let plain = host.sh(&format!("$DOCKER --rm busybox sh -c 'exec 2>&1; mkdir /mnt; {act}'")).stdout;
    for refused in ["no mount", "no sysctl", "no link"] {
        assert!(plain.contains(refused), "{refused}: {plain}");
    }
    assert!(plain.ends_with("chowned\n"), "{plain}");
    // With the capability, inside.
    assert_eq!(
        host.sh("$DOCKER --rm --cap-add SYS_ADMIN busybox sh -c 'mkdir /mnt && mount -t tmpfs t /mnt && echo mounted'")
            .ok(),
        "mounted"
    );
    assert_eq!(
        host.sh("$DOCKER --rm --cap-add NET_ADMIN busybox sh -c 'ip link set lo down && echo down'").ok(),
        "down"
    );
}
