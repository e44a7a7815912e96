//! What the host's root sets before the process is the container's.

use policy::plan::{Rlimit, Scheduler};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::stage::process::host;

/// Applies a process's host part to this very process, without `CAP_SYS_RESOURCE`, and runs it.
fn applied(process: &Process) -> Result<Infallible, StageError> {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    sets.permitted.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, sets).unwrap();
    for note in host::apply(process, 0, proc().as_fd())? {
        println!("\nnote: {note}");
    }
    run(process)
}

const NOFILE: u32 = 7;

#[test]
fn limits_are_set() {
    let rlimits = vec![Rlimit { resource: NOFILE, soft: 50, hard: 60 }];
    let shown = alone(|| applied(&Process { rlimits, ..program(&["/bin/cat", "/proc/self/limits"]) }));
    assert_eq!(shown.line("Max open files"), "50 60 files");
}

/// A hard limit above the host's is cut and reported; the program starts.
#[test]
fn a_limit_that_cannot_be_raised_is_cut_and_reported() {
    let shown = alone(|| {
        crate::sys::process::limit(0, NOFILE, Some((100, 200))).unwrap();
        let rlimits = vec![Rlimit { resource: NOFILE, soft: 300, hard: 400 }];
        applied(&Process { rlimits, ..program(&["/bin/cat", "/proc/self/limits"]) })
    });
    assert_eq!(shown.line("Max open files"), "200 200 files");
    let expected =
        "process.rlimits: RLIMIT_NOFILE is 200:200 instead of 300:400, the host's hard limit cannot be raised";
    assert_eq!(shown.line("note:"), expected);
}

#[test]
fn a_limit_that_the_kernel_does_not_know_is_an_error() {
    let rlimits = vec![Rlimit { resource: 99, soft: 1, hard: 1 }];
    let shown = alone(|| applied(&Process { rlimits, ..shell("true") }));
    assert_eq!(shown.line("error:"), "setting process.rlimits number 99: invalid argument");
}

const SCORE: &str = "echo; echo score: $(cat /proc/self/oom_score_adj)";

#[test]
fn the_oom_score_is_raised() {
    let shown = alone(|| applied(&Process { oom_score_adj: Some(567), ..shell(SCORE) }));
    assert_eq!(shown.line("score:"), "567");
}

#[test]
fn an_oom_score_that_cannot_be_lowered_is_reported() {
    let shown = alone(|| applied(&Process { oom_score_adj: Some(-1000), ..shell(SCORE) }));
    assert!(shown.line("note:").starts_with("process.oomScoreAdj: -1000 is below"), "{}", shown.0);
    assert_eq!(shown.line("score:"), "0");
}

#[test]
fn an_oom_score_out_of_range_is_an_error() {
    let shown = alone(|| applied(&Process { oom_score_adj: Some(1001), ..shell(SCORE) }));
    assert_eq!(shown.line("error:"), "setting process.oomScoreAdj to 1001: invalid argument");
}

#[test]
fn scheduler_and_io_priority_are_set() {
    let batch = Scheduler { policy: 3, nice: 5, ..Default::default() };
    let script = "echo; awk '{ print \"scheduler: \" $19 \" \" $41 }' /proc/self/stat; echo io: $(ionice -p $$)";
    let shown = alone(|| applied(&Process { scheduler: Some(batch), io_priority: Some((2, 6)), ..shell(script) }));
    assert_eq!(shown.line("scheduler:"), "5 3");
    assert_eq!(shown.line("io:"), "best-effort: prio 6");
}

#[test]
fn a_scheduler_that_the_kernel_does_not_know_is_an_error() {
    let unknown = Scheduler { policy: 77, ..Default::default() };
    let shown = alone(|| applied(&Process { scheduler: Some(unknown), ..shell("true") }));
    assert_eq!(shown.line("error:"), "setting process.scheduler: invalid argument");
}

/// The build stage may set it all on a child by its pid.
#[test]
fn another_process_is_set_by_its_pid() {
    let shown = alone(|| {
        let mut child = Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let rlimits = vec![Rlimit { resource: NOFILE, soft: 50, hard: 60 }];
        let process = Process { rlimits, oom_score_adj: Some(321), ..shell("true") };
        host::apply(&process, child.id() as i32, proc().as_fd())?;
        let show = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
        println!("\n{}score: {}", show("limits"), show("oom_score_adj"));
        child.stdin.take();
        child.wait().unwrap();
        std::process::exit(0);
    });
    assert_eq!((shown.line("Max open files"), shown.line("score:")), ("50 60 files".into(), "321".into()));
}
