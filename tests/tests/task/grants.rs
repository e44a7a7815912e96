//! `[container] grants = "system"`: what the operator's config gives a plain container.

use serde_json::{Value, json};
use tests::room::Room;
use tests::{Bundle, Container};

use super::process::status;

/// A plain container as Docker makes one: the fourteen capabilities, a profile of what is allowed, cgroups that are read-only.
fn plain() -> Bundle {
    let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            { "names": super::seccomp::ALLOWED.split_whitespace().chain(MORE).collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 0x7e02_0000, "op": "SCMP_CMP_MASKED_EQ" }] },
        ] });
    let options = ["nosuid", "noexec", "nodev", "ro"];
    Bundle::new().with_inside().set("/process/noNewPrivileges", json!(false)).set("/linux/seccomp", profile).mount(
        "cgroup",
        "cgroup",
        "/sys/fs/cgroup",
        &options,
    )
}

const MORE: [&str; 6] = ["mkdir", "rmdir", "unlink", "socket", "setuid", "setgid"];

fn config(grants: &str) -> Room {
    let room = Room::new();
    room.configure(&format!("[container]\ngrants = {grants:?}\n"));
    room
}

/// A user's process of a container.
fn process(container: &Container, script: &str, uid: u32, capabilities: Option<&[&str]>) -> Value {
    let mut process = container.process(&["/bin/sh", "-c", script]);
    process["user"] = json!({ "uid": uid, "gid": uid });
    if let Some(names) = capabilities {
        process["capabilities"] = json!({ "bounding": names, "effective": names, "permitted": names });
    }
    process
}

async fn effective(container: &Container, process: &Value) -> u64 {
    let output = container.exec_process(process).await.unwrap();
    u64::from_str_radix(&status(output.ok(), "CapEff"), 16).unwrap()
}

const SHOW: &str = "cat /proc/self/status";
const ACTS: [&str; 4] = [
    "mount -t tmpfs none /mnt",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "mkdir $(ls -d /sys/fs/cgroup/unified /sys/fs/cgroup/cpu /sys/fs/cgroup | head -n 1)/made",
    "unshare --mount true",
];

#[tokio::test]
async fn a_system_container_may_do_what_a_plain_one_may_not() {
    for (grants, granted) in [("spec", false), ("system", true)] {
        let room = config(grants);
        let container = room.sleeping(plain()).await;
        for act in ACTS {
            let output = container.sh(&format!("mkdir -p /mnt; {act}")).await;
            assert_eq!(output.status == 0, granted, "{grants}: {act}: {output:?}");
        }
        // What the base filter holds, and what no namespace keeps apart, stays closed.
        for act in ["/inside syscall 41 40 1 0", "echo 1 > /proc/sys/kernel/modprobe", "echo h > /proc/sysrq-trigger"] {
            container.sh(act).await.failed();
        }
        container.end().await;
    }
}

#[tokio::test]
async fn root_has_every_capability_but_those_that_were_dropped() {
    let room = config("system");
    // A user namespace begins with all that the kernel has, whatever the machine's own bounding set lacks.
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    let all = (2_u64 << last.trim().parse::<u32>().unwrap()) - 1;
    let container = room.sleeping(plain()).await;
    let init = std::fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&status(&init, set), 16).unwrap(), all, "{set}");
    }
    assert_eq!(status(&init, "CapInh"), "0000000000000000");
    // So does an exec as root, also one whose request leaves its capabilities out; a user has the spec's, which is none.
    assert_eq!(effective(&container, &process(&container, SHOW, 0, None)).await, all);
    let mut silent = process(&container, SHOW, 0, None);
    silent.as_object_mut().unwrap().remove("capabilities");
    assert_eq!(effective(&container, &silent).await, all);
    for uid in [1000, 1] {
        silent["user"] = json!({ "uid": uid, "gid": uid });
        for process in [&silent, &process(&container, SHOW, uid, None)] {
            assert_eq!(effective(&container, process).await, 0, "user {uid}");
            let output = container.exec_process(process).await.unwrap();
            assert_eq!(u64::from_str_radix(&status(output.ok(), "CapBnd"), 16).unwrap(), 0xa804_25fb);
        }
    }
    container.end().await;

    let usual: Vec<&str> =
        tests::bundle::DEFAULT_CAPABILITIES.into_iter().filter(|name| *name != "CAP_NET_RAW").collect();
    let container = room.sleeping(plain().capabilities(&usual)).await;
    assert_eq!(effective(&container, &process(&container, SHOW, 0, None)).await, all & !(1 << 13));
    container.sh("/inside syscall 41 17 3 0").await.failed();
    container.sh("mkdir -p /mnt && mount -t tmpfs none /mnt").await.ok();
    container.end().await;

    let container = room.sleeping(plain().capabilities(&[])).await;
    assert_eq!(effective(&container, &process(&container, SHOW, 0, None)).await, 0, "all dropped");
    container.end().await;
}

#[tokio::test]
async fn nothing_but_the_operators_config_gives_it() {
    let asking = json!({ "eci.grants": "system", "io.eci.container.grants": "system" });
    let bundle = plain()
        .set("/annotations", asking)
        .push("/process/env", json!("ECI_GRANTS=system"))
        .push("/process/env", json!("SYSBOX_SYSCONT_MODE=TRUE"));
    let container = Container::sleeping(bundle).await;
    container.sh("mkdir -p /mnt; mount -t tmpfs none /mnt").await.failed();
    container.end().await;
}

#[tokio::test]
async fn what_is_hidden_for_the_hosts_sake_stays_hidden() {
    let room = config("system");
    let masked = json!(["/proc/acpi", "/proc/kallsyms", "/proc/keys", "/proc/kcore", "/sys/firmware"]);
    let container = room.sleeping(plain().set("/linux/maskedPaths", masked)).await;
    // keys is covered by a null device, kallsyms is not; addresses are zeroes.
    let output = container.sh("wc -c < /proc/keys; cut -c 1-16 /proc/kallsyms | sort -u").await;
    assert_eq!(output.ok(), "0\n0000000000000000");
    container.sh("head -c 1 /proc/kcore").await.failed();
    container.sh("touch /proc/bus/x").await.failed();
    container.end().await;
}
