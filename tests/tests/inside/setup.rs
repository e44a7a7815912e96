//! Containers with Debian's tools, as engines ask for them.

use serde_json::{Value, json};
use tests::{Bundle, Container, bundle, place};

/// What answers whatever went before: bash tells what write(2) has said, where dash does not.
pub(crate) async fn bash(container: &Container, script: &str) -> tests::Output {
    container.exec(&["/bin/bash", "-c", script]).await
}

/// A container on a Debian suite with its tools, and those of its layer `sandboxes` where it has one.
pub(crate) fn on(suite: &str) -> Bundle {
    let layer = place::hosts().join("sandboxes").join(suite);
    let layer = layer.join(".complete").exists().then_some(layer);
    let lowers: Vec<_> = layer.into_iter().chain([place::hosts().join("rootfs").join(suite)]).collect();
    let bundle = Bundle::new();
    let rootfs = vec![bundle::overlay(&bundle.dir, &lowers)];
    Bundle { rootfs, ..bundle }
        .set("/process/noNewPrivileges", json!(false))
        .push("/process/env", json!("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .bind(&place::busybox(), "/busybox", &["ro"])
        .mount("tmpfs", "tmpfs", "/mnt", &["mode=755"])
}

/// The same as `--privileged` makes it.
pub(crate) fn privileged(suite: &str) -> Bundle {
    let mut bundle = on(suite).all_capabilities();
    for mount in bundle.spec["mounts"].as_array_mut().unwrap() {
        if ["/sys", "/proc"].contains(&mount["destination"].as_str().unwrap()) {
            mount["options"].as_array_mut().unwrap().retain(|option| option != "ro");
        }
    }
    bundle
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/devices", json!(fuse()))
        .set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]))
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "rw"])
}

/// Of the host's devices that engines list, the one that is needed here.
fn fuse() -> Vec<Value> {
    let fuse =
        json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0 });
    Vec::from_iter(std::path::Path::new("/dev/fuse").exists().then_some(fuse))
}

/// Whether a suite is here; a word about it where it is not.
pub(crate) fn has(suite: &str, test: &str) -> bool {
    let has = place::hosts().join("rootfs").join(suite).join(".complete").exists();
    if !has {
        place::skip(test, &format!("there is no chroot of Debian {suite} (tests/hosts/chroot {suite})"));
    }
    has
}
