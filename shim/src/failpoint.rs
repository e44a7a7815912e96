//! Named places where a test can kill the shim or one of its stages, to prove that whatever is left behind is cleaned up.
//!
//! With the cargo feature `failpoints`, `ECI_FAILPOINT=NAME` (or `NAME@CONTAINER`) makes [`hit`] send the process
//! SIGKILL at that place, and `ECI_FAILPOINT=stop:NAME` SIGSTOP. Without the feature nothing is compiled in. [`NAMES`]
//! lists every place; those in a stage begin with `stage-`.

/// Every failpoint, in the order in which a container's life reaches them.
#[cfg(any(feature = "failpoints", test))]
pub(crate) const NAMES: [&str; 26] = [
    "create-planned",
    "create-leased",
    "create-grouped",
    "create-recorded",
    "stage-build-namespaces",
    "stage-build-cloned",
    "stage-build-mounted",
    "stage-build-pivoted",
    "stage-init-settled",
    "stage-init-locked",
    "create-built",
    "create-done",
    "start-begun",
    "stage-init-starting",
    "start-trapped",
    "start-done",
    "exec-begun",
    "stage-exec-joined",
    "stage-exec-untold",
    "stage-exec-cloned",
    "stage-exec-ready",
    "exec-trapped",
    "exec-done",
    "exit-seen",
    "delete-begun",
    "delete-cleaned",
];

/// The environment variable that names the failpoint.
pub(crate) const VARIABLE: &str = "ECI_FAILPOINT";

/// Dies (or stops) here when the environment says so; `container` is the id of the container that is worked on.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str, container: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    debug_assert!(NAMES.contains(&name), "{name} is not in the table");
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (signal, wanted) = match wanted.strip_prefix("stop:") {
        Some(wanted) => (Signal::STOP, wanted),
        None => (Signal::KILL, wanted.as_str()),
    };
    if names(wanted, name, container) {
        let _ = kill_process(getpid(), signal);
        if signal == Signal::KILL {
            // The first process of a pid namespace is not killed from within (pid_namespaces(7)): it leaves as abruptly.
            std::process::exit(137);
        }
    }
}

/// Nothing: this binary has no failpoints.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn hit(_name: &str, _container: &str) {}

/// What a process that we spawn must know of failpoints.
pub(crate) fn environment() -> Option<(&'static str, std::ffi::OsString)> {
    if cfg!(feature = "failpoints") { std::env::var_os(VARIABLE).map(|value| (VARIABLE, value)) } else { None }
}

#[cfg(any(feature = "failpoints", test))]
fn names(wanted: &str, name: &str, container: &str) -> bool {
    match wanted.split_once('@') {
        Some((wanted, id)) => wanted == name && id == container,
        None => wanted == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_may_be_bound_to_one_container() {
        assert!(names("create-built", "create-built", "a") && names("create-built@a", "create-built", "a"));
        assert!(!names("create-built@b", "create-built", "a") && !names("create-done", "create-built", "a"));
    }

    #[test]
    fn every_failpoint_has_one_name() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }
}
