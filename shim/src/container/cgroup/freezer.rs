//! Stopping every process of a container where it stands.
//!
//! v1's freezer (freezer.state; kernel documentation, cgroup-v1/freezer-subsystem) is asked where it is mounted, also on a
//! hybrid host: v2's waits there for ever for what a group of v1 holds below. v2's (cgroup.freeze, Linux 5.2) is asked
//! elsewhere.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Instant;

use super::error::{Error, refused, step};
use super::{Cgroup, PATIENCE, kill, tree};

/// How a freezer is told and what it answers.
struct Freezer<'a> {
    dir: &'a Path,
    v2: bool,
}

impl Cgroup {
    /// Freezes the group with all below it, and returns when nothing in it runs. Blocks, as a rule for a millisecond.
    ///
    /// # Errors
    /// When there is no freezer, or a process does not stop within 10 s; the group is thawed again then.
    pub(crate) fn freeze(&self) -> Result<(), Error> {
        let freezer = self.freezer()?;
        let group = tree::open(freezer.dir).map_err(step("open", freezer.dir))?;
        let frozen = freezer.freeze(group.as_fd());
        if frozen.is_err() {
            let _ = freezer.thaw(group.as_fd());
        }
        frozen
    }

    /// Lets everything that [`Self::freeze`] has stopped go on. Groups that the container has frozen itself stay so.
    ///
    /// # Errors
    /// When the group is gone.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        let freezer = self.freezer()?;
        let group = tree::open(freezer.dir).map_err(step("open", freezer.dir))?;
        freezer.thaw(group.as_fd())
    }

    /// Lets those die who have been killed: a frozen process of v1 does not, and a group below may be frozen too.
    pub(crate) fn let_die(&self) {
        kill::thaw(kill::freezer(&self.groups));
    }

    fn freezer(&self) -> Result<Freezer<'_>, Error> {
        let v1 = self.groups.iter().find(|group| group.hierarchy.has_v1("freezer"));
        let v2 = || self.groups.iter().find(|group| group.hierarchy.is_v2());
        match v1.or_else(v2) {
            Some(group) => Ok(Freezer { dir: &group.dir, v2: v1.is_none() }),
            None => Err(policy::Refusal::new("pause", "no freezer is mounted here").into()),
        }
    }
}

impl Freezer<'_> {
    fn freeze(&self, group: BorrowedFd<'_>) -> Result<(), Error> {
        let (file, value) = if self.v2 { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Written again while v1 says FREEZING: a process that was just made may have got away.
            tree::write(group, file, value).map_err(|errno| refused("pause", value, errno))?;
            if self.is_frozen(group)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(policy::Refusal::new("pause", "a process of the container does not stop").into());
            }
            tree::wait(self.dir, 1);
        }
    }

    fn thaw(&self, group: BorrowedFd<'_>) -> Result<(), Error> {
        let (file, value) = if self.v2 { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        tree::write(group, file, value).map_err(|errno| refused("resume", value, errno))
    }

    fn is_frozen(&self, group: BorrowedFd<'_>) -> Result<bool, Error> {
        let (file, line) = if self.v2 { ("cgroup.events", "frozen 1") } else { ("freezer.state", "FROZEN") };
        let text = tree::read(group, file).map_err(step("read the freezer of", self.dir))?;
        Ok(text.lines().any(|found| found == line))
    }
}
