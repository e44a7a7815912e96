//! Devices that an inner runtime keeps from its containers on cgroup v2, by programs of its own.

use std::path::Path;

use tests::shim::How;
use tests::{Container, place};

use crate::runtimes::run;
use crate::setup::{bash, privileged};

/// A rule of the inner container's.
const NOTHING: &str = r#"{"access":"rwm","allow":false}"#;
const FUSE: &str = r#"{"access":"rwm","allow":true,"type":"c","major":10,"minor":229}"#;

/// What the inner container says of a device that the outer one may open, and of one that everybody may.
const SAYS: &str = "(: < /nodes/fuse) 2>&1 && echo fuse; : < /dev/null && echo null";

#[tokio::test]
async fn an_inner_runtimes_rules_hold() {
    let name = "programs::an_inner_runtimes_rules_hold";
    if !Path::new("/dev/fuse").exists() {
        return place::skip(name, "there is no /dev/fuse");
    }
    let mut bundle = privileged("trixie");
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
