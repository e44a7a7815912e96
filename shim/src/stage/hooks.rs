//! The hooks of a container: where each kind runs, and what it is told.
//!
//! | kind | run by | namespaces | rights |
//! |---|---|---|---|
//! | prestart, createRuntime | the stage of this module ([`run`]), while the build stage waits | the host's | the host's root |
//! | createContainer | the build stage, before it pivots | the container's, save the user namespace | every capability, as the container's root |
//! | startContainer | init, before it becomes the user's program | the container's | the container's root |
//! | poststart, poststop | the stage of this module; `delete`, where the shim is dead | the host's | the host's root |
//!
//! createContainer keeps the host's user namespace, because it owns the mount namespace in which the tree still stands:
//! a hook of the container's own could neither mount there nor read the bundle. Its ids are the container's root, so that what
//! it creates in the tree is owned as an image's files are (another id has no place there: `EOVERFLOW`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use policy::plan::{Hook, Hooks, NamespaceKind};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::message::{BuildOrder, Failure, Report};
use super::{filter, hook, namespaces, process};

/// The version of the state's format.
const OCI_VERSION: &str = "1.3.0";

/// Hooks for the host's namespaces, of one kind or of kinds that follow each other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HookOrder {
    /// In the order in which they run; the first failure is the last.
    pub(crate) hooks: Vec<Hook>,
    /// What each reads.
    pub(crate) state: String,
    /// Where each runs.
    pub(crate) directory: PathBuf,
}

/// The state of the runtime spec (runtime.md, "State"), as a hook reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    annotations: &'a BTreeMap<String, String>,
}

/// Where in its life a container is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// prestart, createRuntime, createContainer
    Creating,
    /// startContainer
    Created,
    /// poststart
    Running,
    /// poststop
    Stopped,
}

/// The state as JSON. `pid` is that of init as the hook's own pid namespace counts; none once it is gone.
pub(crate) fn state(
    id: &str,
    status: Status,
    pid: Option<i32>,
    bundle: &Path,
    annotations: &BTreeMap<String, String>,
) -> Result<String, String> {
    let state = State { oci_version: OCI_VERSION, id, status, pid, bundle, annotations };
    serde_json::to_string(&state).map_err(|error| format!("write the state for hooks: {error}"))
}

/// The stage that runs hooks in the namespaces it was spawned in: the host's. The end of `control` kills what runs.
pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let received = control.receive_order::<HookOrder>().map_err(Failure::at("receive", "the order"))?;
    let Some((HookOrder { hooks, state, directory }, _)) = received else { return Ok(()) };
    let client = Some(control.as_fd());
    for hook in &hooks {
        hook::run(&hook::Run { hook, state: &state, directory: &directory, client }, hook::nothing, hook::nothing)
            .map_err(Failure::line)?;
    }
    control.send(&Report::Ready, &[]).map_err(Failure::at("report to", "the shim"))
}

/// The build stage's part: the createContainer hooks, whose programs are the host's. It is in init's network, IPC and cgroup
/// namespaces already; afterwards its children are in init's pid namespace.
pub(super) fn create_container(
    control: &Channel,
    order: &BuildOrder,
    pid: i32,
    proc: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let Hooks { create_container, bundle, annotations, .. } = &order.plan.hooks;
    if create_container.is_empty() {
        return Ok(());
    }
    let inside = pid_inside(proc, pid)?;
    let state = state(&order.id, Status::Creating, Some(inside), bundle, annotations).map_err(Failure::line)?;
    let pids = namespaces::open_of(proc, pid, NamespaceKind::Pid)?;
    rustix::thread::move_into_link_name_space(pids.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .map_err(Failure::at("join init's namespace:", "pid"))?;
    for hook in create_container {
        let namespaces = further_namespaces(proc, pid)?;
        let owner = order.id_map.host;
        let enter = move || {
            namespaces.iter().try_for_each(|(fd, kind)| {
                rustix::thread::move_into_link_name_space(fd.as_fd(), Some(*kind)).map_err(io::Error::from)
            })?;
            process::become_owner(owner).map_err(process::StageError::into_io)
        };
        let run = hook::Run { hook, state: &state, directory: bundle, client: Some(control.as_fd()) };
        hook::run(&run, enter, hook::nothing).map_err(Failure::line)?;
    }
    Ok(())
}

/// Those that the hook's process joins by itself.
fn further_namespaces(proc: BorrowedFd<'_>, pid: i32) -> Result<Vec<(OwnedFd, LinkNameSpaceType)>, Failure> {
    let uts = namespaces::open_of(proc, pid, NamespaceKind::Uts)?;
    let mut further = vec![(uts, LinkNameSpaceType::HostNameAndNISDomainName)];
    if namespaces::host_has(NamespaceKind::Time) {
        // Init enters its own only when the tree stands.
        further.push((namespaces::open_time_for_children_of(proc, pid)?, LinkNameSpaceType::Time));
    }
    Ok(further)
}

/// Init's pid in its own pid namespace: 1, unless that is another container's.
fn pid_inside(proc: BorrowedFd<'_>, pid: i32) -> Result<i32, Failure> {
    let path = format!("{pid}/status");
    let status = namespaces::read_below(proc, &path)?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let own = pids.and_then(|pids| pids.split_whitespace().last()?.parse().ok());
    own.ok_or_else(|| Failure::line(format!("read /proc/{path}: it has no NSpid")))
}

/// Init's part: the startContainer hooks. Their programs are the container's, so the container's filters hold for them, too.
/// Each hands a listener of its own over; init, of which they are children, has none yet.
pub(super) fn start_container(control: &Channel, order: &BuildOrder) -> Result<(), Failure> {
    let Hooks { start_container, bundle, annotations, .. } = &order.plan.hooks;
    if start_container.is_empty() {
        return Ok(());
    }
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let state = state(&order.id, Status::Created, Some(pid), bundle, annotations).map_err(Failure::line)?;
    for hook in start_container {
        // The container's root, with no key of ours: a session keyring is usable by whoever inherits it.
        let enter = || {
            process::become_root().map_err(process::StageError::into_io)?;
            crate::sys::process::leave_session_keyring()
        };
        let filters = order.filters.clone();
        // Init says nothing while a hook runs.
        let hooks_own = control.another().map_err(Failure::at("keep", "the channel to the shim"))?;
        let seal = move || filter::install(&filters, &hooks_own);
        let run = hook::Run { hook, state: &state, directory: Path::new("/"), client: Some(control.as_fd()) };
        hook::run(&run, enter, seal).map_err(Failure::line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_that_of_the_runtime_spec() {
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let running = state("c", Status::Running, Some(7), Path::new("/b"), &annotations).unwrap();
        let expected =
            r#"{"ociVersion":"1.3.0","id":"c","status":"running","pid":7,"bundle":"/b","annotations":{"a":"b"}}"#;
        assert_eq!(running, expected);
        let stopped = state("c", Status::Stopped, None, Path::new("/b"), &BTreeMap::new()).unwrap();
        assert_eq!(stopped, r#"{"ociVersion":"1.3.0","id":"c","status":"stopped","bundle":"/b","annotations":{}}"#);
    }
}
