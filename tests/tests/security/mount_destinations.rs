//! An attacker who is a container, and shares a volume with its victims, swaps the directory below which they have mounts
//! for a symlink, some hundred thousand times a minute (CVE-2021-30465).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::canary::Canary;

/// How many victims are made for each of the attacker's symlinks.
const VICTIMS: usize = 50;

/// How often each attacker must at least have swapped.
const SWAPS: u64 = 2000;

/// The mounts of a process, without their ids, which are given anew.
fn mounts(pid: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    text.lines().map(|line| line.split(' ').skip(2).collect::<Vec<_>>().join(" ")).collect()
}

/// A container that swaps `way`, a directory of a volume, and `link`, a symlink beside it, until it is killed.
struct Attacker {
    volume: PathBuf,
    container: Container,
}

impl Attacker {
    async fn new(target: &str) -> Self {
        let volume = place::new_dir("volume");
        fs::create_dir_all(volume.join("way/below")).unwrap();
        symlink(target, volume.join("link")).unwrap();
        let swap = ["/inside", "swap", "/volume/way", "/volume/link", "/volume/swaps"];
        let bundle = Bundle::new().with_inside().bind(&volume, "/volume", &[]).args(&swap);
        let attacker = Self { volume, container: Container::started(bundle).await };
        tests::until("the attacker swaps", || attacker.swaps() > 0).await;
        attacker
    }

    fn swaps(&self) -> u64 {
        fs::read_to_string(self.volume.join("swaps")).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// How often it has swapped.
    async fn end(self) -> u64 {
        self.container.end().await;
        self.swaps()
    }
}

/// A victim: two mounts of its own below the way, one inside the other; it prints where they are.
fn victim(volume: &Path, source: &Path) -> Bundle {
    Bundle::new()
        .bind(volume, "/volume", &[])
        .mount("tmpfs", "tmpfs", "/volume/way/below", &["size=4712k"])
        .bind(source, "/volume/way/below/inner", &["ro"])
        .sh("awk '/size=4712k|of-the-source/ { print $5 }' /proc/self/mountinfo")
}

/// Where a victim's mounts may be, by the two names that the way has at one time or another, or where the symlink leads
/// inside of the victim.
fn is_at_its_place(path: &str, target: &str) -> bool {
    let below = |way: &str| [format!("{way}/below"), format!("{way}/below/inner")].contains(&path.to_owned());
    below("/volume/way") || below("/volume/link") || below(target.trim_end_matches('/'))
}

#[tokio::test]
async fn nothing_is_mounted_outside_of_a_victim_whose_mount_destinations_are_swapped() {
    let canary = Canary::new();
    let inside = canary.absolute("dir");
    let source = place::new_dir("of-the-source");
    for (target, leads_to) in
        [(inside.clone(), &*inside), (canary.climbing("dir"), &inside), ("/".into(), "/"), ("/proc".into(), "/proc")]
    {
        let attacker = Attacker::new(&target).await;
        let others = mounts(&attacker.container.pid.to_string());
        // The rest of the host's are other tests'.
        let marks = ["size=4712k", source.to_str().unwrap(), attacker.volume.to_str().unwrap()];
        let on_host = || {
            let mut lines = mounts("self");
            lines.retain(|line| marks.iter().any(|mark| line.contains(mark)));
            lines
        };
        let shim = Shim::start(&Bundle::new()).await;
        let (mut made, mut refused) = (0, 0);
        for number in 0..VICTIMS {
            match Container::create_in(&shim, victim(&attacker.volume, &source), Pipes::output()).await {
                Ok(mut container) => {
                    made += 1;
                    container.start().await.unwrap();
                    let output = container.output().await;
                    let places: Vec<&str> = output.ok().lines().collect();
                    assert_eq!(places.len(), 2, "victim {number} lacks mounts: {output:?}");
                    assert!(places.iter().all(|it| is_at_its_place(it, leads_to)), "victim {number}: {output:?}");
                    container.delete().await.unwrap();
                }
                Err(failure) => {
                    refused += 1;
                    assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
                    assert!(failure.message.contains("/volume/way/below"), "another reason: {failure:?}");
                }
            }
            assert_eq!(on_host(), BTreeSet::new(), "something is mounted on the host");
            assert_eq!(mounts(&attacker.container.pid.to_string()), others, "something is mounted in the attacker");
        }
        shim.shut_down().await.unwrap();
        let swaps = attacker.end().await;
        println!("{target}: {swaps} swaps, {made} victims made, {refused} refused");
        assert!(swaps >= SWAPS, "the attacker was too slow: {swaps} swaps");
        assert!(made > 0, "no victim was made");
        canary.untouched();
    }
}
