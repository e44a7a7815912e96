//! What is answered for one container while others flood theirs, or end: beat by beat, of what the shim is asked for.

use std::fmt;
use std::fs;
use std::time::Duration;

use tests::shim::PATIENCE;
use tests::{Container, pod, until};

use crate::traps::{KEPT, bundle, children, inside, numbers, seconds, status, with_stage};

/// The beats of a container (`inside pulse`): two readings that ask the shim, sysinfo(2), a new procfs and its umount.
pub(crate) struct Pulse {
    beats: i64,
    median: Duration,
    longest: Duration,
}

impl fmt::Display for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beats, median {:.1?}, longest {:.1?}", self.beats, self.median, self.longest)
    }
}

impl Pulse {
    /// That nobody was stuck: no figure, but what tells a hang.
    pub(crate) fn goes_on(&self) {
        assert!(self.longest < PATIENCE / 4, "{self}");
    }
}

/// Has a container beat before, during and after `meanwhile`: each is waited for.
pub(crate) async fn beside<T>(container: &Container, meanwhile: impl Future<Output = T>) -> (Pulse, T) {
    container.sh("mkdir -p /tmp; rm -f /tmp/beats /tmp/enough").await.ok();
    let told = container.bundle.upper().join("tmp/beats");
    let beats = || fs::read_to_string(&told).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let going = async {
        until("the first beats", || beats() >= 20).await;
        let outcome = meanwhile.await;
        let so_far = beats();
        until("beats afterwards", || beats() >= so_far + 20).await;
        container.sh("touch /tmp/enough").await.ok();
        outcome
    };
    let (said, outcome) = tokio::join!(inside(container, "pulse /tmp/beats /tmp/enough"), going);
    let [beats, median, longest] = numbers(said.ok())[..] else { panic!("{said:?}") };
    let micros = |count: i64| Duration::from_micros(count.unsigned_abs());
    (Pulse { beats, median: micros(median), longest: micros(longest) }, outcome)
}

/// The beats of a container with nobody beside it.
pub(crate) async fn alone(container: &Container) -> Pulse {
    beside(container, tokio::time::sleep(Duration::from_secs(1))).await.0
}

#[tokio::test]
async fn a_flood_slows_its_own_container_alone() {
    let other = Container::sleeping(bundle()).await;
    let (container, stage) = with_stage(bundle()).await;
    let shim = container.shim.pid;
    let private = || {
        let text = fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let (memory, threads) = (private(), status(shim, "Threads").unwrap().parse::<u32>().unwrap());
    let quiet = alone(&other).await;
    let flood = async { inside(&container, &format!("flood 50 {} 0", seconds(5))).await };
    let look = async {
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            most = most.max(children(stage).len());
        }
        // Four acts at a time, each of which may have a helper; those that have answered end a moment later.
        assert!(most <= 16 + KEPT, "{most} children of the act stage");
        // The receiving thread, four others, and whoever serves the exec.
        let now = status(shim, "Threads").unwrap().parse::<u32>().unwrap();
        assert!(now <= threads + 8, "{threads} threads, and then {now}");
    };
    let (flooded, (said, ())) = beside(&other, async { tokio::join!(flood, look) }).await;
    println!("with nobody beside it: {quiet}; beside a flood: {flooded}");
    flooded.goes_on();
    assert!(said.ok().contains(" 0 none"), "all are answered: {said:?}");
    assert!(private() <= memory + 4096, "{memory} KiB, and then {}", private());
    other.end().await;
    container.end().await;
}

/// They have one shim, and in it threads, listeners and act stages each of its own.
#[tokio::test]
async fn a_flood_in_one_container_of_a_pod_holds_up_no_other() {
    let (first, second) = pod::sleeping(bundle(), bundle()).await;
    let quiet = alone(&second).await;
    let (flooded, said) = beside(&second, inside(&first, "flood 50 3 0")).await;
    println!("with nobody beside it: {quiet}; beside a flood of its pod: {flooded}");
    flooded.goes_on();
    assert!(said.ok().contains(" 0 none"), "all are answered: {said:?}");
    second.remove().await;
    first.end().await;
}
