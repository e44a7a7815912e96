//! Devices that an inner runtime keeps from its containers on cgroup v2, by programs of its own.

use std::path::Path;

use serde_json::json;
use tests::shim::{How, Shim};
use tests::stdio::Pipes;
use tests::{Bundle, Container, bundle, place};

use crate::runtimes::run;
use crate::setup::{bash, privileged};

/// A rule of the inner container's.
const NOTHING: &str = r#"{"access":"rwm","allow":false}"#;
const FUSE: &str = r#"{"access":"rwm","allow":true,"type":"c","major":10,"minor":229}"#;

/// What the inner container says of a device that the outer one may open, and of one that everybody may.
const SAYS: &str = "(: < /nodes/fuse) 2>&1 && echo fuse; : < /dev/null && echo null";

/// In a group beside those of other tests: by the controllers that a container on cgroup v2 alone has enabled above it, a crun
/// in a container of both versions takes its host for one that it refuses.
fn apart(bundle: Bundle) -> Bundle {
    let group = format!("/eci-tests-on-v2/{}", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(group))
}

#[tokio::test]
async fn an_inner_runtimes_rules_hold() {
    let name = "programs::an_inner_runtimes_rules_hold";
    if !Path::new("/dev/fuse").exists() {
        return place::skip(name, "there is no /dev/fuse");
    }
    let mut bundle = apart(privileged("trixie"));
    let mut runtimes = vec!["runc", "crun"];
    let newest = place::hosts().join("docker/newest/bin/runc");
    if newest.exists() {
        bundle = bundle.bind(&newest, "/usr/local/bin/newest-runc", &["ro"]);
        runtimes.push("newest-runc");
    }
    let container = Container::sleeping_as(bundle, &How::default().on_unified()).await;
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

/// systemd as process 1, on cgroup v2 alone.
async fn systemd() -> Container {
    let hosts = place::hosts();
    let bundle = apart(privileged("trixie"));
    let rootfs = vec![bundle::overlay(&bundle.dir, &[hosts.join("systemd/trixie"), hosts.join("rootfs/trixie")])];
    let bundle = Bundle { rootfs, ..bundle }
        .args(&["/lib/systemd/systemd", "--unit=basic.target"])
        .push("/process/env", json!("container=eci"))
        .mount("tmpfs", "tmpfs", "/run", &["mode=755"]);
    let shim = Shim::start_as(&bundle, &How::default().on_unified()).await;
    let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("a container");
    container.start().await.expect("systemd");
    container
}

#[tokio::test]
async fn an_inner_systemds_policies_hold() {
    let name = "programs::an_inner_systemds_policies_hold";
    if !Path::new("/dev/fuse").exists() || !place::hosts().join("systemd/trixie/.complete").exists() {
        return place::skip(name, "there is no /dev/fuse, or no systemd (tests/setup)");
    }
    let container = systemd().await;
    let up = "for _ in {1..300}; do [ -S /run/systemd/private ] && break; sleep 0.1; done; systemctl is-system-running --wait; :";
    bash(&container, up).await.ok();
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
    let changed = "systemd-run --quiet --unit=s -p DevicePolicy=closed sleep 1000
        systemctl set-property --runtime s.service 'DeviceAllow=/dev/fuse rw' 2>&1; systemctl daemon-reexec
        echo $$ > /sys/fs/cgroup/system.slice/s.service/cgroup.procs; (: < /dev/fuse) 2>&1 && echo fuse
        systemctl set-property --runtime s.service 'DeviceAllow=' 2>&1; (: < /dev/fuse) 2>&1; (: < /dev/null) && echo null";
    let said = bash(&container, changed).await.ok().to_owned();
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == "fuse" && lines[1].contains("not permitted") && lines[2] == "null",
        "{said}"
    );
    container.end().await;
}
