//! Signals: to one process, or to all of a container.

use super::error::Error;
use super::{Container, Target, cgroup};

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
            let init = self.init.pid();
            self.grounds.with_cgroup(move |cgroup| cgroup.signal_others(init, number)).await?;
        }
        sent
    }

    /// Kills every process in the container's cgroup.
    pub(super) async fn kill_group(&self) {
        if let Err(error) = self.grounds.with_cgroup(cgroup::Cgroup::kill_all).await {
            log::warn!(container = self.id.as_str(); "{error}");
        }
    }
}
