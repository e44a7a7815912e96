//! The shim dies when it has the listener of a process and has not told it so: no program runs whose traps nobody serves.

use std::sync::Arc;

use tests::shim::How;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place, until};

use crate::look;

/// The first act of a program, which shows in the writable layer.
const FIRST_ACT: &str = "echo ran > /ran";

async fn shim_of(bundle: &Bundle, failpoint: &str) -> Arc<Shim> {
    let how = How { binary: place::copy_of(&place::shim_with_failpoints()), ..How::failing_at(failpoint) };
    Shim::start_as(bundle, &how).await
}

/// Nobody is left that could run the program, and nobody has.
async fn nothing_ran(shim: &Shim, bundle: &Bundle, living: &[u32]) {
    look::gone(shim.pid).await;
    until("only what ran before is left", || look::processes_of(&bundle.id).iter().all(|pid| living.contains(pid)))
        .await;
    assert!(!bundle.upper().join("ran").exists(), "it ran");
    look::delete_twice(bundle);
    until("the end of its processes", || shim.processes().is_empty()).await;
    assert!(!bundle.upper().join("ran").exists(), "it ran late");
    look::remove_layer(bundle);
}

#[tokio::test]
async fn a_container_does_not_begin_before_its_traps_are_served() {
    // What it would do, where nothing fails.
    let whole = Container::started(Bundle::new().sh(FIRST_ACT)).await;
    assert_eq!(whole.wait().await, 0);
    assert!(whole.bundle.upper().join("ran").exists());
    whole.end().await;

    let bundle = Bundle::new().sh(FIRST_ACT);
    let shim = shim_of(&bundle, "start-trapped").await;
    let container = Container::create_in(&shim, bundle.clone(), Pipes::none()).await.expect("create");
    container.start().await.expect_err("the shim has died");
    nothing_ran(&shim, &bundle, &[]).await;
}

#[tokio::test]
async fn nor_does_an_exec() {
    let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
    let shim = shim_of(&bundle, "exec-trapped").await;
    let container = Container::create_in(&shim, bundle.clone(), Pipes::none()).await.expect("create");
    container.start().await.expect("start");
    let spec = container.process(&["/bin/sh", "-c", FIRST_ACT]);
    container.add_process("e", &spec, &Pipes::none()).await.expect("exec");
    container.start_process("e").await.expect_err("the shim has died");
    nothing_ran(&shim, &bundle, &[container.pid]).await;
}
