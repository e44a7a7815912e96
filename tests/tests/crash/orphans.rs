//! A container whose shim is gone, or is older than the binary on disk.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::room::Dweller;
use tests::shim::{How, call_delete};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Output, Shim, place};

use crate::look;

#[tokio::test]
async fn a_container_outlives_its_killed_shim_until_it_is_deleted() {
    let container = Container::sleeping(Bundle::new()).await;
    let (id, base) = (container.id(), container.host_base());
    look::kill(container.shim.pid, Signal::KILL);
    look::gone(container.shim.pid).await;
    assert!(look::stat(container.pid).is_some_and(|(state, _)| state != 'Z'), "its process has gone too");
    let lines = look::ranges_of(&id);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{base}-")) && lines[0].ends_with("running without its shim"), "{lines:?}");

    let next = Container::sleeping(Bundle::new()).await;
    assert_ne!(next.host_base(), base);
    look::delete_twice(&container.bundle);
    assert!(look::stat(container.pid).is_none_or(|(state, _)| state == 'Z'));
    assert!(look::is_gone(&container.shim.socket()));
    assert_eq!(next.sh("echo lives").await.ok(), "lives");
    look::remove_layer(&container.bundle);
    assert_eq!(look::ranges_of(&id), Vec::<String>::new());
    next.end().await;
}

#[tokio::test]
async fn a_killed_shim_of_a_pod_takes_none_of_its_containers_along() {
    let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
    let shim = Shim::start(&bundle).await;
    let mut containers = Vec::new();
    for bundle in [bundle, Bundle::new().args(&["/bin/sleep", "1000"])] {
        let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
        container.start().await.expect("start");
        containers.push(container);
    }
    look::kill(shim.pid, Signal::KILL);
    look::gone(shim.pid).await;
    look::delete_twice(&containers[0].bundle);
    assert!(look::stat(containers[0].pid).is_none_or(|(state, _)| state == 'Z'));
    assert!(look::stat(containers[1].pid).is_some_and(|(state, _)| state != 'Z'), "the other one is not its to kill");
    look::delete_twice(&containers[1].bundle);
}

/// A stopped shim that is killed while its stage works: the stage finds nobody to report to and leaves nothing.
#[tokio::test]
async fn a_stage_that_outlives_its_shim_leaves_nothing_behind() {
    let names = look::failpoints().into_iter().filter(|name| name.starts_with("stage-build"));
    for name in names {
        let bundle = Bundle::new();
        let how = How::failing_at(&format!("stop:{name}"));
        let shim =
            Shim::start_as(&bundle, &How { binary: place::copy_of(&place::shim_with_failpoints()), ..how }).await;
        let stopped =
            || shim.processes().into_iter().find(|pid| look::stat(*pid).is_some_and(|(state, _)| state == 'T'));
        let kill = async {
            tests::until("the stage stops", || stopped().is_some()).await;
            look::kill(shim.pid, Signal::KILL);
        };
        let (created, ()) = tokio::join!(Container::create_in(&shim, bundle.clone(), Pipes::none()), kill);
        assert!(created.is_err(), "{name}");
        look::gone(shim.pid).await;
        assert_eq!(look::ranges_of(&bundle.id).len(), 1, "{name}: the stage holds the range");
        look::delete_twice(&bundle);
        look::kill(stopped().expect("the stage"), Signal::CONT);
        tests::until(&format!("the end of its processes ({name})"), || shim.processes().is_empty()).await;
        look::delete_twice(&bundle);
        look::remove_layer(&bundle);
        assert_eq!(look::ranges_of(&bundle.id), Vec::<String>::new(), "{name}");
    }
}

/// What stands in for init in a scope of systemd's ends with its shim, and may do so later than `delete` looks.
#[test]
fn a_group_that_was_only_planned_is_removed_once_it_is_empty_and_left_to_whoever_lives_in_it() {
    for (seconds, left) in [("0.5", 0), ("1000", 1)] {
        let bundle = Bundle::new();
        let group = format!("/sys/fs/cgroup/freezer/eci-tests/{}", bundle.id);
        let mut command = std::process::Command::new("sh");
        let script = "mkdir -p $0; echo $$ > $0/cgroup.procs; echo ready; exec sleep $1";
        command.args(["-euc", script, &group, seconds]);
        let process = Dweller::spawned(command);
        let state = json!({ "version": 2, "id": bundle.id, "namespace": "n", "cgroups": [group], "made": false });
        std::fs::write(bundle.dir.join("eci.json"), state.to_string()).expect("eci.json");
        let output = Output::from(call_delete(&bundle.dir, &bundle.id));
        assert_eq!((output.status, &*output.stderr), (0, ""));
        assert_eq!(look::cgroups_of(&bundle.id).len(), left, "{seconds} s");
        assert_eq!(look::processes_of(&bundle.id).len(), left, "{seconds} s");
        drop(process);
    }
}

#[tokio::test]
async fn a_shim_goes_on_when_its_binary_is_replaced_and_the_new_one_deletes() {
    let binary = place::copy_of(&place::shim());
    let bundle = Bundle::new().args(&["/bin/sleep", "1000"]);
    let shim = Shim::start_as(&bundle, &How { binary: binary.clone(), ..How::default() }).await;
    let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
    container.start().await.expect("start");

    // What is installed now cannot even be executed: nothing of the old shim's may depend on it.
    let new = binary.with_extension("new");
    std::fs::write(&new, "not a program").expect("a file");
    std::fs::rename(&new, &binary).expect("the replacement");
    assert_eq!(container.sh("echo lives").await.ok(), "lives");
    let next = Container::create_in(&shim, Bundle::new(), Pipes::none()).await.expect("create");
    next.start().await.expect("start");
    assert_eq!(next.wait().await, 0);
    next.delete().await.expect("delete");

    // The verb is the new binary's: first with the old shim alive, and it forgets the container and ends.
    look::delete_twice(&container.bundle);
    shim.gone().await;
    look::gone(shim.pid).await;
    assert!(look::stat(container.pid).is_none_or(|(state, _)| state == 'Z'));
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_refused_and_left_alone() {
    let container = Container::sleeping(Bundle::new()).await;
    look::kill(container.shim.pid, Signal::KILL);
    look::gone(container.shim.pid).await;
    let path = container.bundle.dir.join("eci.json");
    let written = std::fs::read(&path).expect("eci.json");
    let mut state: Value = serde_json::from_slice(&written).expect("JSON");
    let newer = state["version"].as_u64().expect("a version") + 1;
    state["version"] = newer.into();
    std::fs::write(&path, state.to_string()).expect("eci.json");

    let refused = Output::from(call_delete(&container.bundle.dir, &container.id()));
    let expected =
        format!("containerd-shim-eci-v2: read {}: it was written by a newer version ({newer})\n", path.display());
    assert_eq!(refused.failed(), expected);
    assert!(look::stat(container.pid).is_some_and(|(state, _)| state != 'Z'), "it is not understood, and not touched");
    std::fs::write(&path, written).expect("eci.json");
    look::delete_twice(&container.bundle);
}

#[tokio::test]
async fn a_shim_that_is_asked_to_end_says_so_and_its_container_is_deleted_like_an_orphan() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let container = Container::sleeping(Bundle::new()).await;
        look::kill(container.shim.pid, signal);
        let line = container.shim.logged(name).await;
        assert!(line.contains(&format!("the containers {} go on without it", container.id())), "{line}");
        container.shim.gone().await;
        look::gone(container.shim.pid).await;
        assert!(look::stat(container.pid).is_some_and(|(state, _)| state != 'Z'));
        assert!(look::ranges_of(&container.id())[0].ends_with("running without its shim"));
        look::delete_twice(&container.bundle);
        assert!(look::stat(container.pid).is_none_or(|(state, _)| state == 'Z'));
    }
}

/// containerd is the parent of `start`, never of the shim: what happens to it or to its terminal is not the shim's.
#[tokio::test]
async fn a_shim_has_a_session_of_its_own_and_outlives_who_started_it() {
    let container = Container::sleeping(Bundle::new()).await;
    let pid = rustix::process::Pid::from_raw(container.shim.pid.cast_signed());
    assert_eq!(rustix::process::getsid(pid).ok(), pid);
    // `start` has exited by now, and with it whoever was the shim's parent.
    let (_, parent) = look::stat(container.shim.pid).expect("the shim");
    assert_ne!(parent, std::process::id());
    // Its client's connection ends; the next one finds the same container.
    let address = container.shim.address.clone();
    let task = containerd_shim_protos::shim_async::TaskClient::new(tests::shim::connect(&address).await);
    let request = containerd_shim_protos::api::StateRequest { id: container.id(), ..Default::default() };
    let state = task.state(tests::shim::deadline(), &request).await.expect("state");
    assert_eq!(state.pid, container.pid);
    drop(task);
    assert_eq!(container.sh("echo lives").await.ok(), "lives");
    container.end().await;
}
