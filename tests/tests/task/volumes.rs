//! Read-only binds of what lies on an overlay: image volumes, as containerd's CRI mounts them for a pod.

use std::path::{Path, PathBuf};

use tests::{Bundle, place};

/// An overlay of the host over two layers, with an upper directory, or over one without; it is unmounted with its value.
struct Overlay(PathBuf);

impl Overlay {
    fn new(lowers: &str, more: &str) -> Self {
        let dir = place::new_dir("volume");
        let make = "mkdir -p one/etc two/etc upper work merged; echo 1 > one/etc/file; echo 2 > two/etc/file; \
            echo text > one/file; chown 7:8 one/file";
        let mount = format!("mount -t overlay overlay -o lowerdir={lowers}{more} merged");
        tests::sh(&format!("cd {}; {make}; {mount}", dir.display())).ok();
        Self(dir)
    }

    /// As containerd mounts a snapshot for one.
    fn of_an_image() -> Self {
        Self::new("two:one", ",upperdir=upper,workdir=work,volatile")
    }

    fn merged(&self) -> PathBuf {
        self.0.join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        tests::sh(&format!("umount {}", self.merged().display()));
    }
}

fn bound(source: &Path, options: &[&str]) -> Bundle {
    Bundle::new().bind(source, "/volume", options)
}

#[tokio::test]
async fn an_image_is_shown_read_only_with_its_owners() {
    let upper = ",upperdir=upper,workdir=work";
    for (overlay, content) in
        [(Overlay::of_an_image(), 2), (Overlay::new("two:one", ""), 2), (Overlay::new("one", upper), 1)]
    {
        let script = "stat -c %u:%g /volume /volume/file; cat /volume/etc/file; \
            touch /volume/new || mount -o remount,rw,bind /volume || echo locked";
        let output = bound(&overlay.merged(), &["ro"]).all_capabilities().sh(script).run().await;
        assert_eq!(output.stdout, format!("0:0\n7:8\n{content}\nlocked\n"), "{output:?}");
        assert!(std::fs::read_dir(overlay.0.join("upper")).unwrap().next().is_none(), "nothing is written");
    }
}

#[tokio::test]
async fn a_part_of_an_image_is_a_volume_too() {
    let overlay = Overlay::of_an_image();
    let script = "ls /volume; stat -c %u:%g /volume/file /one; cat /volume/file /one; touch /volume/new || echo ro";
    let bundle = bound(&overlay.merged().join("etc"), &["ro"]).bind(&overlay.merged().join("file"), "/one", &["ro"]);
    let output = bundle.sh(script).run().await;
    assert_eq!(output.stdout, "file\n0:0\n7:8\n2\ntext\nro\n", "{output:?}");
}

#[tokio::test]
async fn an_overlay_that_may_change_is_refused() {
    let refused =
        |overlay: &Overlay| format!("because {} is on overlay, which cannot be id-mapped", overlay.merged().display());
    let overlay = Overlay::of_an_image();
    // For writing it would be a second overlay over one upper directory.
    for options in [&["rw"][..], &["ro", "rrw"]] {
        let refusal = bound(&overlay.merged(), options).refused().await;
        assert!(refusal.contains(&refused(&overlay)), "{options:?}: {refusal}");
    }
    bound(&overlay.merged(), &["rro"]).sh("! touch /volume/new 2> /dev/null").run().await.ok();
    std::fs::write(overlay.merged().join("new"), "").unwrap();
    let refusal = bound(&overlay.merged(), &["ro"]).refused().await;
    assert!(refusal.contains(&refused(&overlay)), "{refusal}");
    // What is mounted below it is not what its layers show.
    let overlay = Overlay::of_an_image();
    let below = overlay.merged().join("etc");
    tests::sh(&format!("mount -t tmpfs tmpfs {}", below.display())).ok();
    let refusal = bound(&overlay.merged(), &["ro"]).refused().await;
    tests::sh(&format!("umount {}", below.display())).ok();
    assert!(refusal.contains(&refused(&overlay)), "{refusal}");
}

#[tokio::test]
async fn layers_that_belong_to_somebody_else_are_refused() {
    let overlay = Overlay::of_an_image();
    let layer = overlay.0.join("one");
    std::os::unix::fs::chown(&layer, Some(70_000), Some(70_000)).unwrap();
    let refusal = bound(&overlay.merged(), &["ro"]).refused().await;
    let reason = "belongs to host id 70000, which is neither below 65536 nor the container's";
    assert!(refusal.ends_with(&format!("{}: {reason}", layer.display())), "{refusal}");
}
