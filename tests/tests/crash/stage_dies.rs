//! A stage is killed at each of its failpoints: the request fails in one line, and the shim goes on.

use std::sync::Arc;

use tests::shim::{Answer, How};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::look;

/// A shim whose stages die at `name` when they work on `bundle`'s container.
async fn shim_of(bundle: &Bundle, name: &str) -> Arc<Shim> {
    let how = How::failing_at(&format!("{name}@{}", bundle.id));
    Shim::start_as(bundle, &How { binary: place::copy_of(&place::shim_with_failpoints()), ..how }).await
}

/// What `name` makes of a create and its start.
async fn create_and_start(shim: &Arc<Shim>, bundle: &Bundle) -> Answer<Container> {
    let container = Container::create_in(shim, bundle.clone(), Pipes::none()).await?;
    container.start().await?;
    Ok(container)
}

/// The shim serves on, and has no child but what lives in its containers.
async fn serves_on(shim: &Arc<Shim>, name: &str) {
    tests::until(&format!("no child of the shim is left ({name})"), || look::children(shim.pid).is_empty()).await;
    let next = create_and_start(shim, &Bundle::new()).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    assert_eq!(next.wait().await, 0);
    next.delete().await.expect("delete");
    shim.shut_down().await.expect("shutdown");
}

#[tokio::test]
async fn a_create_whose_stage_is_killed_fails_in_one_line_and_leaves_nothing() {
    let names =
        look::failpoints().into_iter().filter(|name| name.starts_with("stage-build") || name.starts_with("stage-init"));
    for name in names.filter(|name| *name != "stage-init-starting") {
        let bundle = Bundle::new();
        let shim = shim_of(&bundle, name).await;
        let failure = create_and_start(&shim, &bundle).await.err().unwrap_or_else(|| panic!("{name}: it was created"));
        assert!(failure.message.contains("ended before it was done"), "{name}: {failure:?}");
        assert_eq!(failure.message.lines().count(), 1, "{name}: {failure:?}");
        assert_eq!(look::left_of(&bundle), Vec::<std::path::PathBuf>::new(), "{name}");
        look::remove_layer(&bundle);
        assert_eq!(look::ranges_of(&bundle.id), Vec::<String>::new(), "{name}");
        serves_on(&shim, name).await;
    }
}

#[tokio::test]
async fn on_cgroup_v2_alone_a_killed_stage_leaves_nothing_either() {
    for name in ["stage-build-cloned", "stage-build-mounted", "stage-init-settled"] {
        let bundle = Bundle::new();
        let how = How::failing_at(&format!("{name}@{}", bundle.id));
        let shim = Shim::start_as(&bundle, &how.on_unified()).await;
        let failure = create_and_start(&shim, &bundle).await.err().unwrap_or_else(|| panic!("{name}: it was created"));
        assert!(failure.message.contains("ended before it was done"), "{name}: {failure:?}");
        assert_eq!(look::left_of(&bundle), Vec::<std::path::PathBuf>::new(), "{name}");
        look::remove_layer(&bundle);
        serves_on(&shim, name).await;
    }
}

#[tokio::test]
async fn an_init_that_is_killed_after_start_is_a_killed_container() {
    let bundle = Bundle::new();
    let shim = shim_of(&bundle, "stage-init-starting").await;
    let container = create_and_start(&shim, &bundle).await.expect("start");
    assert_eq!(container.wait().await, 137);
    container.delete().await.expect("delete");
    serves_on(&shim, "stage-init-starting").await;
}

#[tokio::test]
async fn an_exec_whose_stage_is_killed_fails_in_one_line_and_the_container_goes_on() {
    for name in look::failpoints().into_iter().filter(|name| name.starts_with("stage-exec")) {
        let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
        let shim = shim_of(&bundle, name).await;
        let container = create_and_start(&shim, &bundle).await.expect("start");
        let spec = container.process(&["/bin/echo", "done"]);
        match container.exec_process(&spec).await {
            // The process is told of by itself, too: it needs its stage no more.
            Ok(output) => assert_eq!((name, output.ok()), ("stage-exec-cloned", "done")),
            Err(failure) => {
                assert_ne!(name, "stage-exec-cloned", "{failure:?}");
                assert_eq!(failure.message.lines().count(), 1, "{name}: {failure:?}");
                assert!(failure.message.contains("the exec stage ended before it was done"), "{name}: {failure:?}");
            }
        }
        tests::until(&format!("only init is left ({name})"), || look::children(shim.pid) == [container.pid]).await;
        tests::until(&format!("only init is left inside ({name})"), || {
            look::processes_of(&bundle.id).iter().all(|pid| *pid == container.pid)
        })
        .await;
        container.kill("", 9, true).await.expect("kill");
        container.wait().await;
        container.delete().await.expect("delete");
        serves_on(&shim, name).await;
    }
}
