//! Pause and Resume: everything stands still, goes on, and can be ended meanwhile.

use containerd_shim_protos::api::{self, Status};
use tests::shim::{How, deadline};
use tests::stdio::Pipes;
use tests::{Bundle, Container};
use ttrpc::Code;

pub(crate) async fn pause(container: &Container) -> Result<(), tests::shim::Failure> {
    let request = api::PauseRequest { id: container.id(), ..Default::default() };
    Ok(container.shim.task.pause(deadline(), &request).await.map(drop)?)
}

pub(crate) async fn resume(container: &Container) -> Result<(), tests::shim::Failure> {
    let request = api::ResumeRequest { id: container.id(), ..Default::default() };
    Ok(container.shim.task.resume(deadline(), &request).await.map(drop)?)
}

async fn status(container: &Container) -> Status {
    container.state("").await.unwrap().status.unwrap()
}

/// A container whose init counts in `/tmp/count`, by its rootfs's upper directory.
const COUNT: &str = "mkdir -p /tmp; i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; done";

fn count(bundle: &Bundle) -> String {
    std::fs::read_to_string(bundle.upper().join("tmp/count")).unwrap_or_default()
}

/// Waits until the count differs from one that was seen.
async fn moves(bundle: &Bundle, seen: &str) {
    let has_moved = || {
        let now = count(bundle);
        !now.is_empty() && now != seen
    };
    tests::until(&format!("a count that is not {seen:?}"), has_moved).await;
}

async fn stands_still_and_goes_on(container: Container) {
    let bundle = container.bundle.clone();
    moves(&bundle, "").await;
    pause(&container).await.unwrap();
    assert_eq!(status(&container).await, Status::PAUSED);
    let seen = count(&bundle);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(count(&bundle), seen, "it runs though it is paused");
    let twice = pause(&container).await.unwrap_err();
    assert_eq!((twice.code, twice.message.ends_with("it is paused")), (Code::FAILED_PRECONDITION, true), "{twice:?}");
    let exec = container.add_process("e", &container.process(&["/bin/true"]), &Pipes::none()).await.unwrap_err();
    assert_eq!((exec.code, exec.message.ends_with("it is paused")), (Code::FAILED_PRECONDITION, true), "{exec:?}");
    assert_eq!(container.pids().await.unwrap(), [container.pid]);
    resume(&container).await.unwrap();
    assert_eq!(status(&container).await, Status::RUNNING);
    moves(&bundle, &seen).await;
    assert_eq!(container.sh("echo in").await.ok(), "in");
    let twice = resume(&container).await.unwrap_err();
    assert_eq!(
        (twice.code, twice.message.ends_with("it is not paused")),
        (Code::FAILED_PRECONDITION, true),
        "{twice:?}"
    );
    let topics = container.shim.events.topics(4).await;
    assert_eq!(topics[..4], ["/tasks/create", "/tasks/start", "/tasks/paused", "/tasks/resumed"]);
    container.end().await;
}

#[tokio::test]
async fn a_paused_container_stands_still_and_goes_on() {
    stands_still_and_goes_on(Container::started(Bundle::new().sh(COUNT)).await).await;
}

#[tokio::test]
async fn so_does_one_on_the_unified_hierarchy_alone() {
    let bundle = Bundle::new().sh(COUNT);
    let shim = tests::shim::Shim::start_as(&bundle, &How::default().on_unified()).await;
    let container = Container::create_in(&shim, bundle, Pipes::none()).await.unwrap();
    container.start().await.unwrap();
    stands_still_and_goes_on(container).await;
}

#[tokio::test]
async fn an_exec_that_was_added_before_starts_when_it_goes_on() {
    let container = Container::sleeping(Bundle::new()).await;
    container.add_process("e", &container.process(&["/bin/true"]), &Pipes::none()).await.unwrap();
    pause(&container).await.unwrap();
    let refused = container.start_process("e").await.unwrap_err();
    assert_eq!(refused.code, Code::FAILED_PRECONDITION, "{refused:?}");
    assert_eq!(refused.message, format!("cannot exec in container {}: it is paused", container.id()));
    resume(&container).await.unwrap();
    container.start_process("e").await.unwrap();
    assert_eq!(container.wait_process("e").await.unwrap().exit_status, 0);
    container.end().await;
}

#[tokio::test]
async fn a_paused_container_is_killed_and_deleted() {
    for all in [false, true] {
        let container = Container::started(Bundle::new().sh("sleep 1000 & sleep 1000 & wait")).await;
        pause(&container).await.unwrap();
        container.kill("", 9, all).await.unwrap();
        assert_eq!(container.wait().await, 137);
        assert_eq!(status(&container).await, Status::STOPPED);
        let late = resume(&container).await.unwrap_err();
        assert_eq!((late.code, late.message.ends_with("it is stopped")), (Code::FAILED_PRECONDITION, true), "{late:?}");
        container.delete().await.unwrap();
        container.shim.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_that_meets_a_pause_kills() {
    for round in 0..10 {
        let container = Container::sleeping(Bundle::new()).await;
        let (paused, killed) = if round % 2 == 0 {
            tokio::join!(pause(&container), container.kill("", 9, false))
        } else {
            let (killed, paused) = tokio::join!(container.kill("", 9, false), pause(&container));
            (paused, killed)
        };
        killed.unwrap();
        assert_eq!(container.wait().await, 137, "round {round}, after {paused:?}");
        container.delete().await.unwrap();
        // Nothing is told of what has ended but its deletion.
        let topics = container.shim.events.topics(if paused.is_ok() { 5 } else { 4 }).await;
        assert_eq!(topics.iter().any(|topic| topic == "/tasks/paused"), paused.is_ok(), "{topics:?}");
        assert_eq!(topics[topics.len() - 2..], ["/tasks/exit", "/tasks/delete"], "{paused:?}");
        if let Err(refused) = paused {
            assert_eq!(refused.code, Code::FAILED_PRECONDITION, "{refused:?}");
        }
        container.shim.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn a_resume_that_meets_a_kill_is_not_told_after_the_exit() {
    for _ in 0..10 {
        let container = Container::sleeping(Bundle::new()).await;
        pause(&container).await.unwrap();
        let (killed, resumed) = tokio::join!(container.kill("", 9, false), resume(&container));
        killed.unwrap();
        assert_eq!(container.wait().await, 137, "after {resumed:?}");
        if let Err(refused) = &resumed {
            assert_eq!(refused.code, Code::FAILED_PRECONDITION, "{refused:?}");
        }
        container.delete().await.unwrap();
        let topics = container.shim.events.topics(if resumed.is_ok() { 6 } else { 5 }).await;
        assert_eq!(topics[topics.len() - 2..], ["/tasks/exit", "/tasks/delete"], "{resumed:?}");
        container.shim.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn a_signal_waits_until_a_paused_container_goes_on() {
    let trap = "trap 'exit 5' TERM; mkdir -p /tmp; while :; do echo 1 > /tmp/count; sleep 0.05; done";
    let container = Container::started(Bundle::new().sh(trap)).await;
    moves(&container.bundle, "").await;
    pause(&container).await.unwrap();
    container.kill("", 15, false).await.unwrap();
    assert_eq!(status(&container).await, Status::PAUSED);
    resume(&container).await.unwrap();
    assert_eq!(container.wait().await, 5);
    container.delete().await.unwrap();
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn what_does_not_run_is_not_paused() {
    let container = Container::create(Bundle::new().args(&["/bin/sleep", "1000"])).await.unwrap();
    let early = pause(&container).await.unwrap_err();
    assert_eq!(
        (early.code, early.message.ends_with("it is not started")),
        (Code::FAILED_PRECONDITION, true),
        "{early:?}"
    );
    container.start().await.unwrap();
    container.kill("", 9, false).await.unwrap();
    container.wait().await;
    let late = pause(&container).await.unwrap_err();
    assert_eq!((late.code, late.message.ends_with("it is stopped")), (Code::FAILED_PRECONDITION, true), "{late:?}");
    container.delete().await.unwrap();
    let gone = pause(&container).await.unwrap_err();
    assert_eq!(gone.code, Code::NOT_FOUND, "{gone:?}");
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_group_that_the_container_has_frozen_itself_goes_with_it() {
    let bundle = Bundle::new().all_capabilities().mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw"]);
    let container = Container::sleeping(bundle).await;
    // Frozen before it has become sleep, it would hold this script's output open for ever.
    let script = "cd /sys/fs/cgroup/freezer && mkdir cold && { sleep 1000 < /dev/null > /dev/null 2>&1 & } && \
        until grep -q sleep /proc/$!/comm; do sleep 0.05; done && echo $! > cold/tasks && echo FROZEN > cold/freezer.state; cat cold/freezer.state";
    let shown = container.sh(script).await;
    assert!(shown.ok().starts_with("FR"), "{shown:?}");
    pause(&container).await.unwrap();
    resume(&container).await.unwrap();
    assert!(container.sh("cat /sys/fs/cgroup/freezer/cold/freezer.state").await.ok().starts_with("FR"));
    container.kill("", 9, false).await.unwrap();
    assert_eq!(container.wait().await, 137);
    container.delete().await.unwrap();
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_paused_container_whose_shim_has_died_goes_with_delete() {
    let container = Container::sleeping(Bundle::new()).await;
    pause(&container).await.unwrap();
    let shim = nix::unistd::Pid::from_raw(i32::try_from(container.shim.pid).unwrap());
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    let deleted = tests::shim::call_delete(&container.bundle.dir, &container.bundle.id);
    assert!(deleted.status.success(), "{deleted:?}");
    let init = format!("/proc/{}", container.pid);
    tests::until("the end of its init", || !std::path::Path::new(&init).exists()).await;
}

#[tokio::test]
async fn the_log_has_a_line_for_each() {
    let container = Container::sleeping(Bundle::new()).await;
    pause(&container).await.unwrap();
    resume(&container).await.unwrap();
    for message in ["paused", "resumed"] {
        let line = container.shim.logged(&format!("msg={message} ")).await;
        assert!(line.contains(" level=info ") && line.ends_with(&format!(" container={}", container.id())), "{line}");
    }
    container.end().await;
}
