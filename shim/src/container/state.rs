//! What is written down about a container for the time after its shim, and how that is cleaned up then.
//!
//! `eci.json` in the bundle names the container's cgroups before they are made, says so once they are the container's own,
//! and names its init as soon as it exists; it also has the poststop hooks that are still owed ([`super::hooks`]).
//! It is versioned, so that the `delete` of a newly installed binary reads what an older shim wrote. (Id ranges need no
//! cleaning: the lock on a lease ends with the shim, and the range with the container's processes and writable layer.)

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy::plan::{Hook, Hooks};
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};
use userns::lease::ProcessId;

use super::cgroup::{self, Cgroup, Layout};
use super::hooks;
use crate::files;
use crate::sys::signal;

/// The file's name in the bundle.
const FILE: &str = "eci.json";

/// What this code writes, and the highest that it reads.
///
/// 2: a container may owe poststop hooks.
const VERSION: u32 = 2;

/// How long a killed init may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what stands in for init may outlive its shim: containerd gives `delete` 5 s.
const STAND_IN: Duration = Duration::from_secs(3);

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// The container's id.
    pub(crate) id: String,
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// Its cgroups, one directory in each hierarchy.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Whether they have been made. Before, they may still be somebody else's, and nothing in them is killed.
    made: bool,
    /// The scope of systemd's that they are, once it is the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    /// Its init, once it exists.
    #[serde(default)]
    pub(crate) init: Option<ProcessId>,
    /// The poststop hooks that have not ended yet.
    #[serde(default)]
    pub(crate) poststop: Vec<Hook>,
    /// `annotations` of the spec, for them.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl State {
    /// A container whose cgroups are about to be made.
    pub(crate) fn planned(id: &str, namespace: &str, cgroups: Vec<PathBuf>) -> Self {
        Self {
            version: VERSION,
            id: id.to_owned(),
            namespace: namespace.to_owned(),
            cgroups,
            made: false,
            unit: None,
            init: None,
            poststop: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// A container whose cgroups are its own, and whose hooks are due from here on.
    pub(crate) fn made(id: &str, namespace: &str, cgroups: Vec<PathBuf>, hooks: &Hooks, unit: Option<&str>) -> Self {
        let unit = unit.map(str::to_owned);
        let mut state = Self { made: true, unit, ..Self::planned(id, namespace, cgroups) };
        if !hooks.poststop.is_empty() {
            state.poststop.clone_from(&hooks.poststop);
            state.annotations.clone_from(&hooks.annotations);
        }
        state
    }

    /// Writes it into the bundle; a reader sees the former content or all of the new one.
    ///
    /// # Errors
    /// One line with path and cause.
    pub(crate) fn write(&self, bundle: &Path) -> Result<(), String> {
        let path = bundle.join(FILE);
        let written = serde_json::to_vec(self).map_err(io::Error::from).and_then(|bytes| files::replace(&path, &bytes));
        written.map_err(|error| format!("write {}: {error}", path.display()))
    }

    /// Reads it from a bundle; none where there is none.
    ///
    /// # Errors
    /// One line, also for what a newer version wrote.
    pub(crate) fn read(bundle: &Path) -> Result<Option<Self>, String> {
        let path = bundle.join(FILE);
        let unreadable = |error: &dyn std::fmt::Display| format!("read {}: {error}", path.display());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
        };
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        if version > VERSION {
            return Err(unreadable(&format!("it was written by a newer version ({version})")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(&error))
    }

    /// Removes it from a bundle.
    #[expect(clippy::disallowed_methods, reason = "the bundle, which is containerd's and ours")]
    pub(crate) fn remove(bundle: &Path) {
        // What is not there need not be removed, and what cannot be goes with the bundle.
        let _ = fs::remove_file(bundle.join(FILE));
    }
}

/// Ends and removes whatever a container has left in its bundle's name, and runs the poststop hooks that are still owed; one
/// that fails is told to `warn`. May be called again at any time. Returns init's pid, 0 when it is not known.
///
/// # Errors
/// The first thing that could not be removed; everything else is removed all the same.
#[expect(clippy::disallowed_methods, reason = "the bundle, which is containerd's and ours")]
pub(crate) fn clean_up(bundle: &Path, warn: &dyn Fn(&str)) -> Result<u32, String> {
    let mut result = Ok(0);
    if let Some(state) = State::read(bundle)? {
        let init = state.init.map_or(0, |init| init.pid);
        result = kill(&state).and_then(|()| remove_cgroups(&state)).map(|()| init);
        if result.is_ok() {
            hooks::poststop_alone(bundle, warn);
        }
    }
    // Nothing of ours is mounted there; an engine's half-made mount may be.
    let rootfs = bundle.join("rootfs");
    while unmount(&rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    if result.is_ok() {
        State::remove(bundle);
    }
    result
}

/// Kills init if it is still the process that was written down; with it its pid namespace ends.
fn kill(state: &State) -> Result<(), String> {
    let Some(init) = state.init else { return Ok(()) };
    let Ok(pidfd) = signal::open(init.pid) else { return Ok(()) };
    // The descriptor was opened first: what is alive now under this start time is what it refers to.
    if !init.is_alive() {
        return Ok(());
    }
    let describe = |error: io::Error| format!("kill init (pid {}) of container {}: {error}", init.pid, state.id);
    signal::send(std::os::fd::AsFd::as_fd(&pidfd), 9).map_err(describe)?;
    // A frozen process of v1 dies only once it is thawed. What is wrong with its cgroup, its removal tells.
    if state.made
        && let Ok(cgroup) = cgroup_of(state)
    {
        cgroup.let_die();
    }
    let deadline = Instant::now() + PATIENCE;
    while init.is_alive() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(describe(io::ErrorKind::TimedOut.into()));
        }
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: left.as_secs().min(1) as i64 + 1, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&wait)).map_err(|errno| describe(errno.into()))?;
    }
    Ok(())
}

fn cgroup_of(state: &State) -> Result<Cgroup, cgroup::Error> {
    Layout::detect().and_then(|layout| Cgroup::open_existing(&layout, &state.cgroups, state.unit.as_deref()))
}

fn remove_cgroups(state: &State) -> Result<(), String> {
    let removed = cgroup_of(state).and_then(|cgroup| match state.made {
        true => cgroup.kill_all().and_then(|()| cgroup.remove()),
        false if empties(&cgroup)? => cgroup.remove(),
        false => Ok(()),
    });
    removed.map_err(|error| error.to_string())
}

/// Whether a group that may be somebody else's has no process, or soon has none: what stands in for init in a scope ends
/// with its shim, and need not have done so yet.
fn empties(cgroup: &Cgroup) -> Result<bool, cgroup::Error> {
    let deadline = Instant::now() + STAND_IN;
    while !cgroup.processes()?.is_empty() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_newer_version_is_not_guessed_at() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::read(dir.path()).unwrap(), None);
        let (cgroups, unit) = (vec!["/sys/fs/cgroup/eci/default/c1".into()], Some("eci-c1.scope"));
        let mut state = State::made("c1", "default", cgroups, &Hooks::default(), unit);
        state.init = Some(ProcessId { pid: 7, start: 42 });
        state.write(dir.path()).unwrap();
        assert_eq!(State::read(dir.path()).unwrap(), Some(state));
        fs::write(dir.path().join(FILE), r#"{"version": 3}"#).unwrap();
        assert!(State::read(dir.path()).unwrap_err().contains("newer version (3)"));
        let known = r#"{"version": 1, "id": "c", "namespace": "n", "cgroups": [], "made": true, "later": 1}"#;
        fs::write(dir.path().join(FILE), known).unwrap();
        let known = State::read(dir.path()).unwrap().unwrap();
        assert_eq!((known.init, known.unit), (None, None));
    }

    #[test]
    fn a_bundle_without_a_container_is_cleaned_up_already() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(clean_up(dir.path(), &|line| panic!("{line}")), Ok(0));
        assert_eq!(clean_up(&dir.path().join("gone"), &|line| panic!("{line}")), Ok(0));
    }

    #[test]
    fn a_pid_that_was_given_to_another_process_is_left_alone() {
        let _dir = tempfile::tempdir().unwrap();
        let me = ProcessId::of(std::process::id()).unwrap();
        let mut state = State::made("c1", "default", vec![], &Hooks::default(), None);
        state.init = Some(ProcessId { start: me.start - 1, ..me });
        assert_eq!(kill(&state), Ok(()));
    }
}
