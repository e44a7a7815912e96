//! Read-only volumes of what lies on an overlay, by both routes by which an overlay gets its layers.

#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod kernel;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kernel::{MAP, at_mnt, disk, inside, private, user_namespace};
use rustix::fs::{CWD, Mode, OFlags};
use userns::creds::FsIds;
use userns::mount::{Detached, MountIds};
use userns::rootfs::{LayerRoute, volume};

/// An overlay of two layers and an upper directory, mounted on `merged`.
fn overlay(dir: &Path) -> PathBuf {
    for name in ["1/etc", "2/etc", "upper", "work", "merged"] {
        std::fs::create_dir_all(dir.join(name)).expect("mkdir");
    }
    std::fs::write(dir.join("1/etc/file"), "1").expect("write");
    std::fs::write(dir.join("2/etc/file"), "2").expect("write");
    std::os::unix::fs::chown(dir.join("2/etc/file"), Some(7), Some(8)).expect("chown");
    let at = |name: &str| dir.join(name).display().to_string();
    let data = format!("lowerdir={}:{},upperdir={},workdir={}", at("2"), at("1"), at("upper"), at("work"));
    let data = std::ffi::CString::new(data).expect("options");
    let (merged, none) = (dir.join("merged"), rustix::mount::MountFlags::empty());
    rustix::mount::mount("overlay", &merged, "overlay", none, Some(data.as_c_str())).expect("mount");
    merged
}

fn volume_of(source: &Path, route: LayerRoute) -> userns::Result<Option<Detached>> {
    let userns = user_namespace();
    let _ids = FsIds::enter(MAP).expect("filesystem ids");
    let fd = rustix::fs::openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the source");
    volume(fd.as_fd(), true, MountIds { userns: userns.as_fd(), own: Some(MAP), plain: false }, route)
}

#[test]
fn an_overlay_that_nothing_was_written_to_is_its_layers() {
    for route in [LayerRoute::Auto, LayerRoute::Attached] {
        private(|| {
            let dir = disk();
            let merged = overlay(dir.path());
            let part = volume_of(&merged.join("etc"), route).expect("looked at").expect("a volume");
            let mnt = at_mnt(&part);
            assert_eq!(inside(&user_namespace(), &mnt, "stat -c '%n %u:%g' *; cat file"), "file 7:8\n2", "{route:?}");
            rustix::mount::unmount(&mnt, rustix::mount::UnmountFlags::DETACH).expect("unmount");
            assert!(merged.join("etc/file").exists(), "nothing is left over it");
            let whole = volume_of(&merged, route).expect("looked at").expect("a volume");
            let mnt = at_mnt(&whole);
            let seen = inside(
                &user_namespace(),
                &mnt,
                "stat -c %u:%g . etc/file; cat etc/file; touch new 2>&1 | grep -o Read-only",
            );
            assert_eq!(seen, "0:0\n7:8\n2Read-only", "{route:?}");
        });
    }
}

#[test]
fn what_a_bind_mount_can_show_or_nobody_can_is_no_volume() {
    private(|| {
        let dir = disk();
        let merged = overlay(dir.path());
        let is_none = |path: &Path| volume_of(path, LayerRoute::Auto).expect("looked at").is_none();
        assert!(is_none(&dir.path().join("1")), "not on an overlay");
        std::fs::write(merged.join("new"), "").expect("write");
        assert!(is_none(&merged), "written to");
        std::fs::remove_file(merged.join("new")).expect("remove");
        assert!(!is_none(&merged), "as it was");
        std::os::unix::fs::chown(dir.path().join("2/etc"), Some(MAP.host), Some(MAP.host)).expect("chown");
        assert!(is_none(&merged.join("etc")), "the container's own");
    });
}
