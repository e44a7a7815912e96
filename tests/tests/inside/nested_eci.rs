//! eci in a container of eci's: Debian's containerd starts the very shim that made the container it runs in.

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container, Output, place};

use crate::setup::{bash, privileged};

/// A privileged container with the shim.
fn with_eci() -> Bundle {
    privileged("trixie").bind(&place::shim(), "/usr/local/bin/containerd-shim-eci-v2", &["ro"]).bind(
        &place::hosts().join("images"),
        "/images",
        &["ro"],
    )
}

/// The same in a map that its spec brings, of `size` ids.
fn with_map(size: u32) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": 1_000_000, "size": size }]);
    with_eci().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// containerd with an image. What inner containers stand on must be filesystems of the outer one's own: the kernel lets nobody
/// map the ids of another's (`can_idmap_mount()` of fs/namespace.c).
const START: &str = "mkdir -p /var/lib/containerd; mount -t tmpfs c /var/lib/containerd; mount -t tmpfs r /run
    containerd > /tmp/containerd.log 2>&1 &
    until ctr version > /dev/null 2>&1; do [ $SECONDS -lt 60 ] || { tail /tmp/containerd.log >&2; exit 9; }; sleep 0.05; done
    ctr image import /images/busybox.tar > /dev/null
    image=$(ctr image ls -q)
    run() { timeout 60 ctr run --runtime io.containerd.eci.v2 \"$@\"; }
    inside() { timeout 60 ctr task exec --exec-id \"e$RANDOM\" one sh -c \"exec 2>&1; $1\"; }
    end() { ctr task kill -s KILL one; until ctr task rm one > /dev/null 2>&1; do sleep 0.05; done; ctr container rm one; }";

async fn with_containerd(container: &Container, script: &str) -> Output {
    bash(container, &format!("{START}\n{script}")).await
}

/// The lines in containerd's log about what the container `one` goes without.
const LOGGED: &str = "grep -o 'msg=.runs without.* container=one' /tmp/containerd.log | sort -u";

/// What is left of containers: leases, groups, mounts.
const LEFT: &str =
    "containerd-shim-eci-v2 ranges | grep -v stopped | tail -n +2; find /sys/fs/cgroup -path '*/default/one'
    grep -c '/io.containerd.runtime.v2.task/' /proc/mounts";

#[tokio::test]
async fn in_a_larger_range_containers_run_on_kernel_locks_and_the_log_says_so() {
    let room = Room::new();
    let container = room.sleeping(with_map(1_048_576)).await;
    let script = format!(
        r#"mkdir /run/shared; echo 1 > /run/shared/file
        run -d --memory-limit 33554432 --mount type=bind,src=/run/shared,dst=/shared,options=rbind:ro --privileged $image one sleep 1000
        inside 'cat /proc/1/uid_map' | xargs
        inside 'head -n 1 /proc/meminfo' | xargs
        inside 'echo 7 > /proc/sys/kernel/panic; cat /proc/sys/kernel/panic'; cat /proc/sys/kernel/panic
        inside 'mount -o remount,bind,rw /shared; umount /shared; echo 2 > /shared/file; cat /shared/file'
        inside 'echo 1 > /dev/null && head -c 2 /dev/zero | wc -c; stat -c %u:%g /shared/file /bin'
        inside 'mkdir /t && mount -t tmpfs t /t && echo own > /t/f && cat /t/f; cut -d . -f 1 /proc/uptime'
        find /sys/fs/cgroup -path '*/default/one' | grep -q . && echo grouped; end; {LEFT}; {LOGGED}
        ip netns add cni; run --rm --with-ns network:/run/netns/cni $image two sh -c 'ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start' | xargs
        containerd-shim-eci-v2 check | grep -E -o '^(ok|weaker|MISSING) +(id ranges|seccomp notify|FUSE)' | xargs"#
    );
    let said = with_containerd(&container, &script).await;
    let mut lines: Vec<&str> = said.ok().lines().collect();
    let uptime = lines.remove(12);
    assert!(uptime.parse::<u64>().is_ok_and(|uptime| uptime < 300), "{said:?}");
    assert_eq!(
        lines,
        [
            "0 100000 65536",
            "MemTotal: 32768 kB",
            "7",
            "1",
            "mount: permission denied (are you root?)",
            "umount: can't unmount /shared: Invalid argument",
            "sh: can't create /shared/file: Read-only file system",
            "1",
            "2",
            "0:0",
            "0:0",
            "own",
            "grouped",
            "0",
            WITHOUT_TRAPS,
            "lo 0",
            "weaker seccomp notify ok FUSE ok id ranges",
        ]
    );
    container.end().await;
}

/// The reason is the kernel's EBUSY.
const WITHOUT_TRAPS: &str =
    r#"msg="runs without traps: Device or resource busy (os error 16)" runtime=io.containerd.eci.v2 container=one"#;

/// What containerd's client says of a container that cannot be created.
const REFUSED: &str = "run --rm $image one true 2>&1";

#[tokio::test]
async fn in_a_default_range_it_refuses_and_names_the_reason() {
    let container = Container::sleeping(with_eci()).await;
    let script =
        format!("{REFUSED}; {LEFT}; containerd-shim-eci-v2 check | grep 'id ranges' | xargs; ls /run/eci/ranges");
    let said = with_containerd(&container, &script).await;
    let reason = "no id range: cannot give the container the host ids 100000-165535, as the user namespace that eci runs in \
                  maps only 0-65535; give the outer container a larger map";
    let lines: Vec<&str> = said.ok().lines().collect();
    assert_eq!(lines[0], format!("ctr: failed to create shim task: OCI runtime create failed: {reason}: unknown"));
    assert_eq!(lines[1], "0", "a mount is left: {said:?}");
    assert!(lines[2].starts_with(&format!("MISSING id ranges {reason}")), "{said:?}");
    assert_eq!(lines[3..], ["lock"], "a lease is left: {said:?}");
    container.end().await;
}

/// The ids of one range, and not one more; and no /dev/fuse.
#[tokio::test]
async fn the_smallest_map_and_nothing_but_the_kernel_will_do() {
    let room = Room::new();
    let container = room.sleeping(with_map(165_536)).await;
    let script = format!(
        r#"mv /dev/fuse /dev/none; run -d --cap-add CAP_SYS_ADMIN $image one sleep 1000
        inside 'cat /proc/self/uid_map' | xargs
        inside 'ls -l /proc/keys | cut -c 1; umount /proc/keys'
        inside 'mkdir /t; for do in "-o remount,bind,rw /proc/sys" "-o remount,rw /sys" "-t proc p /t" "-t sysfs s /t"; do mount $do; done'
        inside 'mount --bind /proc /t; ls -l /t/keys | cut -c 1; for sys in /proc/sys /t/sys; do echo 1 > $sys/kernel/panic; done'
        run --rm $image two true 2>&1 | grep -o 'no free id range.*'
        end; {LEFT}; {LOGGED}"#
    );
    let said = with_containerd(&container, &script).await;
    assert_eq!(
        said.ok().lines().collect::<Vec<_>>(),
        [
            "0 100000 65536",
            "c",
            "umount: can't unmount /proc/keys: Invalid argument",
            "mount: permission denied (are you root?)",
            "mount: permission denied (are you root?)",
            "mount: permission denied (are you root?)",
            "mount: permission denied (are you root?)",
            "c",
            "sh: can't create /proc/sys/kernel/panic: Read-only file system",
            "sh: can't create /t/sys/kernel/panic: Read-only file system",
            "no free id range: all 1 ranges of the pool are in use (1 by containers, 0 by other owners or accounts of the host); \
             raise the size of the map of the user namespace that eci runs in: unknown",
            "0",
            r#"msg="runs without emulated files: open /dev/fuse: No such file or directory (os error 2)" runtime=io.containerd.eci.v2 container=one"#,
            WITHOUT_TRAPS,
        ]
    );
    container.end().await;
}
