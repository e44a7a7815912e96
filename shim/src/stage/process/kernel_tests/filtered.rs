//! The seccomp filter, and how little comes after it.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use oci_spec::runtime::LinuxSeccomp;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::*;

fn filter(profile: &str) -> std::io::Result<()> {
    let profile: LinuxSeccomp = serde_json::from_str(profile).expect("a profile");
    let compiled = syscall_trap::filter::compile(&profile).expect("a profile that compiles");
    syscall_trap::sys::install(&compiled.program, 0)
}

/// Runs cat under a filter that kills on every call but those in `allowed`. Returns the name of the program that was
/// killed and the signal: a zombie keeps the name that execve(2) gave it. (mseal, which nobody calls here, is allowed
/// because calls with numbers above every named one get ENOSYS, as in runc.)
fn killed(no_new_privileges: bool, allowed: &str) -> (String, Option<i32>) {
    let run = second_run(this_binary(), || {
        let prepared = prepared(&Process { uid: 1000, no_new_privileges, ..program(&["/bin/cat"]) })?;
        prepared.become_and_exec(|| {
            filter(&format!(
                r#"{{"defaultAction": "SCMP_ACT_KILL_PROCESS",
                     "syscalls": [{{"names": ["{allowed}", "mseal"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            ))
        })
    });
    let mut child = { run }.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap();
    (name.trim().to_owned(), child.wait().unwrap().signal())
}

#[test]
fn the_filter_needs_to_allow_execve_alone() {
    let expected = ("cat".to_owned(), Some(libc::SIGSYS));
    assert_eq!(killed(false, "execve"), expected);
    assert_eq!(killed(true, "execve"), expected);
}

/// The near miss, which shows that the test above sees a difference.
#[test]
fn a_filter_without_execve_stops_the_program_from_starting() {
    let (name, signal) = killed(false, "read");
    assert_eq!(signal, Some(libc::SIGSYS));
    assert_ne!(name, "cat");
}

#[test]
fn the_program_runs_under_the_filter() {
    let shown = alone(|| {
        prepared(&shell("cat /proc/self/status; mkdir /tmp/eci-never || echo it: failed"))?.become_and_exec(|| {
            filter(
                r#"{"defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#,
            )
        })
    });
    assert_eq!((shown.line("Seccomp:"), shown.line("it:")), ("2".into(), "failed".into()));
}
