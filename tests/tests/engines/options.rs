//! `ctr run`'s options for confinement and resources.

use tests::host::Host;

on_each_suite!(
    the_default_seccomp_profile_and_a_users_own_are_applied,
    devices_are_nodes_that_work,
    limits_of_memory_and_cpu_are_set,
    a_privileged_container_is_root_of_its_own_namespaces_only,
);

fn the_default_seccomp_profile_and_a_users_own_are_applied(host: &Host) {
    let filtered = |more: &str, id: &str| {
        host.sh(&format!("$RUN --rm {more} $IMAGE {id} grep ^Seccomp_filters: /proc/self/status"))
    };
    // The base filter, and above it the profile.
    assert_eq!(filtered("", "none").ok(), "Seccomp_filters:\t2");
    assert_eq!(filtered("--seccomp", "default").ok(), "Seccomp_filters:\t3");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(host.state().join("profile.json"), profile).expect("a profile");
    let own = host
        .sh("$RUN --rm --seccomp --seccomp-profile /state/profile.json $IMAGE own sh -c 'touch /file && mkdir /dir'");
    assert!(own.failed().contains("can't create directory '/dir': No space left on device"), "{own:#?}");
}

fn devices_are_nodes_that_work(host: &Host) {
    let listed = host.sh("$RUN --rm --device /dev/fuse --device /dev/net/tun $IMAGE d sh -c 'stat -c \"%n %F %t:%T %u:%g\" /dev/fuse /dev/net/tun; : < /dev/fuse && : < /dev/net/tun'");
    assert_eq!(listed.ok(), "/dev/fuse character special file a:e5 0:0\n/dev/net/tun character special file a:c8 0:0");
    let without = host.sh("$RUN --rm $IMAGE e ls /dev/fuse");
    assert!(without.failed().contains("No such file or directory"), "{without:#?}");
}

fn limits_of_memory_and_cpu_are_set(host: &Host) {
    host.sh("$RUN -d --memory-limit 67108864 --cpus 0.5 $IMAGE c sleep 1000").ok();
    // The hosts have the machine's hierarchies: of version 1, or the unified one alone.
    let limits = host.sh(
        "cd /sys/fs/cgroup; [ -e cgroup.controllers ] && cat default/c/memory.max && cat default/c/cpu.max && exit
         cat memory/default/c/memory.limit_in_bytes && echo $(cat cpu/default/c/cpu.cfs_quota_us cpu/default/c/cpu.cfs_period_us)",
    );
    assert_eq!(limits.ok(), "67108864\n50000 100000");
    // Its processes are in there: a program that takes more is ended by the kernel.
    let greedy = host.sh("ctr task exec --exec-id e c sh -c 'head -c 200m /dev/zero | tail -c 190m > /dev/null'");
    assert_ne!(greedy.status, 0, "{greedy:#?}");
    host.sh("ctr task exec --exec-id f c true").ok();
    host.sh("ctr task rm -f c && ctr c rm c").ok();
}

fn a_privileged_container_is_root_of_its_own_namespaces_only(host: &Host) {
    let script = "grep -q ^CapEff:.*[1-9a-f] /proc/self/status && mount -t tmpfs t /mnt && cat /proc/self/uid_map && \
                  ! echo 1 > /proc/sys/vm/drop_caches && ! mknod /sda b 8 0";
    let output = host.sh(&format!("$RUN --rm --privileged $IMAGE p sh -c 'mkdir /mnt; {script}'"));
    assert_eq!(output.ok().split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
}
