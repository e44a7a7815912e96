//! Masked paths are covered by a null device and an empty directory of our own, whatever the image has at `/dev/null`
//! (CVE-2025-31133, CVE-2025-62161: the mask was bound from the container's `/dev/null`, a symlink).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use tests::{Bundle, Container, stdio};

use crate::canary::{Canary, Make};

/// Prints the device behind a masked file, then the entries of a masked directory.
const LOOK: &str = "stat -c '%F %t:%T' /proc/kallsyms /secret && ls -A /secrets | wc -l && cat /proc/kallsyms /secret";
const COVERED: &str = "character special file 1:3\ncharacter special file 1:3\n0";

/// What an image may have at dev/null.
fn forms(canary: &Canary) -> Vec<(&'static str, Make<'static>)> {
    let (absolute, climbing) = (canary.absolute("file"), canary.climbing("file"));
    vec![
        ("nothing", Box::new(|_: &Path| {})),
        ("a regular file", Box::new(|null: &Path| fs::write(null, "not null").unwrap())),
        ("a fifo", Box::new(stdio::fifo)),
        ("a directory", Box::new(|null: &Path| fs::create_dir(null).unwrap())),
        ("core_pattern", Box::new(|null: &Path| symlink("/proc/sys/kernel/core_pattern", null).unwrap())),
        ("sysrq-trigger", Box::new(|null: &Path| symlink("/proc/sysrq-trigger", null).unwrap())),
        ("an absolute symlink", Box::new(move |null: &Path| symlink(&absolute, null).unwrap())),
        ("a climbing symlink", Box::new(move |null: &Path| symlink(&climbing, null).unwrap())),
    ]
}

fn with_secrets(image: &Path) {
    fs::write(image.join("secret"), "secret").unwrap();
    fs::create_dir(image.join("secrets")).unwrap();
    fs::write(image.join("secrets/one"), "secret").unwrap();
}

fn masked(bundle: Bundle) -> Bundle {
    bundle.set("/linux/maskedPaths", json!(["/proc/kallsyms", "/secret", "/secrets", "/missing"])).sh(LOOK)
}

#[tokio::test]
async fn masks_hold_whatever_the_images_null_device_is() {
    let canary = Canary::new();
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for (form, make) in forms(&canary) {
        let bundle = Bundle::new().image_with(|image| {
            with_secrets(image);
            let null = image.join("dev/null");
            let _ = fs::remove_file(&null);
            make(&null);
        });
        assert_eq!(masked(bundle).run().await.ok(), COVERED, "{form}");
    }
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    canary.untouched();
}

#[tokio::test]
async fn masks_hold_whatever_the_null_device_of_a_bound_dev_is() {
    let canary = Canary::new();
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for (form, make) in forms(&canary) {
        let dev = tests::place::new_dir("dev");
        for name in ["pts", "shm", "mqueue"] {
            fs::create_dir(dev.join(name)).unwrap();
        }
        make(&dev.join("null"));
        let mut bundle = Bundle::new().image_with(with_secrets);
        let source = dev.display().to_string();
        for mount in bundle.spec["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                *mount = json!({ "destination": "/dev", "type": "bind", "source": source, "options": ["rbind"] });
            }
        }
        assert_eq!(masked(bundle).run().await.ok(), COVERED, "{form}");
    }
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    canary.untouched();
}

#[tokio::test]
async fn a_mask_cannot_be_taken_away() {
    let bundle = masked(Bundle::new().image_with(with_secrets)).all_capabilities();
    let container = Container::sleeping(bundle).await;
    for path in ["/proc/kallsyms", "/secret", "/secrets"] {
        let said = container.sh(&format!("umount {path}; mount -o remount,rw {path}; rm -rf {path}")).await.failed();
        assert!(!said.is_empty());
    }
    assert_eq!(container.sh(LOOK).await.ok(), COVERED);
    container.end().await;
}
