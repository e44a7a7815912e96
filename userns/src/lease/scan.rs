//! Judging the leases that are there: which container still needs its range, and why.

use super::alive;
use super::dir::Allocation;
use super::error::LeaseError;
use super::lock;
use super::name::LeaseName;
use super::state::{Holder, State};

/// Why a range is not free.
#[derive(Debug)]
pub(super) enum Life {
    /// A shim holds the lock.
    Held,
    /// No shim, but a process of the container lives.
    Orphaned(State),
    /// Neither, but the writable layer is there: the container may be started again.
    Stopped(State),
    /// The content cannot be told; in a few words, why.
    Unreadable(String),
}

/// A lease that is needed by somebody.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: LeaseName,
    pub(super) life: Life,
}

impl Entry {
    /// The state of a stopped container's lease.
    pub(super) fn stopped(&self) -> Option<&State> {
        if let Life::Stopped(state) = &self.life { Some(state) } else { None }
    }

    /// When a stopped container was last known to run, milliseconds since the epoch.
    pub(super) fn stopped_at(&self) -> Option<u64> {
        self.stopped().map(State::last_seen)
    }

    /// The state, read from the file where judging did not need it.
    pub(super) fn state(&self, allocation: &Allocation<'_>) -> Result<Result<State, String>, LeaseError> {
        Ok(match &self.life {
            Life::Orphaned(state) | Life::Stopped(state) => Ok(state.clone()),
            Life::Unreadable(reason) => Err(reason.clone()),
            Life::Held => State::parse(&allocation.read(self.name, allocation.open(self.name)?)?),
        })
    }

    /// Whose lease it is, for messages.
    pub(super) fn holder(&self, allocation: &Allocation<'_>) -> Result<Holder, LeaseError> {
        let unknown =
            |reason| Holder { container: format!("unknown, its lease is {reason}"), namespace: "unknown".into() };
        Ok(self.state(allocation)?.map_or_else(unknown, |state| state.holder()))
    }
}

/// All leases that somebody needs, lowest range first. Those that nobody needs are removed.
pub(super) fn scan(allocation: &Allocation<'_>) -> Result<Vec<Entry>, LeaseError> {
    allocation.remove_leftover()?;
    let mut entries = Vec::new();
    for name in allocation.names()? {
        match judge(allocation, name)? {
            Some(life) => entries.push(Entry { name, life }),
            None => allocation.remove(name)?,
        }
    }
    allocation.remove_dead_values(&entries)?;
    Ok(entries)
}

/// Why the lease is needed, or none when it is not.
fn judge(allocation: &Allocation<'_>, name: LeaseName) -> Result<Option<Life>, LeaseError> {
    let file = allocation.open(name)?;
    if lock::is_held(&file).map_err(|error| allocation.error("look at the lock of", name.to_string(), error))? {
        return Ok(Some(Life::Held));
    }
    let state = match State::parse(&allocation.read(name, file)?) {
        Ok(state) => state,
        Err(reason) => return Ok(Some(Life::Unreadable(reason))),
    };
    Ok(if has_process(&state) {
        Some(Life::Orphaned(state))
    } else if state.layer.as_ref().is_some_and(|layer| layer.exists()) {
        Some(Life::Stopped(state))
    } else {
        None
    })
}

/// Whether a process of the container lives.
pub(super) fn has_process(state: &State) -> bool {
    state.init.is_some_and(|init| init.is_alive()) || alive::any_in_cgroups(&state.cgroups)
}
