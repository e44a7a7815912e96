//! Further processes in a running container.

use std::sync::{Arc, Mutex};

use policy::plan;
use policy::spec::{self, load_process, plan_process};

use super::cgroup::Entry;
use super::create::launch_fds;
use super::error::Error;
use super::event::Event;
use super::grounds::of_cgroup;
use super::process::{Phase, Process};
use super::stdio::{self, Streams};
use super::{Container, exit, filters, lock};
use crate::failpoint;
use crate::stage::launch::ExecStage;
use crate::stage::message::{ExecOrder, Program};

/// The exit status of an exec whose program cannot be run, as in a shell.
const NO_PROGRAM: u32 = 127;

/// That of one that failed for another reason, as containerd's own shim has it.
const NOT_STARTED: u32 = 255;

/// An exec: a process, and what it is to run.
pub(crate) struct Exec {
    pub(super) process: Process,
    plan: plan::Process,
    filters: Vec<Program>,
    /// Comes up while the engine gets from Exec to Start, which takes it.
    stage: Mutex<Option<ExecStage>>,
}

/// What the engine says of an exec.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its id, unique in the container.
    pub(crate) id: String,
    /// The spec's `process`, as JSON.
    pub(crate) spec: Vec<u8>,
    /// What its stdio is to be.
    pub(crate) stdio: stdio::Request,
}

impl Container {
    /// Adds an exec, which may be started then.
    ///
    /// # Errors
    /// AlreadyExists, FailedPrecondition when the container has stopped, or a refusal of its spec.
    pub(crate) async fn add_exec(&self, request: Request) -> Result<(), Error> {
        self.running("exec in")?;
        self.not_paused("exec in")?;
        if request.id.is_empty() {
            return Err(Error::InvalidArgument("an exec needs an id".to_owned()));
        }
        if lock(&self.execs).contains_key(&request.id) {
            return Err(Error::AlreadyExists(format!("id {}", request.id)));
        }
        let plan = self.plan_exec(&request)?;
        let filters = filters::of_exec(&plan, self.grounds.config, &self.id).await?;
        let process = Process::new(request.id.clone(), Streams::new(request.stdio, self.grounds.names.clone()));
        // Best effort: Start tries again, and says what is wrong.
        let stage = Mutex::new(self.shared.launcher.exec_stage().ok());
        let exec = Arc::new(Exec { process, plan, filters, stage });
        let mut execs = lock(&self.execs);
        if execs.contains_key(&request.id) {
            return Err(Error::AlreadyExists(format!("id {}", request.id)));
        }
        // Under the lock, so that no start of it can be told before.
        self.shared.events.emit(&self.id, Event::ExecAdded { exec: request.id.clone() });
        execs.insert(request.id, exec);
        Ok(())
    }

    fn plan_exec(&self, request: &Request) -> Result<plan::Process, Error> {
        let loaded = load_process(&request.spec)?;
        for note in loaded.notes() {
            log::warn!(container = self.id.as_str(), exec = request.id.as_str(); "{note}");
        }
        let exec =
            spec::Exec { map: self.grounds.id_map, init: &self.grounds.process, terminal: request.stdio.terminal };
        Ok(policy::grants::process(plan_process(&loaded.value, &exec)?, self.grounds.config.grants))
    }

    /// An exec by its id.
    pub(super) fn exec(&self, id: &str) -> Result<Arc<Exec>, Error> {
        let exec = lock(&self.execs).get(id).cloned();
        exec.ok_or_else(|| Error::NotFound(format!("process does not exist {id}")))
    }

    /// Refuses what needs a living container.
    pub(super) fn running(&self, what: &str) -> Result<(), Error> {
        match self.init.phase() {
            Phase::Stopped(_) => Err(self.cannot(what, "stopped")),
            _ => Ok(()),
        }
    }

    pub(super) async fn start_exec(&self, exec: &Arc<Exec>) -> Result<u32, Error> {
        self.running("exec in")?;
        self.not_paused("exec in")?;
        exec.process.begin_start()?;
        failpoint::hit("exec-begun", &self.id);
        let outcome = self.launch(exec).await;
        failpoint::hit("exec-done", &self.id);
        if let Err(error) = &outcome {
            exec.process.streams.abort().await;
            exec.process.failed(if matches!(error, Error::Program(_)) { NO_PROGRAM } else { NOT_STARTED });
        }
        outcome
    }

    async fn launch(&self, exec: &Arc<Exec>) -> Result<u32, Error> {
        let process = &exec.process;
        let stdio = process.streams.open(self.grounds.stdio_owner(&exec.plan)).await?;
        let init = crate::sys::signal::open(self.init.pid())
            .map_err(|_| Error::FailedPrecondition(format!("container {} init process is not running", self.id)))?;
        self.settle_views().await;
        let entry = self.grounds.cgroup.entry_beside(self.init.pid()).map_err(of_cgroup)?;
        // The container's own group is of use to its init alone.
        let (groups, fds) = launch_fds(Entry { own: None, ..entry }, stdio, vec![init]);
        let order = ExecOrder {
            id: self.id.clone(),
            process: exec.plan.clone(),
            id_map: self.grounds.id_map,
            filters: exec.filters.clone(),
            no_new_keyring: self.grounds.no_new_keyring,
            groups,
        };
        let stage = lock(&exec.stage).take();
        let stage = stage.map_or_else(|| self.shared.launcher.exec_stage(), Ok)?;
        let serve = |listener| {
            failpoint::hit("exec-trapped", &self.id);
            self.grounds.traps.serve(listener)
        };
        let executed = stage.exec(&order, fds, |pid| process.exists_as(pid), serve).await?;
        for note in &executed.notes {
            log::warn!(container = self.id.as_str(), exec = process.id.as_str(); "{note}");
        }
        let watched = executed.pidfd.try_clone().map_err(|error| Error::Failed(format!("watch an exec: {error}")));
        process.exists(executed.pid, executed.pidfd);
        let attached = match executed.terminal {
            Some(master) => process.streams.attach(master).await,
            None => Ok(()),
        };
        let watched = match (watched, attached) {
            (Ok(watched), Ok(())) => watched,
            (watched, attached) => {
                // A program that nobody can talk to, or wait for, is not left running.
                let _ = process.kill(9);
                if let Ok(watched) = watched {
                    exit::of(watched).await;
                }
                return Err(attached.err().unwrap_or_else(|| Error::Failed("watch an exec".to_owned())));
            }
        };
        let pid = process.pid();
        process.started(&self.shared.events, &self.id, Event::ExecStarted { exec: process.id.clone(), pid });
        let (exec, shared, id) = (exec.clone(), self.shared.clone(), self.id.clone());
        tokio::spawn(async move { exec.process.watch(watched, &shared.events, &id, async {}).await });
        Ok(pid)
    }
}
