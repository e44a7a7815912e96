//! Containers with Debian's tools, as engines ask for them.

use std::path::Path;

use serde_json::{Value, json};
use tests::room::Room;
use tests::{Bundle, Container, bundle, place};

/// Makes a test of each check in each kind of container that is named ([`Kind`]): `check::privileged`, and so on.
macro_rules! in_kinds {
    ($($check:ident: $($kind:ident),+;)+) => { $(
        mod $check {
            $(
                #[tokio::test]
                async fn $kind() {
                    super::$check($crate::setup::Kind::$kind()).await;
                }
            )+
        }
    )+ };
}

/// A kind of container in which system software runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// By the operator's config, and not by the spec.
    system: bool,
    readonly: bool,
}

impl Kind {
    pub(crate) fn privileged() -> Self {
        Self { system: false, readonly: false }
    }

    pub(crate) fn privileged_read_only() -> Self {
        Self { readonly: true, ..Self::privileged() }
    }

    pub(crate) fn system() -> Self {
        Self { system: true, readonly: false }
    }

    pub(crate) fn system_read_only() -> Self {
        Self { readonly: true, ..Self::system() }
    }

    /// One on a Debian suite.
    pub(crate) fn on(self, suite: &str) -> Bundle {
        let bundle = if self.system { system(suite) } else { privileged(suite) };
        bundle.set("/root/readonly", json!(self.readonly))
    }

    /// With a device of the host's besides: for a privileged one engines list all that there are.
    pub(crate) fn given(self, bundle: Bundle, device: Value) -> Bundle {
        if self.system { asking_for(bundle, device) } else { bundle.push("/linux/devices", device) }
    }

    /// Where it is started, with this more in the operator's config.
    pub(crate) fn room_with(self, config: &str) -> Room {
        let room = Room::new();
        let grants = if self.system { "[container]\ngrants = \"system\"\n" } else { "" };
        room.configure(&format!("{grants}{config}"));
        room
    }

    /// One that sleeps, and where it does.
    pub(crate) async fn sleeping(self, bundle: Bundle) -> (Container, Room) {
        let room = self.room_with("");
        (room.sleeping(bundle).await, room)
    }
}

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

/// A plain container for a runtime with `grants = "system"`, as engines ask for one with `--device /dev/fuse`.
pub(crate) fn system(suite: &str) -> Bundle {
    let bundle = on(suite).mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    fuse().into_iter().fold(bundle, asking_for)
}

/// With a device of the host's, as `--device` asks for it.
fn asking_for(bundle: Bundle, device: Value) -> Bundle {
    let (major, minor) = (&device["major"], &device["minor"]);
    let rule = json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" });
    bundle.push("/linux/devices", device).push("/linux/resources/devices", rule)
}

/// Of the host's devices that engines list, the one that is needed here.
fn fuse() -> Vec<Value> {
    Vec::from_iter(device("/dev/fuse", 10, 229))
}

/// A device of the host as engines list it; none where the host does not have it.
pub(crate) fn device(path: &str, major: u32, minor: u32) -> Option<Value> {
    let device =
        json!({ "path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0 });
    Path::new(path).exists().then_some(device)
}

/// Whether a suite is here; a word about it where it is not.
pub(crate) fn has(suite: &str, test: &str) -> bool {
    let has = place::hosts().join("rootfs").join(suite).join(".complete").exists();
    if !has {
        place::skip(test, &format!("there is no chroot of Debian {suite} (tests/hosts/chroot {suite})"));
    }
    has
}
