//! Root of a container with every capability is nobody to the kernel: it neither leaves its root directory nor changes
//! what belongs to the host (CVE-2022-0492, CVE-2022-0811, and every "privileged container" escape).

use std::path::PathBuf;

use serde_json::json;
use tests::{Bundle, Container};

use crate::canary::Canary;

/// With every capability, every device allowed, and nothing read-only or masked.
fn privileged() -> Bundle {
    Bundle::new()
        .with_inside()
        .all_capabilities()
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]))
        .set("/process/noNewPrivileges", json!(false))
}

#[tokio::test]
async fn chroot_leads_nowhere() {
    let canary = Canary::new();
    let file = canary.absolute("file");
    let output = privileged().args(&["/inside", "escape", &file]).run().await;
    assert_eq!(output.ok(), "same root, ENOENT");
    canary.untouched();
}

#[tokio::test]
async fn what_changes_the_kernel_is_not_permitted() {
    let container = Container::sleeping(privileged()).await;
    let output = container.exec(&["/inside", "kernel"]).await;
    for line in output.ok().lines() {
        // A kernel may have been built without the first two.
        let missing = (line.contains("_module ") || line.contains("kexec")) && line.ends_with(" ENOSYS");
        assert!(line.ends_with(" EPERM") || missing, "{line}\n{output:?}");
    }
    assert!(output.ok().lines().count() > 10, "{output:?}");
    // The near miss: what harms nobody is permitted.
    container.sh("mkdir /tmp/m && mount -t tmpfs none /tmp/m && mkfifo /tmp/m/fifo && mknod /tmp/m/p p").await.ok();
    container.end().await;
}

#[tokio::test]
async fn only_sysctls_of_its_own_namespaces_can_be_written() {
    let container = Container::sleeping(privileged()).await;
    let output = container.exec(&["/inside", "writable", "/proc/sys"]).await;
    let own = ["net/", "user/", "fs/mqueue/", "kernel/sem", "kernel/shm", "kernel/msg", "kernel/auto_msgmni"];
    // The pid namespace's own: the second since Linux 6.14, before that it is the host's root's.
    let pid = ["/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/pid_max"];
    let own = |path: &&str| own.iter().any(|name| path.strip_prefix("/proc/sys/").unwrap().starts_with(name));
    let foreign: Vec<&str> = output.ok().lines().filter(|path| !own(path)).collect();
    let foreign: Vec<&str> = foreign.into_iter().filter(|path| !pid.contains(path)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(output.ok().contains("/proc/sys/net/ipv4/ip_forward"), "its own network's can be written: {output:?}");
    container.end().await;
}

#[tokio::test]
async fn the_hosts_files_of_proc_and_sys_cannot_be_written() {
    let mounts = Bundle::new().spec["mounts"].as_array().unwrap().clone();
    let sysfs = mounts.iter().position(|mount| mount["destination"] == "/sys").unwrap();
    let bundle = privileged().set(&format!("/mounts/{sysfs}/options"), json!(["nosuid", "noexec", "nodev"]));
    let container = Container::sleeping(bundle).await;
    let output = container.exec(&["/inside", "writable", "/sys"]).await;
    let foreign: Vec<&str> =
        output.ok().lines().filter(|path| !path.starts_with("/sys/devices/virtual/net/")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    for path in ["/proc/sysrq-trigger", "/proc/kcore", "/proc/sys/kernel/core_pattern", "/proc/mtrr", "/dev/kmsg"] {
        let output = container.sh(&format!("[ ! -e {path} ] || exec 3> {path}")).await;
        assert!(output.status == 0 && output.stderr.is_empty() || output.failed().contains("denied"), "{output:?}");
        assert!(!PathBuf::from(path).exists() || output.status != 0 || path == "/dev/kmsg", "{path}: {output:?}");
    }
    container.end().await;
}

#[tokio::test]
async fn no_cgroup_hierarchy_gives_a_release_agent() {
    let container = Container::sleeping(privileged()).await;
    let script = "mkdir /tmp/c && for c in $(sed 's/^[^:]*:\\([^:]*\\):.*/\\1/' /proc/1/cgroup | grep .) none,name=new; do
          mount -t cgroup -o $c,release_agent=/bin/true none /tmp/c 2> /dev/null && echo $c takes an agent && umount /tmp/c
          mount -t cgroup -o $c none /tmp/c 2> /dev/null || continue
          echo /bin/true 2> /dev/null > /tmp/c/release_agent && echo $c has an agent
          umount /tmp/c
        done; find / -name release_agent -xdev 2> /dev/null; find /sys/fs/cgroup -name release_agent 2> /dev/null; :";
    assert_eq!(container.sh(script).await.ok(), "");
    container.end().await;
}
