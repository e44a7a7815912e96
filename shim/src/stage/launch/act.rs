//! The act stage, as the threads use it that serve trapped calls: they wait, and have no runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::super::ACT;
use super::super::act::{ActOrder, Asked};
use super::super::channel::Channel;
use super::super::message::Report;
use super::{LaunchError, Launcher, channel};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

/// An act stage that serves. Dropped, it is killed and reaped.
pub(crate) struct ActStage {
    process: OwnedFd,
    control: Channel,
}

impl Launcher {
    /// Spawns the act stage of a container and waits until it serves.
    pub(crate) fn act_stage(&self, order: &ActOrder, fds: &[BorrowedFd<'_>]) -> Result<ActStage, LaunchError> {
        let (_, process, control) = self.start(ACT)?;
        let stage = ActStage { process, control };
        stage.control.send_order(order, fds).map_err(channel("hand a stage its order"))?;
        match stage.control.receive().map_err(channel("listen to the act stage"))? {
            Some((Report::Ready, _)) => Ok(stage),
            Some((Report::Failed(failure), _)) => Err(LaunchError::Failed(failure)),
            _ => Err(LaunchError::Died("the act stage")),
        }
    }
}

impl ActStage {
    /// The process, for poll(2).
    pub(crate) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Ends it, whatever it does.
    pub(crate) fn kill(&self) {
        let _gone = pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// Hands it an act for the thread whose directory `caller` is, to be answered on `reply`.
    pub(crate) fn send(&self, act: &Asked, caller: BorrowedFd<'_>, reply: BorrowedFd<'_>) -> io::Result<()> {
        self.control.send(act, &[caller, reply])
    }
}

impl Drop for ActStage {
    fn drop(&mut self) {
        self.kill();
        let wait = || waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        let _status = rustix::io::retry_on_intr(wait);
    }
}
