//! A privileged container as an engine asks for one: every capability, every device of the host, nothing hidden.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::room::Room;
use tests::{Bundle, Container};

/// Every device of the machine's `/dev`, as engines list them.
fn host_devices() -> Vec<Value> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (kind, path) = (entry.file_type().unwrap(), entry.path());
            if kind.is_dir() && !["pts", "shm", "mqueue", "fd"].iter().any(|name| path.ends_with(name)) {
                directories.push(path);
            } else if (kind.is_char_device() || kind.is_block_device()) && !path.ends_with("console") {
                let node = std::fs::symlink_metadata(&path).unwrap();
                let number = |number: u64| (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
                let (major, minor) = number(node.rdev());
                let letter = if kind.is_block_device() { "b" } else { "c" };
                found.push(json!({ "path": path, "type": letter, "major": major, "minor": minor,
                    "fileMode": node.mode(), "uid": node.uid(), "gid": node.gid() }));
            }
        }
    }
    found
}

fn privileged() -> Bundle {
    let mut bundle = Bundle::new().with_inside().all_capabilities();
    for mount in bundle.spec["mounts"].as_array_mut().unwrap() {
        mount["options"].as_array_mut().unwrap().retain(|option| option != "ro");
    }
    bundle
        .set("/process/noNewPrivileges", json!(false))
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/devices", json!(host_devices()))
        .set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]))
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "rw"])
}

/// A block device of the machine, by path and numbers.
fn disk() -> Value {
    let disk = host_devices().into_iter().find(|device| device["type"] == "b");
    disk.unwrap_or_else(|| json!({ "path": "/dev/sda", "type": "b", "major": 8, "minor": 0, "fileMode": 0o660 }))
}

const NODES: &str = "find /dev -type b -o -type c ! -path '/dev/pts/*' | sort";

#[tokio::test]
async fn it_has_the_harmless_devices_and_those_of_the_config() {
    let container = Container::sleeping(privileged()).await;
    let expected = ["full", "fuse", "net/tun", "null", "random", "tty", "urandom", "zero"];
    let here = |name: &&&str| PathBuf::from("/dev").join(name).exists() || !["fuse", "net/tun"].contains(*name);
    let expected: Vec<String> = expected.iter().filter(here).map(|name| format!("/dev/{name}")).collect();
    assert_eq!(container.sh(NODES).await.ok(), expected.join("\n"));
    for (path, owner) in [("/dev/fuse", "0:0"), ("/dev/net/tun", "0:0")] {
        if PathBuf::from(path).exists() {
            assert_eq!(container.sh(&format!("stat -c %u:%g {path}")).await.ok(), owner);
            container.exec(&["/inside", "open", path, "rw"]).await.ok();
        }
    }
    container.end().await;

    // The operator's list takes the place of the default one. 1:11 stands for kvm, which a machine may lack: root's alone on
    // the host.
    let room = Room::new();
    room.configure("[devices]\nprivileged = [\"/dev/kmsg\", \"/dev/no-such\", \"/etc\"]\n");
    let container = room.sleeping(privileged()).await;
    let nodes = container.sh(NODES).await;
    assert!(nodes.ok().contains("/dev/kmsg") && !nodes.ok().contains("/dev/net/tun"), "{nodes:?}");
    assert_eq!(container.sh("stat -c %u:%g /dev/kmsg").await.ok(), "0:0");
    container.exec(&["/inside", "open", "/dev/kmsg", "w"]).await.ok();
    container.shim.logged("devices.privileged: /dev/no-such: No such file or directory").await;
    container.shim.logged("devices.privileged: /etc: is no device").await;
    container.end().await;
}

#[tokio::test]
async fn the_rules_of_its_devices_are_as_narrow() {
    // The node alone would not be enough: what a rule for all devices would have opened stays closed.
    let node = json!({ "path": "/dev/log-of-the-kernel", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
    let plain = Bundle::new().with_inside().push("/linux/devices", node.clone());
    let opened = plain.push(
        "/linux/resources/devices",
        json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" }),
    );
    opened.args(&["/inside", "open", "/dev/log-of-the-kernel", "w"]).run().await.ok();
    let container = Container::sleeping(privileged()).await;
    let list = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap();
    let path = list.lines().find_map(|line| line.split_once(":devices:")).map(|(_, path)| path.to_owned());
    let group = PathBuf::from(format!("/sys/fs/cgroup/devices{}/devices.list", path.unwrap_or_default()));
    if group.exists() {
        let rules = std::fs::read_to_string(&group).unwrap();
        assert!(!rules.lines().any(|rule| rule.starts_with("a ")), "{rules}");
        let disks = rules.lines().filter(|rule| rule.starts_with("b ") && !rule.ends_with(" m"));
        assert_eq!(disks.count(), 0, "{rules}");
    }
    container.end().await;
}

#[tokio::test]
async fn the_hosts_disks_are_out_of_reach() {
    let disk = disk();
    let container = Container::sleeping(privileged()).await;
    let path = disk["path"].as_str().unwrap();
    container.sh(&format!("[ -e {path} ]")).await.failed();
    let made = container.sh(&format!("mknod /tmp/disk b {} {}", disk["major"], disk["minor"])).await;
    assert!(made.failed().contains("Operation not permitted"), "{made:?}");
    container.end().await;

    // Asked for by name it is there, with the host's owner and mode, which are not for the container's root.
    let mut asked = disk.clone();
    (asked["path"], asked["fileMode"]) = (json!("/dev/disk-of-the-host"), json!(0o660));
    let rule = json!({ "allow": true, "type": "b", "major": disk["major"], "minor": disk["minor"], "access": "rwm" });
    let bundle = Bundle::new().with_inside().all_capabilities().push("/linux/devices", asked);
    let container = Container::sleeping(bundle.push("/linux/resources/devices", rule)).await;
    assert_eq!(
        container.sh("stat -c '%F %a %u:%g' /dev/disk-of-the-host").await.ok(),
        "block special file 660 65534:65534"
    );
    for access in ["r", "w"] {
        let output = container.exec(&["/inside", "open", "/dev/disk-of-the-host", access]).await;
        assert_eq!(output.failed().trim(), "EACCES");
    }
    container.end().await;
}

#[tokio::test]
async fn what_is_its_own_of_proc_and_sys_is_writable_and_nothing_of_the_hosts() {
    let container = Container::sleeping(privileged()).await;
    for own in [
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo inner > /proc/sys/kernel/hostname || hostname inner",
        "mkdir $(ls -d /sys/fs/cgroup/unified /sys/fs/cgroup/cpu /sys/fs/cgroup | head -n 1)/made",
        "ip link add br0 type bridge && echo 1400 > /sys/class/net/br0/mtu",
        "mkdir /mnt; mount -t tmpfs none /mnt && mount -o remount,ro none /mnt && umount /mnt",
        "mount -t proc proc /mnt && umount /mnt",
    ] {
        container.sh(own).await.ok();
    }
    let paths = ["kernel/core_pattern", "kernel/modprobe", "vm/drop_caches"];
    let paths = paths.iter().map(|path| format!("/proc/sys/{path}"));
    let more = [
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_seqnum",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/module/kernel/parameters/panic",
    ];
    for path in paths.chain(more.map(str::to_owned)) {
        let output = container.sh(&format!("[ ! -e {path} ] || exec 3> {path}")).await;
        if PathBuf::from(&path).exists() {
            assert!(output.failed().contains("ermission denied"), "{path}: {output:?}");
        }
    }
    container.end().await;
}

/// Nodes that an image brings, open to everybody: what they lead to the device cgroup decides, in the first process and in one that
/// comes later. (Sysbox lets a privileged container read the host's disk by one.)
#[tokio::test]
async fn an_images_nodes_lead_to_nothing_of_the_hosts() {
    let disk = disk();
    let disk = format!("b {} {}", disk["major"], disk["minor"]);
    let nodes = [("disk", disk.as_str()), ("mem", "c 1 1"), ("kmsg", "c 1 11"), ("null", "c 1 3")];
    let bundle = privileged().image_with(|image| {
        let made = nodes.map(|(name, device)| format!("mknod -m 666 {}/{name} {device}", image.display()));
        tests::place::sh(&made.join("\n")).ok();
    });
    let names = nodes.map(|(name, _)| name).join(" ");
    let script = format!(
        "for name in {names}; do for access in r w; do echo $name $(/inside open /$name $access 2>&1 || :); done; done"
    );
    let refused = ["disk", "mem", "kmsg"].map(|name| format!("{name} EPERM\n{name} EPERM\n")).concat();
    let expected = format!("{refused}null ok\nnull ok");
    let mut container = Container::started(bundle.sh(&format!("{script}; touch /done; sleep 1000"))).await;
    let later = format!("until [ -e /done ]; do sleep 0.1; done; {script}");
    assert_eq!(container.sh(&later).await.ok(), expected);
    assert_eq!(
        container.sh("stat -c '%F %a %u:%g' /disk /kmsg").await.ok(),
        "block special file 666 0:0\ncharacter special file 666 0:0"
    );
    container.kill("", 9, true).await.unwrap();
    assert_eq!(container.output().await.stdout.trim(), expected);
    container.end().await;
}
