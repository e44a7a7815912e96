//! A stage that is stopped (SIGSTOP, a debugger, a frozen disk) holds up nothing but its own request.

use rustix::process::Signal;
use tests::shim::{How, PATIENCE};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::look;

/// The processes of the shim's binary that have stopped at `name`: a stage, and what it has cloned where both pass there.
async fn stopped(shim: &Shim, name: &str) -> Vec<u32> {
    let is_stopped = |pid: &u32| look::stat(*pid).is_some_and(|(state, _)| state == 'T');
    let find = || shim.processes().into_iter().filter(is_stopped).collect::<Vec<_>>();
    let count = if name == "stage-exec-untold" { 2 } else { 1 };
    tests::until("a stage stops", || find().len() == count).await;
    find()
}

/// Stops the exec of a container at `name`, looks around, and ends it with `signal`: whether the exec came to run.
async fn stop_and(name: &str, signal: Signal) -> bool {
    let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
    let how = How::failing_at(&format!("stop:{name}@{}", bundle.id));
    let how = How { binary: place::copy_of(&place::shim_with_failpoints()), ..how };
    let shim = Shim::start_as(&bundle, &how).await;
    let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
    container.start().await.expect("start");
    let spec = container.process(&["/bin/sleep", "1000"]);
    container.add_process("e", &spec, &Pipes::none()).await.expect("exec");
    let outcome = {
        let look_around = async {
            let stages = stopped(&shim, name).await;
            let other = Container::create_in(&shim, Bundle::new().args(&["/bin/sleep", "1000"]), Pipes::none());
            let other = other.await.expect("another container is created");
            other.start().await.expect("and started");
            assert_eq!(other.sh("echo lives").await.ok(), "lives", "{name}");
            other.kill("", 9, false).await.expect("and killed");
            assert_eq!(other.wait().await, 137);
            other.delete().await.expect("and deleted");
            for process in ["", "e"] {
                container.state(process).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
            }
            container.add_process("f", &spec, &Pipes::none()).await.expect("another exec is added");
            container.delete_process("f").await.expect("and deleted");
            stages.into_iter().for_each(|stage| look::kill(stage, signal));
        };
        let both = async { tokio::join!(container.start_process("e"), look_around).0 };
        tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("{name}: the exec hangs"))
    };
    if outcome.is_ok() {
        container.kill("e", 9, false).await.expect("kill");
        assert_eq!(container.wait_process("e").await.expect("wait").exit_status, 137);
    }
    container.delete_process("e").await.expect("delete of the exec");
    container.end().await;
    outcome.is_ok()
}

fn exec_failpoints() -> Vec<&'static str> {
    look::failpoints().into_iter().filter(|name| name.starts_with("stage-exec")).collect()
}

#[tokio::test]
async fn an_exec_that_is_stopped_in_any_stage_holds_nobody_up_and_goes_on_when_it_may() {
    for name in exec_failpoints() {
        assert!(stop_and(name, Signal::CONT).await, "{name}");
    }
}

#[tokio::test]
async fn an_exec_that_is_stopped_and_killed_in_any_stage_ends_its_request() {
    for name in exec_failpoints() {
        let runs = stop_and(name, Signal::KILL).await;
        assert_eq!(runs, name == "stage-exec-cloned", "{name}");
    }
}

#[tokio::test]
async fn a_container_is_killed_and_deleted_while_an_exec_is_stopped() {
    for name in exec_failpoints() {
        let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
        let how = How::failing_at(&format!("stop:{name}@{}", bundle.id));
        let how = How { binary: place::copy_of(&place::shim_with_failpoints()), ..how };
        let shim = Shim::start_as(&bundle, &how).await;
        let container = Container::create_in(&shim, bundle.clone(), Pipes::none()).await.expect("create");
        container.start().await.expect("start");
        let spec = container.process(&["/bin/true"]);
        container.add_process("e", &spec, &Pipes::none()).await.expect("exec");
        let end = async {
            stopped(&shim, name).await;
            container.kill("", 9, true).await.expect("kill");
            container.wait().await;
        };
        let both = async { tokio::join!(container.start_process("e"), end) };
        tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("{name}: it hangs")).0.ok();
        container.delete().await.expect("delete");
        shim.shut_down().await.expect("shutdown");
        assert_eq!(look::left_of(&bundle), Vec::<std::path::PathBuf>::new(), "{name}");
        tests::until("no process is left", || shim.processes().is_empty()).await;
    }
}
