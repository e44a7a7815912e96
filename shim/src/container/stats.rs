//! What a container uses.

use super::Container;
use super::cgroup::stats::Stats;
use super::error::Error;
use super::grounds::{blocking, of_cgroup};
use super::process::Phase;

impl Container {
    /// Reads what the container uses, from the moment in which it is made.
    ///
    /// # Errors
    /// NotFound when it has stopped: engines take a container that has no numbers any more for one that is not there.
    pub(crate) async fn stats(&self) -> Result<Stats, Error> {
        self.measurable()?;
        let cgroup = self.grounds.cgroup.clone();
        let read = blocking(move || cgroup.stats().map_err(of_cgroup)).await;
        // Its group goes only after it has stopped, so while it has not, what was read is whole.
        self.measurable()?;
        read
    }

    fn measurable(&self) -> Result<(), Error> {
        match self.init.phase() {
            Phase::Stopped(_) => Err(Error::NotFound(format!("container {} is stopped and uses nothing", self.id))),
            _ => Ok(()),
        }
    }
}
