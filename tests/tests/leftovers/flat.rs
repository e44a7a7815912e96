//! One container after another: nothing grows.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::leftovers::Machine;
use tests::shim::PATIENCE;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

use crate::TURN;

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count()
}

/// What a process has: descriptors, threads, children.
fn belongings(pid: u32) -> (usize, usize, usize) {
    let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten().collect();
    let is_child = |entry: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parent == Some(pid)
    };
    let children = std::fs::read_dir("/proc").expect("/proc").flatten().filter(is_child).count();
    (descriptors(pid), tasks.len(), children)
}

/// Waits until nothing is there that was not before: processes that have ended are reaped by another.
async fn assert_nothing_since(before: &Machine) {
    let limit = Instant::now() + PATIENCE;
    loop {
        let new = before.since();
        if new.is_empty() {
            return;
        }
        assert!(Instant::now() < limit, "left behind: {new:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_hundred_containers_one_after_another_leave_nothing() {
    let _turn = TURN.lock().await;
    // The first one makes what stays by design.
    Bundle::new().run().await;
    let before = Machine::now();
    for _ in 0..200 {
        let bundle = Bundle::new();
        let dir = bundle.dir.clone();
        assert_eq!(bundle.run().await.status, 0);
        std::fs::remove_dir_all(dir).expect("the bundle");
    }
    assert_nothing_since(&before).await;
}

#[tokio::test]
async fn fifty_creates_that_fail_leave_nothing() {
    let _turn = TURN.lock().await;
    let bundle = Bundle::new();
    let shim = Shim::start(&bundle).await;
    let fail = async || {
        // It fails as late as a create can: in init, when everything else has been made.
        let bundle = Bundle::new().args(&["/no/such/program"]).set("/process/cwd", json!("/proc/self/fd/0"));
        let dir = bundle.dir.clone();
        let failure = Container::create_in(&shim, bundle, Pipes::none()).await.err().expect("it must fail");
        assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
        std::fs::remove_dir_all(dir).expect("the bundle");
    };
    fail().await;
    let before = Machine::now();
    for _ in 0..50 {
        fail().await;
    }
    assert_nothing_since(&before).await;
    shim.shut_down().await.expect("shutdown");
}

#[tokio::test]
async fn a_pods_shim_is_after_many_containers_and_execs_what_it_was() {
    let _turn = TURN.lock().await;
    let group = "leftovers-pod";
    let member = || Bundle::new().set("/annotations", json!({ "io.containerd.runc.v2.group": group }));
    let bundle = member().args(&["/bin/sleep", "1000"]);
    let shim = Shim::start(&bundle).await;
    let first = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
    first.start().await.expect("start");
    let round = async |bundle: Bundle| {
        let container = Container::create_in(&shim, bundle.args(&["/bin/sleep", "1000"]), Pipes::none()).await;
        let container = container.expect("create");
        container.start().await.expect("start");
        for _ in 0..3 {
            assert_eq!(container.exec(&["/bin/true"]).await.status, 0);
        }
        container.kill("", 9, true).await.expect("kill");
        container.wait().await;
        container.delete().await.expect("delete");
    };
    round(member()).await;
    // Blocking threads end a second after their last work, and what has ended is reaped, and closed, a moment later.
    let settled = async || {
        let mut last = belongings(shim.pid);
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = belongings(shim.pid);
            if now == last && (now.1, now.2) == (4, 1) {
                break;
            }
            last = now;
        }
        last
    };
    let before = settled().await;
    assert_eq!((before.1, before.2), (4, 1), "one thread, the three of the first container, and that as the one child");
    for _ in 0..100 {
        round(member()).await;
    }
    assert_eq!(settled().await, before);
    first.end().await;
}
