//! An image chooses its symlinks; none of them leads a mount, a file or a write out of the root filesystem, or makes one
//! land where it protects nothing (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use tests::{Bundle, place};

use crate::canary::Canary;

/// Puts a symlink in a place of the image.
fn link(image: &Path, name: &str, target: &str) {
    let place = image.join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    symlink(target, place).unwrap();
}

fn linked(name: &str, target: &str) -> Bundle {
    Bundle::new().image_with(|image| link(image, name, target))
}

#[tokio::test]
async fn proc_and_sys_that_are_symlinks_are_refused() {
    let canary = Canary::new();
    for name in ["proc", "sys"] {
        for target in ["/x".to_owned(), "tmp".to_owned(), "..".to_owned(), canary.absolute(name), canary.climbing(name)]
        {
            let message = linked(name, &target).refused().await;
            assert!(message.contains(&format!("/{name}: is a symlink in the image")), "{target}: {message}");
        }
    }
    canary.untouched();
}

#[tokio::test]
async fn a_dev_that_is_a_symlink_leads_nowhere_outside() {
    let canary = Canary::new();
    for target in [canary.absolute("dev"), canary.climbing("dev"), "/tmp/x".to_owned()] {
        let message = linked("dev", &target).refused().await;
        assert!(message.contains("/dev: is a symlink"), "{target}: {message}");
    }
    for target in ["../../..", "/", "."] {
        let message = linked("dev", target).refused().await;
        assert!(message.contains("/dev") && message.contains("would cover the root filesystem"), "{target}: {message}");
    }
    // Inside, it may be anywhere.
    let output = linked("dev", "/tmp").sh("stat -c '%F %t:%T' /tmp/null; ls /").run().await;
    assert!(output.ok().starts_with("character special file 1:3"), "{output:?}");
    canary.untouched();
}

#[tokio::test]
async fn etc_that_is_a_symlink_is_inside_for_mounts_and_for_passwd() {
    let canary = Canary::new();
    fs::write(place::new_dir("source").join("resolv.conf"), "").unwrap();
    for target in ["..".to_owned(), "../../..".to_owned(), canary.climbing("etc"), canary.absolute("etc")] {
        let source = place::new_dir("source").join("resolv.conf");
        fs::write(&source, "nameserver 192.0.2.1\n").unwrap();
        let bundle = linked("etc", &target).bind(&source, "/etc/resolv.conf", &["ro"]).remove("/process/env");
        if target.starts_with("..") && !target.contains("canary") {
            assert_eq!(bundle.sh("cat /resolv.conf; echo $HOME").run().await.ok(), "nameserver 192.0.2.1\n/");
        } else {
            let message = bundle.refused().await;
            assert!(message.contains("/etc: is a symlink"), "{message}");
        }
    }
    canary.untouched();
}

#[tokio::test]
async fn nothing_is_mounted_over_proc_or_below_it() {
    let volume = place::new_dir("volume");
    for destination in ["/proc", "/proc/self", "/proc/sys/kernel", "/proc/1/attr", "/proc/self/attr/exec", "/proc/new"]
    {
        let message = Bundle::new().bind(&volume, destination, &[]).refused().await;
        assert!(message.contains(destination) && message.contains("destination"), "{message}");
    }
    let file = volume.join("meminfo");
    fs::write(&file, "MemTotal: 1 kB\n").unwrap();
    let output = Bundle::new().bind(&file, "/proc/meminfo", &["ro"]).args(&["/bin/cat", "/proc/meminfo"]).run().await;
    assert_eq!(output.ok(), "MemTotal: 1 kB");
}

#[tokio::test]
async fn a_volume_behind_a_symlink_to_proc_is_refused() {
    let volume = place::new_dir("volume");
    for (target, destination) in [
        ("/proc", "/data"),
        ("../../proc/", "/data"),
        ("/proc/sys", "/data"),
        ("/proc", "/data/sys/kernel"),
        ("/proc", "/data/bus"),
    ] {
        let message = linked("data", target).bind(&volume, destination, &[]).refused().await;
        assert!(message.contains(destination) && message.contains("leads to procfs"), "{target}: {message}");
        let message = linked("data", target).mount("tmpfs", "tmpfs", destination, &[]).refused().await;
        assert!(message.contains(destination) && message.contains("leads to procfs"), "{target}: {message}");
    }
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
}

#[tokio::test]
async fn a_volume_behind_a_symlink_to_the_root_is_refused() {
    let volume = place::new_dir("volume");
    for target in ["/", "..", "../../../..", "/tmp/.."] {
        let message = linked("data", target).bind(&volume, "/data", &[]).refused().await;
        assert!(
            message.contains("/data") && message.contains("would cover the root filesystem"),
            "{target}: {message}"
        );
    }
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
}

#[tokio::test]
async fn a_volume_behind_a_symlink_to_dev_gets_no_device() {
    let volume = place::new_dir("volume");
    let output = linked("data", "/dev").bind(&volume, "/data", &[]).sh("ls -A /dev").run().await;
    assert_eq!(output.ok(), "");
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 0, "the user's volume has device nodes");
}

#[tokio::test]
async fn symlinks_on_the_way_to_a_volume_stay_inside() {
    let canary = Canary::new();
    let (volume, file) = (place::new_dir("volume"), place::new_dir("file").join("f"));
    fs::write(&file, "bound\n").unwrap();
    for target in [canary.climbing("dir"), canary.absolute("dir"), "/nowhere".to_owned()] {
        for destination in ["/way", "/way/new/deep", "/way/sub"] {
            let message = linked("way", &target).bind(&volume, destination, &[]).refused().await;
            assert!(message.contains(destination) && message.contains("symlink"), "{message}");
            let message = linked("way", &target).bind(&file, destination, &[]).refused().await;
            assert!(message.contains(destination) && message.contains("symlink"), "{message}");
        }
        // The same path exists inside: there it leads.
        let inside = |image: &Path| {
            link(image, "way", &target);
            let place = canary.dir.strip_prefix("/").unwrap();
            fs::create_dir_all(image.join(place).join("dir")).unwrap();
            fs::create_dir_all(image.join("nowhere")).unwrap();
        };
        let bundle = Bundle::new().image_with(inside).bind(&file, "/way/new/f", &[]).sh("cat /way/new/f");
        assert_eq!(bundle.run().await.ok(), "bound");
    }
    canary.untouched();
}

/// Runtimes that write through the container's `/proc` can be led to another file (CVE-2025-52881), or to none, so that
/// a setting is silently not made.
#[tokio::test]
async fn settings_reach_the_kernel_and_not_a_proc_of_the_images() {
    let canary = Canary::new();
    let fake = ["proc/sys/net/ipv4/ip_forward", "proc/self/oom_score_adj", "proc/self/attr/exec", "proc/1/uid_map"];
    let mut bundle = Bundle::new().image_with(|image| {
        for name in fake {
            fs::create_dir_all(image.join(name).parent().unwrap()).unwrap();
            fs::write(image.join(name), "untouched").unwrap();
        }
        link(image, "proc/sys/net/ipv4/ip_default_ttl", &canary.absolute("file"));
        fs::create_dir(image.join("real")).unwrap();
    });
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
    let real = "cat /real/sys/net/ipv4/ip_forward /real/sys/net/ipv4/ip_default_ttl /real/self/oom_score_adj; ";
    let image = fake.map(|name| format!("/{name}")).join(" ");
    let bundle = bundle
        .mount("proc", "proc", "/real", &["nosuid"])
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "net.ipv4.ip_default_ttl": "33" }))
        .set("/process/oomScoreAdj", json!(321))
        .sh(&format!("{real} cat {image}"));
    assert_eq!(bundle.run().await.ok(), format!("1\n33\n321\n{}", "untouched".repeat(fake.len())));
    canary.untouched();
}
