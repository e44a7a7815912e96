//! Signals: to one process, or to all of a container.

use std::os::fd::AsFd;

use super::error::Error;
use super::{Container, Target, cgroup};
use crate::sys::signal;

impl Container {
    /// Sends a signal to a process, or to all of the container.
    ///
    /// # Errors
    /// NotFound (also when it is gone), FailedPrecondition, InvalidArgument.
    pub(crate) async fn kill(&self, exec: &str, number: u32, all: bool) -> Result<(), Error> {
        let target = self.process(exec)?;
        if number == 9 && matches!(target, Target::Init) {
            self.paused.is_to_die();
        }
        if !all || !exec.is_empty() {
            self.of(&target).kill(number)?;
            if number == 9 {
                self.let_die(&target).await;
            }
            return Ok(());
        }
        let sent = self.init.kill(number);
        if number == 9 {
            // Where init is gone its group may still have processes (of a pid namespace that it shared).
            self.kill_group().await;
        } else if sent.is_ok() {
            self.signal_others(number)?;
        }
        sent
    }

    /// Sends a signal to every process in the container's cgroup but its init, each by a descriptor that was checked to
    /// be of that group after it was opened, so that no pid that is used again is hit.
    fn signal_others(&self, number: u32) -> Result<(), Error> {
        let others = |pid: &u32| *pid != self.init.pid();
        let before: Vec<u32> = self.pids()?.into_iter().filter(others).collect();
        let opened: Vec<_> = before.into_iter().filter_map(|pid| Some((pid, signal::open(pid).ok()?))).collect();
        let still = self.pids()?;
        for (pid, pidfd) in opened {
            if still.contains(&pid) {
                // It may just have ended.
                let _ = signal::send(pidfd.as_fd(), number);
            }
        }
        Ok(())
    }

    /// Kills every process in the container's cgroup.
    pub(super) async fn kill_group(&self) {
        if let Err(error) = self.grounds.with_cgroup(cgroup::Cgroup::kill_all).await {
            log::warn!(container = self.id.as_str(); "{error}");
        }
    }
}
