//! An attacker who shares a volume swaps a directory for a symlink between two system calls of ours, all the time
//! (CVE-2021-30465, CVE-2024-45310, CVE-2025-52881, and read-only and masked paths of youki).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::canary::Canary;

/// How many containers are made while the attacker swaps.
const CONTAINERS: usize = 50;

/// Exchanges two files until it is told to stop.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Swapper {
    fn new(one: PathBuf, other: PathBuf) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (stop.clone(), swaps.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("an exchange");
                counted.fetch_add(1, Ordering::Relaxed);
                // Room for the others: what matters is that the shim meets both states.
                std::thread::yield_now();
            }
        });
        Self { stop, swaps, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the swapper");
        self.swaps.load(Ordering::Relaxed)
    }
}

/// A volume with a directory `way`, and a symlink beside it.
fn volume(target: &str) -> PathBuf {
    let volume = place::new_dir("volume");
    for name in ["way/ro", "way/hidden"] {
        fs::create_dir_all(volume.join(name)).unwrap();
    }
    fs::write(volume.join("way/secret"), "secret").unwrap();
    symlink(target, volume.join("link")).unwrap();
    volume
}

/// Makes containers while `way` and `link` of the volume change places. Returns how many were made, and how many refused.
async fn race(volume: &Path, change: impl Fn(Bundle, usize) -> Bundle) -> (usize, usize) {
    let swapper = Swapper::new(volume.join("way"), volume.join("link"));
    let first = Bundle::new();
    let shim = Shim::start(&first).await;
    let (mut made, mut refused) = (0, 0);
    for number in 0..CONTAINERS {
        let bundle = change(Bundle::new().bind(volume, "/volume", &[]), number);
        match Container::create_in(&shim, bundle, Pipes::none()).await {
            Ok(container) => {
                made += 1;
                container.start().await.unwrap();
                assert_eq!(container.wait().await, 0, "container {number}");
                container.delete().await.unwrap();
            }
            Err(failure) => {
                refused += 1;
                assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
                assert!(failure.message.contains("/volume"), "another reason: {failure:?}");
            }
        }
    }
    shim.shut_down().await.unwrap();
    let swaps = swapper.stop();
    assert!(swaps > CONTAINERS as u64, "the swapper was too slow: {swaps}");
    assert_eq!(made + refused, CONTAINERS);
    (made, refused)
}

#[tokio::test]
async fn mountpoints_are_not_made_where_a_swapped_symlink_leads() {
    let canary = Canary::new();
    let source = place::new_dir("source").join("file");
    fs::write(&source, "bound").unwrap();
    for target in [canary.absolute("dir"), canary.climbing("dir")] {
        let (made, _) = race(&volume(&target), |bundle, number| {
            bundle.mount("tmpfs", "tmpfs", &format!("/volume/way/new-{number}/deep"), &[]).bind(
                &source,
                &format!("/volume/way/file-{number}"),
                &["ro"],
            )
        })
        .await;
        assert!(made > 0, "no container was made");
        canary.untouched();
    }
}

#[tokio::test]
async fn mounts_land_where_they_are_seen_however_their_way_is_swapped() {
    let canary = Canary::new();
    let target = canary.absolute("dir");
    let source = place::new_dir("source").join("file");
    fs::write(&source, "bound").unwrap();
    let within = canary.dir.strip_prefix("/").unwrap().to_owned();
    let image = place::new_dir("image").join("image");
    tests::bundle::copy_tree(&place::busybox(), &image);
    fs::create_dir_all(image.join(&within).join("dir")).unwrap();
    // The same path exists inside, so that both ways are good ones and every container can be made.
    let (made, refused) = race(&volume(&target), |bundle, number| {
        let name = format!("file-{number}");
        bundle
            .image(&image)
            .bind(&source, &format!("/volume/way/{name}"), &["ro"])
            .sh(&format!("grep -q '/{name} ' /proc/self/mountinfo"))
    })
    .await;
    assert!(made > 0, "{made} made, {refused} refused");
    canary.untouched();
}

#[tokio::test]
async fn read_only_and_masked_paths_protect_nothing_else_when_they_are_swapped() {
    let canary = Canary::new();
    let (made, _) = race(&volume(&canary.climbing("dir")), |bundle, _| {
        bundle
            .set("/linux/maskedPaths", json!(["/volume/way/secret", "/volume/way/file", "/volume/way/sub"]))
            .set("/linux/readonlyPaths", json!(["/volume/way/ro", "/volume/way/file"]))
    })
    .await;
    assert!(made > 0, "no container was made");
    canary.untouched();
}
