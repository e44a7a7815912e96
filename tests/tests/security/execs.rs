//! Execs that come and go leave nothing in the shim (CVE-2025-64329: goroutines of attached clients that leaked).

use tests::stdio::Pipes;
use tests::{Bundle, Container};

/// Rounds of two execs each, one that runs and one that is never started.
const ROUNDS: usize = 5_000;

/// The shim's open descriptors, threads and children.
fn held(shim: u32) -> [usize; 3] {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{shim}/{what}")).unwrap().count();
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap_or_default();
    [count("fd"), count("task"), children.split_whitespace().count()]
}

#[tokio::test]
async fn execs_that_are_attached_and_detached_leave_no_descriptor_and_no_thread() {
    let container = Container::sleeping(Bundle::new()).await;
    let spec = container.process(&["/bin/true"]);
    let mut before = None;
    for round in 0..ROUNDS {
        let pipes = if round % 2 == 0 { Pipes::output() } else { Pipes::none() };
        container.add_process("runs", &spec, &pipes).await.unwrap();
        container.add_process("waits", &spec, &Pipes::none()).await.unwrap();
        container.start_process("runs").await.unwrap();
        // A client that detaches takes its end of the pipes away while the program runs.
        drop(pipes);
        container.wait_process("runs").await.unwrap();
        container.delete_process("runs").await.unwrap();
        container.delete_process("waits").await.unwrap();
        if round == 49 {
            before = Some(held(container.shim.pid));
        }
    }
    let before = before.unwrap();
    // Stages are reaped, and idle threads end, a little later.
    let mut after = held(container.shim.pid);
    for _ in 0..300 {
        if after.iter().zip(before).all(|(after, before)| *after <= before) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        after = held(container.shim.pid);
    }
    assert!(after.iter().zip(before).all(|(after, before)| *after <= before), "before {before:?}, after {after:?}");
    assert_eq!(container.pids().await.unwrap(), [container.pid]);
    container.end().await;
}
