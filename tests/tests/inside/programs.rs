//! What runs on cgroup v2 alone: systemd, and devices that it or an inner runtime keeps from what it runs, by programs of its own.

use std::path::Path;

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container, bundle, place};

use crate::runtimes::run;
use crate::setup::{Kind, bash};

/// A rule of the inner container's.
const NOTHING: &str = r#"{"access":"rwm","allow":false}"#;
const FUSE: &str = r#"{"access":"rwm","allow":true,"type":"c","major":10,"minor":229}"#;

/// What the inner container says of a device that the outer one may open, and of one that everybody may.
const SAYS: &str = "(: < /nodes/fuse) 2>&1 && echo fuse; : < /dev/null && echo null";

in_kinds!(
    an_inner_runtimes_rules_hold: privileged, system;
    an_inner_systemd_starts_all_that_it_can: privileged, system;
    an_inner_systemds_policies_hold: privileged, system;
);

/// In a group beside those of other tests: by the controllers that a container on cgroup v2 alone has enabled above it, a crun
/// in a container of both versions takes its host for one that it refuses.
fn apart(bundle: Bundle) -> Bundle {
    let group = format!("/eci-tests-on-v2/{}", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(group))
}

/// Where shims see the unified hierarchy alone, as on a host that has nothing else.
fn on_unified(kind: Kind) -> Room {
    let room = kind.room_with("");
    room.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup").ok();
    room
}

async fn an_inner_runtimes_rules_hold(kind: Kind) {
    let name = "programs::an_inner_runtimes_rules_hold";
    if !Path::new("/dev/fuse").exists() {
        return place::skip(name, "there is no /dev/fuse");
    }
    let mut bundle = apart(kind.on("trixie"));
    let mut runtimes = vec!["runc", "crun"];
    let newest = place::hosts().join("docker/newest/bin/runc");
    if newest.exists() {
        bundle = bundle.bind(&newest, "/usr/local/bin/newest-runc", &["ro"]);
        runtimes.push("newest-runc");
    }
    let room = on_unified(kind);
    let container = room.sleeping(bundle).await;
    bash(&container, "mkdir -p /nodes; touch /nodes/fuse; mount --bind /dev/fuse /nodes/fuse").await.ok();
    for runtime in runtimes {
        let denied = bash(&container, &run(runtime, &format!("{runtime}-none"), SAYS)).await;
        let lines: Vec<_> = denied.ok().lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("not permitted") && lines[1] == "null", "{runtime}: {denied:?}");
        let allowing = run(runtime, &format!("{runtime}-fuse"), SAYS).replace(NOTHING, &format!("{NOTHING},{FUSE}"));
        assert!(allowing.contains(FUSE), "{allowing}");
        assert_eq!(bash(&container, &allowing).await.ok(), "fuse\nnull", "{runtime}");
    }
    container.end().await;
}

/// systemd as process 1, on cgroup v2 alone, once it has started all that it starts; none, with a word about it, where it is not
/// to be had.
async fn systemd(kind: Kind, test: &str) -> Option<(Container, Room)> {
    let hosts = place::hosts();
    if !Path::new("/dev/fuse").exists() || !hosts.join("systemd/trixie/.complete").exists() {
        place::skip(test, "there is no /dev/fuse, or no systemd (tests/setup)");
        return None;
    }
    let bundle = apart(kind.on("trixie"));
    let rootfs = vec![bundle::overlay(&bundle.dir, &[hosts.join("systemd/trixie"), hosts.join("rootfs/trixie")])];
    let bundle = Bundle { rootfs, ..bundle }
        .args(&["/lib/systemd/systemd", "--unit=basic.target"])
        .push("/process/env", json!("container=eci"))
        .mount("tmpfs", "tmpfs", "/run", &["mode=755"]);
    let room = on_unified(kind);
    let container = room.create(bundle).await.expect("a container");
    container.start().await.expect("systemd");
    let up = "for _ in {1..600}; do [ -S /run/systemd/private ] && break; sleep 0.1; done; systemctl is-system-running --wait; :";
    bash(&container, up).await.ok();
    Some((container, room))
}

/// What of the host's a systemd raises when it starts, and sysctl.d(5) may set.
fn host_limits() -> [String; 2] {
    ["file-max", "nr_open"]
        .map(|name| std::fs::read_to_string(format!("/proc/sys/fs/{name}")).unwrap().trim().to_owned())
}

/// What fails in a container for reasons of its own: no user namespace may mount debugfs or tracefs (they lack `FS_USERNS_MOUNT` of
/// linux/fs.h), and the layer has no libkmod.
const FAIL_ANYWHERE: [&str; 3] = ["sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-modules-load.service"];

async fn an_inner_systemd_starts_all_that_it_can(kind: Kind) {
    let before = host_limits();
    let Some((container, _room)) = systemd(kind, "programs::an_inner_systemd_starts_all_that_it_can").await else {
        return;
    };
    let said = bash(&container, "systemctl --failed --plain --no-legend --no-pager").await;
    let failed = said.ok().lines().filter_map(|line| line.split_whitespace().next());
    let failed: Vec<&str> = failed.filter(|unit| !FAIL_ANYWHERE.contains(unit)).collect();
    assert!(failed.is_empty(), "{said:?}\n{}", bash(&container, "journalctl --no-pager -p warning").await.stdout);
    // What Debian's own unit does, and what an administrator sets.
    let tmp = "systemctl unmask tmp.mount; systemctl restart tmp.mount && systemctl is-active tmp.mount; stat -fc %T /tmp; touch /tmp/x
        systemctl stop tmp.mount && ls /tmp";
    assert_eq!(bash(&container, tmp).await.ok(), "active\ntmpfs");
    let set = "printf 'fs.file-max = 123456\\nfs.nr_open = 1048640\\nkernel.panic = 77\\n' > /etc/sysctl.d/99-own.conf
        systemctl restart systemd-sysctl && systemctl show --value -p ActiveState -p Result systemd-sysctl
        cat /proc/sys/fs/file-max /proc/sys/fs/nr_open /proc/sys/kernel/panic";
    let said = bash(&container, set).await;
    let mut lines: Vec<&str> = said.ok().lines().collect();
    lines[..2].sort_unstable();
    assert_eq!(lines, ["active", "success", "123456", "1048640", "77"]);
    assert_eq!(host_limits(), before);
    container.end().await;
}

async fn an_inner_systemds_policies_hold(kind: Kind) {
    let Some((container, _room)) = systemd(kind, "programs::an_inner_systemds_policies_hold").await else { return };
    let opened = async |properties: &str| {
        let script = format!(
            "systemd-run --quiet --wait --pipe {properties} bash -c ': < /dev/fuse && echo fuse; : < /dev/null && echo null' 2>&1; :"
        );
        bash(&container, &script).await.ok().to_owned()
    };
    assert_eq!(opened("").await, "fuse\nnull", "without a policy");
    let closed = opened("-p DevicePolicy=closed").await;
    assert!(closed.contains("/dev/fuse: Operation not permitted") && closed.ends_with("null"), "{closed}");
    assert_eq!(opened("-p DevicePolicy=closed -p 'DeviceAllow=/dev/fuse rw'").await, "fuse\nnull");
    // What is changed while it runs replaces the program; and so does a systemd that begins anew.
    // It replaces it after it has answered.
    let changed = "opens() { (: < /dev/fuse) 2> /dev/null; }
        systemd-run --quiet --unit=s -p DevicePolicy=closed sleep 1000
        systemctl set-property --runtime s.service 'DeviceAllow=/dev/fuse rw' 2>&1; systemctl daemon-reexec
        echo $$ > /sys/fs/cgroup/system.slice/s.service/cgroup.procs
        for _ in {1..300}; do opens && break; sleep 0.1; done; (: < /dev/fuse) 2>&1 && echo fuse
        systemctl set-property --runtime s.service 'DeviceAllow=' 2>&1
        for _ in {1..300}; do opens || break; sleep 0.1; done; (: < /dev/fuse) 2>&1; (: < /dev/null) && echo null";
    let said = bash(&container, changed).await.ok().to_owned();
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == "fuse" && lines[1].contains("not permitted") && lines[2] == "null",
        "{said}"
    );
    container.end().await;
}
