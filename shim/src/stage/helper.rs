//! Helpers of a stage: processes that live for one act, in namespaces or a cgroup of their own, and for the stage to take
//! what they stand in.
//!
//! Invariant: a helper has told the shim of itself before it acts, and is gone when [`run`] returns: it is the stage's to
//! reap, and the shim's if the stage dies.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::channel::Channel;
use super::message::{Failure, Report};
use super::tell_of_self;
use crate::sys::clone::{Cloned, clone3};

/// How a helper begins.
pub(super) struct Birth<'a> {
    /// What it is, in errors.
    pub(super) name: &'static str,
    /// clone(2)'s `CLONE_NEW*`.
    pub(super) flags: u64,
    /// The cgroup that it is cloned into; None for the stage's.
    pub(super) group: Option<BorrowedFd<'a>>,
}

/// A helper that runs, to its stage.
pub(super) struct Helper {
    name: &'static str,
    channel: Channel,
    /// Its pid.
    pub(super) pid: i32,
}

impl Helper {
    /// Lets it go on from where it waits ([`until_told`]).
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        self.channel.send(&(), &[]).map_err(Failure::at("tell", self.name))
    }

    /// Waits until it has done its act, or the error of that.
    pub(super) fn done(&self) -> Result<(), Failure> {
        match self.channel.receive::<Option<Failure>>().map_err(Failure::at("listen to", self.name))? {
            Some((None, _)) => Ok(()),
            Some((Some(failure), _)) => Err(failure),
            None => Err(Failure::line(format!("{} ended before it was done", self.name))),
        }
    }
}

/// The helper's side: waits until the stage lets it go on. Without a stage there is nothing to go on for.
pub(super) fn until_told(stage: &Channel) -> Result<(), Failure> {
    if stage.receive::<()>().map_err(Failure::at("listen to", "the build stage"))?.is_none() {
        std::process::exit(1);
    }
    Ok(())
}

/// Clones a helper that does `act`, and stays until `take` returns.
///
/// # Errors
/// When it cannot be cloned, and those of `take`, which hears of the helper's own by [`Helper::done`].
pub(super) fn run<T>(
    control: &Channel,
    birth: &Birth<'_>,
    act: impl FnOnce(&Channel) -> Result<(), Failure>,
    take: impl FnOnce(&Helper) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let name = birth.name;
    let (ours, theirs) = Channel::pair().map_err(Failure::at("make", "a socket pair"))?;
    match clone3(birth.flags, birth.group).map_err(Failure::at("clone", name))? {
        Cloned::Child => {
            drop(ours);
            let done = tell_of_self(control, &Report::Helper).and_then(|()| act(&theirs));
            let _gone = theirs.send(&done.err(), &[]);
            // Until the other side has what it needs.
            let _gone = theirs.receive::<()>();
            std::process::exit(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let helper = Helper { name, channel: ours, pid };
            let taken = take(&helper);
            drop(helper);
            let _status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            taken
        }
    }
}
