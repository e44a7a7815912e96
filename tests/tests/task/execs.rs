//! Execs: those that cannot be started, and what is left of those that have ended.

use std::path::Path;

use serde_json::json;
use tests::stdio::Pipes;
use tests::{Bundle, Container};

#[tokio::test]
async fn an_exec_of_a_missing_program_fails_alone_and_can_be_deleted() {
    let container = Container::sleeping(Bundle::new()).await;
    for (args, reason) in [
        (json!(["nothing-here"]), "exec: \"nothing-here\": executable file not found in $PATH"),
        (json!(["/nothing/here"]), "exec: \"/nothing/here\": stat /nothing/here: no such file or directory"),
        (json!(["/etc"]), "exec: \"/etc\": is a directory"),
    ] {
        let mut spec = container.process(&[]);
        spec["args"] = args;
        container.add_process("e", &spec, &Pipes::none()).await.unwrap();
        let failure = container.start_process("e").await.unwrap_err();
        let envelope = "OCI runtime exec failed: exec failed: unable to start container process: ";
        assert_eq!(failure.message, format!("{envelope}{reason}"));
        assert_eq!(container.delete_process("e").await.unwrap().exit_status, 127);
        assert_eq!(container.sh("echo alive").await.ok(), "alive");
    }
    container.end().await;
}

/// The children of a process: pid, state, name.
fn children(parent: u32) -> Vec<(u32, String)> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?.to_owned();
        (rest.next()?.parse() == Ok(parent)).then_some((pid, state))
    })
    .collect()
}

#[tokio::test]
async fn no_zombie_is_left_of_execs_and_of_what_they_leave_behind() {
    // A shell that waits is an init that reaps.
    let container = Container::started(Bundle::new().sh("while true; do sleep 0.1; done")).await;
    for _ in 0..10 {
        assert_eq!(container.sh("(sleep 0.1) & exit 0").await.status, 0);
        container.sh("true").await;
    }
    let left = || {
        let zombies = children(container.pid).into_iter().filter(|(_, state)| state == "Z");
        let others = children(container.shim.pid).into_iter().filter(|(pid, _)| *pid != container.pid);
        zombies.chain(others).collect::<Vec<_>>()
    };
    tests::until("the end of what was left behind", || left().is_empty()).await;
    container.end().await;
}
