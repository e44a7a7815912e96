//! One process of a container: its own, or one that was exec'd.
//!
//! Its life has four phases, [`Phase`], which only ever go forward. The phase lives in a watch channel, so waiting for
//! an exit needs no list of waiters, and no lock is ever held while a stage works: a stage that hangs holds up nothing
//! but the request that asked for it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::watch;

use super::error::Error;
use super::event::{Event, Events};
use super::exit::{self, Exit};
use super::stdio::Streams;
use crate::sys::signal;

/// How long an exit is held back for output that the process itself has written: output that nobody else holds open
/// is at its end by then, and a grandchild that keeps it open, or a reader that does not read, delays the news no longer.
/// (For an engine that is late, see [`Streams::heard`].)
const DRAIN_BEFORE_EXIT: Duration = Duration::from_millis(100);

/// Where in its life a process is. A deleted one is in no list any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It may be started.
    Created,
    /// A stage is on its way to the user's program.
    Starting,
    /// The user's program runs.
    Running,
    /// It is gone, or could not be started.
    Stopped(Exit),
}

/// A process of a container.
pub(crate) struct Process {
    /// The exec's id; empty for the container's own process.
    pub(crate) id: String,
    /// Its input and output.
    pub(crate) streams: Streams,
    phase: watch::Sender<Phase>,
    handle: OnceLock<Handle>,
}

/// A process that exists.
struct Handle {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// A process that does not exist yet.
    pub(crate) fn new(id: String, streams: Streams) -> Self {
        Self { id, streams, phase: watch::Sender::new(Phase::Created), handle: OnceLock::new() }
    }

    /// Its phase now.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Its pid in the shim's pid namespace, also after its end; 0 before it exists.
    pub(crate) fn pid(&self) -> u32 {
        self.handle.get().map_or(0, |handle| handle.pid.unsigned_abs())
    }

    /// The process exists now. (Said twice, by a stage that reports early and by its end, the first one counts.)
    pub(crate) fn exists(&self, pid: i32, pidfd: OwnedFd) {
        // An Err only says that it was known already.
        let _ = self.handle.set(Handle { pid, pidfd });
    }

    /// As [`Process::exists`], of a child that is known by its pid alone; it has not been reaped, so the pid is its own.
    pub(crate) fn exists_as(&self, pid: i32) {
        if let Some(Ok(pidfd)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            self.exists(pid, pidfd);
        }
    }

    /// Takes the process from Created to Starting; only one request can.
    ///
    /// # Errors
    /// FailedPrecondition, in every other phase.
    pub(crate) fn begin_start(&self) -> Result<(), Error> {
        let mut found = Phase::Created;
        self.phase.send_if_modified(|phase| {
            found = *phase;
            let begins = *phase == Phase::Created;
            if begins {
                *phase = Phase::Starting;
            }
            begins
        });
        let refused = |state| Err(Error::FailedPrecondition(format!("cannot start a {state} process")));
        match found {
            Phase::Created => Ok(()),
            Phase::Starting | Phase::Running => refused("running"),
            Phase::Stopped(_) => refused("stopped"),
        }
    }

    /// The user's program runs: `started` is queued first. (Its end is told after this, see [`Process::watch`].)
    pub(crate) fn started(&self, events: &Events, container: &str, started: Event) {
        events.emit(container, started);
        self.phase.send_replace(Phase::Running);
    }

    /// It could not be started, and does not exist.
    pub(crate) fn failed(&self, status: u32) {
        self.phase.send_replace(Phase::Stopped(Exit::now(status)));
    }

    /// A start that failed while the process goes on to its own end, which [`Process::watch`] tells.
    pub(crate) fn start_failed(&self) {
        self.phase.send_replace(Phase::Running);
    }

    /// Waits for the end of the process, lets its output through, and tells of it: after its start was told, and after
    /// `before` is done.
    pub(crate) async fn watch(
        &self,
        pidfd: OwnedFd,
        events: &Events,
        container: &str,
        before: impl Future<Output = ()>,
    ) {
        let exit = exit::of(pidfd).await;
        crate::failpoint::hit("exit-seen", container);
        self.streams.drained(DRAIN_BEFORE_EXIT).await;
        self.streams.heard().await;
        before.await;
        let mut phases = self.phase.subscribe();
        // An Err needs a sender that is gone, and it is ours.
        let _ = phases.wait_for(|phase| *phase != Phase::Starting).await;
        events.emit(container, Event::Exited { process: self.id.clone(), pid: self.pid(), exit });
        self.phase.send_replace(Phase::Stopped(exit));
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Exit {
        let mut phases = self.phase.subscribe();
        let stopped = phases.wait_for(|phase| matches!(phase, Phase::Stopped(_))).await.map(|phase| *phase);
        match stopped {
            Ok(Phase::Stopped(exit)) => exit,
            _ => Exit::now(exit::UNKNOWN),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// NotFound when it is gone, FailedPrecondition before it exists, InvalidArgument for no signal.
    pub(crate) fn kill(&self, number: u32) -> Result<(), Error> {
        let finished = || Error::NotFound("process already finished".to_owned());
        if matches!(self.phase(), Phase::Stopped(_)) {
            return Err(finished());
        }
        let handle = self.handle.get().ok_or_else(|| Error::FailedPrecondition("process not created".to_owned()))?;
        signal::send(handle.pidfd.as_fd(), number).map_err(|errno| match errno.raw_os_error() {
            Some(libc::ESRCH) => finished(),
            Some(libc::EINVAL) => Error::InvalidArgument(format!("signal {number} does not exist")),
            _ => Error::Failed(format!("send signal {number} to process {}: {errno}", handle.pid)),
        })
    }

    /// How it ended, if it may be deleted: an exec also before it was started.
    ///
    /// # Errors
    /// FailedPrecondition while it runs.
    pub(crate) fn deletable(&self) -> Result<Exit, Error> {
        match self.phase() {
            Phase::Stopped(exit) => Ok(exit),
            Phase::Created if !self.id.is_empty() => Ok(Exit::now(0)),
            Phase::Created => Err(Error::FailedPrecondition("cannot delete a created process".to_owned())),
            Phase::Starting | Phase::Running => {
                Err(Error::FailedPrecondition("cannot delete a running process".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use super::super::stdio::Request;
    use super::*;
    use tokio::sync::mpsc;

    fn process() -> Process {
        Process::new("e1".into(), Streams::new(Request::default(), Default::default()))
    }

    #[expect(clippy::zombie_processes, reason = "what is tested is who waits")]
    fn spawn(script: &str) -> (i32, OwnedFd) {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (pid.as_raw_nonzero().get(), pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    #[test]
    fn a_process_is_started_once_and_deleted_when_stopped() {
        let process = process();
        assert!(process.deletable().is_ok(), "an exec that was never started may be deleted");
        process.begin_start().unwrap();
        assert!(matches!(process.begin_start(), Err(Error::FailedPrecondition(_))));
        assert!(matches!(process.deletable(), Err(Error::FailedPrecondition(_))));
        process.failed(127);
        assert_eq!(process.deletable().unwrap().status, 127);
        assert_eq!(process.begin_start().unwrap_err().to_string(), "cannot start a stopped process");
    }

    #[tokio::test]
    async fn an_exit_is_told_after_the_start_however_fast_it_is() {
        let (sender, mut queue) = mpsc::unbounded_channel();
        let events = Events::new(sender);
        let process = Arc::new(process());
        process.begin_start().unwrap();
        let (pid, pidfd) = spawn("exit 3");
        process.exists(pid, pidfd.try_clone().unwrap());
        let watching = tokio::spawn({
            let (process, events) = (process.clone(), events.clone());
            async move { process.watch(pidfd, &events, "c", async {}).await }
        });
        // Give the watcher every chance to be first.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(queue.try_recv().is_err(), "nothing is told before the start");
        process.started(&events, "c", Event::ExecStarted { exec: "e1".into(), pid: process.pid() });
        assert_eq!(process.wait().await.status, 3);
        watching.await.unwrap();
        assert!(matches!(queue.recv().await.unwrap().event, Event::ExecStarted { .. }));
        assert!(matches!(queue.recv().await.unwrap().event, Event::Exited { exit: Exit { status: 3, .. }, .. }));
    }

    #[tokio::test]
    async fn signals_reach_the_process_and_nobody_after_it() {
        let (sender, _queue) = mpsc::unbounded_channel();
        let process = process();
        assert!(matches!(process.kill(15), Err(Error::FailedPrecondition(_))));
        let (pid, pidfd) = spawn("exec sleep 1000");
        process.begin_start().unwrap();
        process.exists(pid, pidfd.try_clone().unwrap());
        assert!(matches!(process.kill(65), Err(Error::InvalidArgument(_))));
        process.kill(34).unwrap(); // SIGRTMIN, what stops systemd is three above
        process.start_failed();
        process.watch(pidfd, &Events::new(sender), "c", async {}).await;
        assert_eq!(process.wait().await.status, 128 + 34);
        assert_eq!(process.kill(9).unwrap_err().to_string(), "process already finished");
    }
}
