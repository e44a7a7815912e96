//! Whoever reads the emulated files all the time, or stops in the middle of it, holds up no create, start, exec and end: neither
//! of the own container, nor of others in the same shim or in another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::shim::PATIENCE;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, pod, until};

/// Of every kind: those that are made for each reading, those that are written, directories.
const FILES: &str = "/proc/uptime /proc/meminfo /proc/stat /proc/cpuinfo /proc/loadavg /proc/swaps /proc/diskstats /proc/vmstat \
                     /proc/sys/kernel/panic /proc/sys/vm/swappiness /proc/sys/vm /sys/devices/system/cpu/online";

fn writable() -> Bundle {
    Bundle::new().with_inside().set("/linux/readonlyPaths", json!([]))
}

/// Has a container's processes storm the files, and others stop in the middle of it.
async fn storm(container: &Container) {
    let script = format!(
        "mkdir -p /tmp; /inside storm 8 /tmp/enough {FILES} > /tmp/said 2>&1 < /dev/null & \
         for i in 1 2 3; do /inside storm 4 /never {FILES} > /dev/null 2>&1 < /dev/null & usleep 50000; kill -STOP $!; done"
    );
    container.sh(&script).await.ok();
}

/// How long the life of a container took, with an exec.
async fn live(shim: &Arc<Shim>, bundle: Bundle) -> Duration {
    let since = Instant::now();
    let container = Container::create_in(shim, bundle, Pipes::none()).await.unwrap();
    container.start().await.unwrap();
    enter(&container).await;
    container.kill("", 9, true).await.unwrap();
    container.wait().await;
    container.delete().await.unwrap();
    since.elapsed()
}

/// How long an exec took.
async fn enter(container: &Container) -> Duration {
    let since = Instant::now();
    assert_eq!(container.sh("head -c 8 /proc/meminfo").await.ok(), "MemTotal");
    since.elapsed()
}

/// The longest of two lives at once, one of them in `shim`, and of execs in `stormy`.
async fn others_live(shim: &Arc<Shim>, stormy: [&Container; 2]) -> Duration {
    let sleeping = || writable().args(&["/bin/sleep", "1000"]);
    let apart = async {
        let bundle = sleeping();
        let own = Shim::start(&bundle).await;
        let took = live(&own, bundle).await;
        own.shut_down().await.unwrap();
        took
    };
    let took = tokio::join!(live(shim, sleeping()), apart, enter(stormy[0]), enter(stormy[1]));
    [took.0, took.1, took.2, took.3].into_iter().max().unwrap()
}

/// Each request has its limit, too.
#[tokio::test]
async fn who_storms_the_files_holds_nobody_up() {
    let (first, second) = pod::sleeping(writable(), writable()).await;
    let calm = others_live(&first.shim, [&first, &second]).await;
    storm(&first).await;
    storm(&second).await;
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        longest = longest.max(others_live(&first.shim, [&first, &second]).await);
    }
    println!("the longest life of a container, or exec: {calm:.1?} with nobody beside it, {longest:.1?} in a storm");
    assert!(longest < PATIENCE / 2, "{longest:?}");
    // They were at it, and all were answered.
    for container in [&first, &second] {
        container.sh("touch /tmp/enough").await.ok();
        let said = || std::fs::read_to_string(container.bundle.upper().join("tmp/said")).unwrap_or_default();
        until("the end of a storm", || said().ends_with('\n')).await;
        let said = said();
        let [done, failed, why] = said.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert!(done.parse::<u32>().unwrap() > 100 && failed == "0", "{done} worked, {failed} did not: {why}");
        container.sh("rm /tmp/enough").await.ok();
        storm(container).await;
    }
    // They end in the middle of it.
    let since = Instant::now();
    for container in [&second, &first] {
        container.remove().await;
    }
    assert!(since.elapsed() < PATIENCE / 2, "{:?}", since.elapsed());
    first.shim.shut_down().await.unwrap();
}
