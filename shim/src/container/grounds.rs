//! What a container stands on: its lease, its cgroup, what is written down about it. [`Draft`] owns them while the
//! container is made and takes them away when that fails, [`Grounds`] owns them while it lives.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use policy::config;
use policy::idmap::IdMap;
use policy::plan::{self, Hooks};
use userns::lease::Lease;
use userns::views::Views;

use super::cgroup::{self, Cgroup};
use super::error::Error;
use super::hooks;
use super::lock;
use super::logging::Names;
use super::namespaces::Identity;
use super::state::State;
use super::trap::Traps;
use crate::stage::launch::Launcher;

/// What a container stands on besides its processes.
pub(super) struct Grounds {
    pub(super) names: Names,
    pub(super) cgroup: Cgroup,
    pub(super) id_map: IdMap,
    /// The container's own process as its spec has it, from which execs take over what they leave out.
    pub(super) process: plan::Process,
    /// What the operator's config said when it was made; holds for its execs, too.
    pub(super) config: config::Container,
    pub(super) no_new_keyring: bool,
    /// Whether its pid namespace is another container's.
    pub(super) shares_pids: bool,
    /// Its network namespace, where that is the host's.
    pub(super) network: Option<Identity>,
    /// Its hooks.
    pub(super) hooks: Hooks,
    /// Answers the calls that its processes' trap filters trap.
    pub(super) traps: Traps,
    /// Who owns the stdio, where the engine says so.
    pub(super) stdio_owner: Option<(u32, u32)>,
    /// The engine's own view of the root filesystem and the container's, where there are two; until it is deleted.
    pub(super) views: Mutex<Option<Arc<Views>>>,
    /// Held until the container is deleted.
    pub(super) lease: Mutex<Option<Lease>>,
}

impl Grounds {
    /// The host's uid and gid that a process's pipes are given to.
    pub(super) fn stdio_owner(&self, process: &plan::Process) -> (u32, u32) {
        stdio_owner(self.stdio_owner, process, self.id_map)
    }

    /// Does something with the cgroup that may wait for the kernel.
    pub(super) async fn with_cgroup<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Cgroup) -> Result<T, cgroup::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let cgroup = self.cgroup.clone();
        blocking(move || act(&cgroup).map_err(of_cgroup)).await
    }

    /// Removes everything, and runs the poststop hooks. Can be called again when it fails.
    pub(super) async fn remove(&self, launcher: &Launcher, bundle: &Path) -> Result<(), Error> {
        self.with_cgroup(|cgroup| cgroup.kill_all().and_then(|()| cgroup.remove())).await?;
        if !self.hooks.poststop.is_empty() {
            hooks::poststop(launcher, bundle, &self.names.container).await;
        }
        self.traps.end(&self.names.container);
        // The engine unmounts its own next.
        lock(&self.views).take();
        let (lease, bundle, id) = (lock(&self.lease).take(), bundle.to_owned(), self.names.container.clone());
        blocking(move || {
            State::remove(&bundle);
            if let Some(Err(error)) = lease.map(Lease::release) {
                // The container is gone; who looks at the lease next sees that.
                log::warn!(container = id.as_str(); "{error}");
            }
            Ok(())
        })
        .await
    }
}

/// A container that is being made. Dropping it undoes what was done.
pub(super) struct Draft {
    /// The container's id.
    pub(super) id: String,
    /// The bundle's directory.
    pub(super) bundle: PathBuf,
    /// Its lease, once it has one.
    pub(super) lease: Option<Lease>,
    /// Whether there may be a state file in the bundle.
    pub(super) written: bool,
    /// Its cgroup, once it is made.
    pub(super) cgroup: Option<Cgroup>,
}

impl Draft {
    /// Nothing is made yet.
    pub(super) fn new(id: &str, bundle: &Path) -> Self {
        Self { id: id.to_owned(), bundle: bundle.to_owned(), lease: None, written: false, cgroup: None }
    }

    /// The lease's descriptor for init, which thereby holds its lock too.
    pub(super) fn share_lease(&self) -> Result<OwnedFd, Error> {
        let lease = self.lease.as_ref().ok_or_else(|| Error::Failed("the container has no lease".to_owned()))?;
        lease.as_fd().try_clone_to_owned().map_err(|error| Error::Failed(format!("share the lease: {error}")))
    }

    /// Takes the lease out of a draft that is one no more.
    pub(super) fn keep(mut self) -> Option<Lease> {
        (self.cgroup, self.written) = (None, false);
        self.lease.take()
    }

    /// Undoes what was done, and runs the poststop hooks: any other hook may have run.
    pub(super) async fn undo(mut self, launcher: &Launcher, hooks: &Hooks) {
        // It may wait for the kernel. A panic in it has been logged.
        let ended = tokio::task::spawn_blocking(move || {
            self.end_group();
            self
        });
        let Ok(draft) = ended.await else { return };
        if draft.written && !hooks.poststop.is_empty() {
            hooks::poststop(launcher, &draft.bundle, &draft.id).await;
        }
        let _ = tokio::task::spawn_blocking(move || drop(draft)).await;
    }

    /// Kills what is in the cgroup and removes it. What is written down stays where that fails.
    fn end_group(&mut self) {
        if let Some(Err(error)) = self.cgroup.take().map(|cgroup| cgroup.kill_all().and_then(|()| cgroup.remove())) {
            self.complain(&error);
            self.written = false;
        }
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        log::warn!(container = self.id.as_str(); "take apart a container that could not be made: {error}");
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.end_group();
        if self.written {
            State::remove(&self.bundle);
        }
        if let Some(Err(error)) = self.lease.take().map(Lease::release) {
            self.complain(&error);
        }
    }
}

fn stdio_owner(wanted: Option<(u32, u32)>, process: &plan::Process, id_map: IdMap) -> (u32, u32) {
    let on_host = |id| id_map.to_host(id).unwrap_or(id_map.host);
    wanted.unwrap_or_else(|| (on_host(process.uid), on_host(process.gid)))
}

/// Runs what waits for files or the kernel on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    blocking_pair(work).await?
}

pub(super) async fn blocking_pair<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Failed(format!("a step did not end: {error}")))
}

pub(super) fn of_cgroup(error: cgroup::Error) -> Error {
    match error {
        cgroup::Error::Refused(refusal) => Error::Refused(refusal),
        error => Error::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_belong_to_the_process_unless_the_engine_says_so() {
        let map = IdMap { host: 100_000, size: 65536 };
        let process: plan::Process = serde_json::from_value(serde_json::json!({
            "terminal": false, "console_size": null, "cwd": "/", "args": ["true"], "env": [], "uid": 5, "gid": 7,
            "additional_gids": [], "umask": null, "no_new_privileges": false, "rlimits": [], "oom_score_adj": null,
            "capabilities": { "bounding": 0, "effective": 0, "permitted": 0, "inheritable": 0, "ambient": 0 },
            "scheduler": null, "io_priority": null, "cpu_affinity_initial": null, "cpu_affinity_final": null,
            "personality": null, "apparmor": null, "selinux_label": null, "seccomp": null,
        }))
        .unwrap();
        assert_eq!(stdio_owner(None, &process, map), (100_005, 100_007));
        assert_eq!(stdio_owner(Some((1, 2)), &process, map), (1, 2));
    }
}
