//! Containers: made, started, entered, watched, killed and deleted.
//!
//! * [`pod::Pod`]: the containers of one shim.
//! * [`Container`]: one container, with its [`process::Process`]es.
//! * [`create`]: what is put together to make one, on [`grounds`] and with [`ids`] of its own.
//! * [`audit`]: what is logged of what it is denied.
//! * [`start`], [`kill`]: its beginning and its end; [`exec`]: further processes.
//! * [`views`]: what keeps its root filesystem and the engine's view of it in agreement.
//! * [`hands`]: what is done on behalf of its processes.
//! * [`emulation`]: what serves its files of /proc and /sys that tell of it instead of the host; [`inner`]: of which of its
//!   groups they tell whom.
//! * [`hooks`]: what is owed once it lives, and once it is gone.
//! * [`update`]: other limits; [`stats`]: what is used; [`freeze`], [`oom`]: when it stands still, when memory runs out.
//! * [`stdio`], [`logging`]: where input and output go.
//! * [`trap`]: who answers the system calls that its trap filter traps.
//! * [`state`]: what is written down for the time after the shim, and how it is cleaned up then.
//!
//! Invariants: nothing here knows of containerd's wire (a test reads the sources: no ttrpc, no protos); every change of a
//! process's phase is told as an event first; no lock is held while a stage or the kernel works.

mod audit;
mod binds;
mod ceilings;
pub(crate) mod cgroup;
pub(crate) mod config;
pub(crate) mod create;
mod devices;
mod emulation;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod exit;
mod filters;
mod freeze;
mod grounds;
mod hands;
mod hooks;
mod ids;
mod inner;
mod kill;
pub(crate) mod logging;
pub(crate) mod namespaces;
mod oom;
pub(crate) mod options;
pub(crate) mod pod;
pub(crate) mod process;
mod programs;
mod start;
pub(crate) mod state;
mod stats;
pub(crate) mod stdio;
mod trap;
mod update;
mod views;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use error::Error;
use event::Event;
use exec::Exec;
use exit::Exit;
use grounds::Grounds;
use pod::Shared;
use process::{Phase, Process};

use crate::failpoint;
use crate::stage::launch::Waiting;

/// How long a process may take to be gone once its container's init has been killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container, from the moment in which its init waits for Start.
pub(crate) struct Container {
    /// Its id.
    pub(crate) id: String,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    shared: Arc<Shared>,
    grounds: Grounds,
    init: Process,
    /// What is taken by Start, and by the task that waits for init.
    waiting: Mutex<Option<Waiting>>,
    unwatched: Mutex<Option<OwnedFd>>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    /// The look-out for its end of memory.
    oom: Option<cgroup::oom::Oom>,
    paused: freeze::Paused,
    /// Held by the one Update, Pause or Resume that works.
    updating: tokio::sync::Mutex<()>,
    /// Held by the one Delete that works; true once nothing is left.
    deleted: tokio::sync::Mutex<bool>,
}

/// What State tells of a process.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// Where in its life it is.
    pub(crate) phase: Phase,
    /// Whether its container is paused; an exec that runs is not told apart.
    pub(crate) paused: bool,
    /// Its pid, 0 before it exists.
    pub(crate) pid: u32,
    /// What the engine asked its stdio to be.
    pub(crate) stdio: stdio::Request,
}

impl Container {
    /// The process of an exec, or the container's own for an empty id.
    ///
    /// # Errors
    /// NotFound.
    fn process(&self, exec: &str) -> Result<Target, Error> {
        if exec.is_empty() { Ok(Target::Init) } else { self.exec(exec).map(Target::Exec) }
    }

    fn of<'a>(&'a self, target: &'a Target) -> &'a Process {
        match target {
            Target::Init => &self.init,
            Target::Exec(exec) => &exec.process,
        }
    }

    /// Its network namespace, where that is the host's.
    fn network(&self) -> Option<namespaces::Identity> {
        self.grounds.network
    }

    /// Init's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.init.pid()
    }

    /// Waits for the end of init in a task of its own, and tells of it after the ends of all execs: with the container's
    /// init its pid namespace ends.
    fn watch(self: Arc<Self>) {
        let Some(pidfd) = lock(&self.unwatched).take() else { return };
        self.watch_oom();
        self.watch_views();
        tokio::spawn(async move {
            let before = self.end_processes();
            self.init.watch(pidfd, &self.shared.events, &self.id, before).await;
        });
    }

    /// What must be over before the end of init is told. Where the pid namespace is another container's, our processes
    /// have outlived our init, and are killed.
    async fn end_processes(&self) {
        if self.grounds.shares_pids {
            self.kill_group().await;
        }
        let running: Vec<_> =
            lock(&self.execs).values().filter(|exec| exec.process.phase() == Phase::Running).cloned().collect();
        for exec in running {
            if tokio::time::timeout(PATIENCE, exec.process.wait()).await.is_err() {
                log::warn!(container = self.id.as_str(); "exec {} has outlived its container", exec.process.id);
            }
        }
        self.tell_oom();
    }

    /// What is known of a process.
    ///
    /// # Errors
    /// NotFound.
    pub(crate) fn status(&self, exec: &str) -> Result<Status, Error> {
        let target = self.process(exec)?;
        let process = self.of(&target);
        let paused = self.paused.get();
        Ok(Status { phase: process.phase(), paused, pid: process.pid(), stdio: process.streams.request().clone() })
    }

    /// Waits for the end of a process.
    ///
    /// # Errors
    /// NotFound.
    pub(crate) async fn wait(&self, exec: &str) -> Result<Exit, Error> {
        let target = self.process(exec)?;
        Ok(self.of(&target).wait().await)
    }

    /// The processes of the container, by pid.
    ///
    /// # Errors
    /// When the cgroup cannot be read.
    pub(crate) async fn pids(&self) -> Result<Vec<u32>, Error> {
        self.grounds.with_cgroup(cgroup::Cgroup::processes).await
    }

    /// The execs that run, by pid.
    pub(crate) fn exec_pids(&self) -> HashMap<u32, String> {
        lock(&self.execs)
            .iter()
            .map(|(id, exec)| (exec.process.pid(), id.clone()))
            .filter(|(pid, _)| *pid != 0)
            .collect()
    }

    /// Sets the size of a process's terminal, also before it is started.
    ///
    /// # Errors
    /// NotFound, or what the kernel answers.
    pub(crate) fn resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error> {
        let target = self.process(exec)?;
        self.of(&target).streams.resize(columns, rows)
    }

    /// Ends a process's standard input.
    ///
    /// # Errors
    /// NotFound.
    pub(crate) fn close_stdin(&self, exec: &str) -> Result<(), Error> {
        let target = self.process(exec)?;
        self.of(&target).streams.close_stdin();
        Ok(())
    }

    /// Deletes a stopped container with everything that it stood on, or a process. Returns pid and exit.
    ///
    /// # Errors
    /// NotFound; FailedPrecondition while it runs; what could not be removed (and can be tried again).
    pub(crate) async fn delete(&self, exec: &str) -> Result<(u32, Exit), Error> {
        match self.process(exec)? {
            Target::Init => self.delete_all().await,
            Target::Exec(exec) => {
                let exit = exec.process.deletable()?;
                exec.process.streams.shutdown().await;
                lock(&self.execs).remove(&exec.process.id);
                Ok((exec.process.pid(), exit))
            }
        }
    }

    async fn delete_all(&self) -> Result<(u32, Exit), Error> {
        let mut deleted = self.deleted.lock().await;
        if *deleted {
            return Err(Error::NotFound("container not created".to_owned()));
        }
        let exit = self.init.deletable()?;
        failpoint::hit("delete-begun", &self.id);
        self.init.streams.shutdown().await;
        let execs: Vec<_> = lock(&self.execs).drain().map(|(_, exec)| exec).collect();
        for exec in execs {
            exec.process.streams.abort().await;
        }
        self.grounds.remove(&self.shared.launcher, &self.bundle).await?;
        failpoint::hit("delete-cleaned", &self.id);
        *deleted = true;
        let pid = self.init.pid();
        self.shared.events.emit(&self.id, Event::Deleted { pid, exit });
        Ok((pid, exit))
    }
}

/// Whom a request means.
enum Target {
    Init,
    Exec(Arc<Exec>),
}

/// A lock that a panic elsewhere does not take away: what it guards is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn sources(dir: &Path, found: &mut Vec<(std::path::PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }

    #[test]
    fn the_container_knows_nothing_of_the_wire() {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/container"), &mut found);
        assert!(found.len() > 10, "the sources were not found");
        for (path, text) in found {
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for module in ["ttrpc", "_protos", "protobuf", "wire"] {
                    let uses = format!("{module}::");
                    assert!(!line.contains(&uses), "{}: {line}", path.display());
                }
            }
        }
    }
}
