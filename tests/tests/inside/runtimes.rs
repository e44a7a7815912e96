//! Containers in a container, by Debian's own runc and crun, as an engine inside would run them.

use serde_json::{Value, json};
use tests::{Bundle, Container, place};

use crate::setup::{Kind, bash, has};

/// A script that runs a script in a container of an inner runtime, whose root is a copy of `/busybox`.
pub(crate) fn run(runtime: &str, id: &str, script: &str) -> String {
    run_limited(runtime, id, &json!({}), script)
}

/// The same with these limits, as `linux.resources` has them.
pub(crate) fn run_limited(runtime: &str, id: &str, limits: &Value, script: &str) -> String {
    run_config(runtime, id, &config(id, limits, script))
}

/// [`run`] in one that may mount, of which nothing is hidden or read-only, and that has the container's `/usr`.
pub(crate) fn run_privileged(runtime: &str, id: &str, script: &str) -> String {
    let mut config = config(id, &json!({}), script);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
    }
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    // Where the only sysfs is read-only the kernel refuses another one.
    for options in mounts.iter_mut().filter_map(|mount| mount["options"].as_array_mut()) {
        options.retain(|option| option != "ro");
    }
    mounts.push(json!({ "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] }));
    run_config(runtime, id, &config)
}

fn config(id: &str, limits: &Value, script: &str) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"],
            "capabilities": {
                "bounding": ["CAP_NET_BIND_SERVICE"], "effective": ["CAP_NET_BIND_SERVICE"], "permitted": ["CAP_NET_BIND_SERVICE"],
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "inner",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
            { "destination": "/nodes", "type": "bind", "source": "/nodes", "options": ["rbind", "ro"] },
        ],
        "linux": {
            "cgroupsPath": format!("/inner/{id}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            ],
            "sysctl": { "net.core.somaxconn": "777" },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    let resources = config["linux"]["resources"].as_object_mut().unwrap();
    resources.extend(limits.as_object().unwrap().clone());
    config
}

fn run_config(runtime: &str, id: &str, config: &Value) -> String {
    format!(
        "set -e; mkdir -p /nodes /mnt/{id}/rootfs; cp -a /busybox/. /mnt/{id}/rootfs; cd /mnt/{id}\n\
         cat > config.json <<'END'\n{config}\nEND\n{runtime} --root /run/{id} run {id}; cd /; rm -rf /mnt/{id}"
    )
}

/// What the inner container says of itself.
const SAYS: &str = "cat /proc/sys/kernel/panic /proc/sys/net/core/somaxconn; cut -d ' ' -f 1 /proc/uptime; hostname; head -c 3 /dev/zero | wc -c; \
                    grep -c ' /proc/.* - fuse ' /proc/self/mountinfo; (echo 5 > /proc/sys/kernel/panic) 2>&1; umount /proc/uptime 2>&1; ls /sys/firmware";

async fn says(container: &Container, runtime: &str) {
    for turn in 0..2 {
        let output = bash(container, &run(runtime, &format!("{runtime}-{turn}"), SAYS)).await;
        let lines: Vec<&str> = output.ok().lines().collect();
        assert_eq!((lines[0], lines[1], lines[3], lines[4]), ("77", "777", "inner", "3"), "{output:?}");
        assert!(lines[2].parse::<f64>().unwrap() < 300.0 && lines[5].parse::<u32>().unwrap() > 40, "{output:?}");
        assert!(lines[6].contains("Read-only file system") && lines[7].contains("not permitted"), "{output:?}");
        assert_eq!(lines.len(), 8, "{output:?}");
    }
}

/// Runs inner containers of a suite's own runtime.
async fn run_in(kind: Kind, suite: &str, runtime: &str) {
    let bundle = kind.on(suite);
    says_in(kind, bundle, runtime).await;
}

/// The same in this container. What is bound into inner ones is a directory of the host's: the root may be read-only.
async fn says_in(kind: Kind, bundle: Bundle, runtime: &str) {
    let (container, _room) = kind.sleeping(bundle.bind(&place::new_dir("nodes"), "/nodes", &[])).await;
    bash(&container, "echo 77 > /proc/sys/kernel/panic").await.ok();
    says(&container, runtime).await;
    container.end().await;
}

in_kinds!(
    bookworm_runc: privileged, system;
    bookworm_crun: privileged, system;
    trixie_runc: privileged, privileged_read_only, system, system_read_only;
    trixie_crun: privileged, privileged_read_only, system, system_read_only;
    sid_runc: privileged, system;
    sid_crun: privileged, system;
    newest_runc: privileged, system;
);

async fn bookworm_runc(kind: Kind) {
    run_in(kind, "bookworm", "runc").await;
}

async fn bookworm_crun(kind: Kind) {
    run_in(kind, "bookworm", "crun").await;
}

async fn trixie_runc(kind: Kind) {
    run_in(kind, "trixie", "runc").await;
}

async fn trixie_crun(kind: Kind) {
    run_in(kind, "trixie", "crun").await;
}

async fn sid_runc(kind: Kind) {
    if has("sid", "runtimes::sid_runc") {
        run_in(kind, "sid", "runc").await;
    }
}

async fn sid_crun(kind: Kind) {
    if has("sid", "runtimes::sid_crun") {
        run_in(kind, "sid", "crun").await;
    }
}

/// runc 1.4 asks for its mounts by the new calls.
async fn newest_runc(kind: Kind) {
    let runc = place::hosts().join("docker/newest/bin/runc");
    if !runc.exists() {
        return place::skip("runtimes::newest_runc", "the newest runc is not built (tests/hosts/newest-docker)");
    }
    says_in(kind, kind.on("trixie").bind(&runc, "/usr/local/bin/newest-runc", &["ro"]), "newest-runc").await;
}
