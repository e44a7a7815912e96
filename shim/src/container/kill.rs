//! Signals: to one process, or to all of a container.

use std::os::fd::AsFd;

use super::error::Error;
use super::{Container, Target, cgroup};
use crate::sys::signal;

/// How many processes are signalled between two looks at the group.
const AT_ONCE: usize = 64;

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
            self.signal_others(number).await?;
        }
        sent
    }

    /// Sends a signal to every process in the container's cgroup but its init, each by a descriptor that was checked to
    /// be of that group after it was opened, so that no pid that is used again is hit. It holds [`AT_ONCE`] descriptors at most:
    /// a container has more processes than the shim may have descriptors.
    async fn signal_others(&self, number: u32) -> Result<(), Error> {
        let init = self.init.pid();
        self.grounds
            .with_cgroup(move |cgroup| {
                let others: Vec<u32> = cgroup.processes()?.into_iter().filter(|pid| *pid != init).collect();
                for some in others.chunks(AT_ONCE) {
                    let opened: Vec<_> = some.iter().filter_map(|pid| Some((pid, signal::open(*pid).ok()?))).collect();
                    let still = cgroup.processes()?;
                    for (pid, pidfd) in opened.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
                        // It may just have ended.
                        if let Err(errno) = signal::send(pidfd.as_fd(), number) {
                            log::debug!("send signal {number} to process {pid}: {errno}");
                        }
                    }
                }
                Ok(())
            })
            .await
    }

    /// Kills every process in the container's cgroup.
    pub(super) async fn kill_group(&self) {
        if let Err(error) = self.grounds.with_cgroup(cgroup::Cgroup::kill_all).await {
            log::warn!(container = self.id.as_str(); "{error}");
        }
    }
}
