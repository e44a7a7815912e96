//! A container that stands still, and goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::cgroup::Cgroup;
use super::error::Error;
use super::event::Event;
use super::process::Phase;
use super::{Container, Target};

/// Whether a container has been paused.
#[derive(Debug, Default)]
pub(super) struct Paused {
    /// Changed under the lock of updates alone.
    paused: AtomicBool,
    /// Whether its init is sent SIGKILL: frozen again before it dies of it, it would not (v1).
    killed: AtomicBool,
}

impl Paused {
    pub(super) fn get(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Says so before SIGKILL is sent, so that no Pause is told after the end.
    pub(super) fn is_to_die(&self) {
        self.killed.store(true, Ordering::Release);
    }
}

impl Container {
    /// Stops every process of the container where it stands.
    ///
    /// # Errors
    /// FailedPrecondition unless it runs and is not paused; when a process does not stop within 10 s.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        let _alone = self.updating.lock().await;
        match self.init.phase() {
            Phase::Running if !self.paused.get() => {}
            Phase::Running => return Err(self.cannot("pause", "paused")),
            Phase::Created | Phase::Starting => return Err(self.cannot("pause", "not started")),
            Phase::Stopped(_) => return Err(self.cannot("pause", "stopped")),
        }
        self.grounds.with_cgroup(Cgroup::freeze).await?;
        if let Some(state) = self.ends() {
            let _ = self.grounds.with_cgroup(Cgroup::thaw).await;
            return Err(self.cannot("pause", state));
        }
        self.paused.paused.store(true, Ordering::Release);
        self.shared.events.emit(&self.id, Event::Paused);
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// FailedPrecondition unless it is paused.
    pub(crate) async fn resume(&self) -> Result<(), Error> {
        let _alone = self.updating.lock().await;
        self.running("resume")?;
        if !self.paused.get() {
            return Err(self.cannot("resume", "not paused"));
        }
        self.grounds.with_cgroup(Cgroup::thaw).await?;
        if let Some(state) = self.ends() {
            return Err(self.cannot("resume", state));
        }
        self.paused.paused.store(false, Ordering::Release);
        self.shared.events.emit(&self.id, Event::Resumed);
        Ok(())
    }

    /// Refuses what a paused container would never get done.
    pub(super) fn not_paused(&self, what: &str) -> Result<(), Error> {
        if self.paused.get() { Err(self.cannot(what, "paused")) } else { Ok(()) }
    }

    /// Lets a container end whose init was sent SIGKILL, though it or a part of it is frozen. A Pause that works is waited
    /// for: it would freeze again what is let go.
    pub(super) async fn let_die(&self, target: &Target) {
        if !matches!(target, Target::Init) {
            return;
        }
        let _alone = self.updating.lock().await;
        let let_die = |cgroup: &Cgroup| {
            cgroup.let_die();
            Ok(())
        };
        if let Err(error) = self.grounds.with_cgroup(let_die).await {
            log::debug!(container = self.id.as_str(); "a killed container is let go: {error}");
        }
    }

    /// Whether it has ended meanwhile, or is about to: nothing is told of that after its exit.
    fn ends(&self) -> Option<&'static str> {
        match self.init.phase() {
            Phase::Stopped(_) => Some("stopped"),
            _ => self.paused.killed.load(Ordering::Acquire).then_some("killed"),
        }
    }

    /// A refusal of what does not go with the state that the container is in.
    pub(super) fn cannot(&self, what: &str, state: &str) -> Error {
        Error::FailedPrecondition(format!("cannot {what} container {}: it is {state}", self.id))
    }
}
