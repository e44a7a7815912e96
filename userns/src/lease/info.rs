//! What the leases say to people, and to a container that joins another's user namespace.

use policy::idmap::IdMap;

use super::alive;
use super::allocate::Leases;
use super::dir::Allocation;
use super::error::LeaseError;
use super::scan::{self, Entry, Life};
use super::state::{Holder, Kind, State, UsernsId};

/// One lease, for the `ranges` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The range.
    pub map: IdMap,
    /// The container; none when the file cannot be read.
    pub holder: Option<Holder>,
    /// Who chose the range; none when the file cannot be read.
    pub kind: Option<Kind>,
    /// When the lease was taken, milliseconds since the epoch.
    pub since: Option<u64>,
    /// The container's user namespace, once it has one.
    pub userns: Option<UsernsId>,
    /// Whether it runs.
    pub status: Status,
}

/// What can be told of a lease's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A shim holds the lease, and no process is recorded yet.
    Starting,
    /// A process of the container lives.
    Running,
    /// A process of the container lives, and no shim holds the lease.
    Orphaned,
    /// No process lives; the range is kept for the container's next start.
    Stopped,
    /// The file is of a newer version or damaged: the range is never given away. In a few words, why.
    Unreadable(String),
}

impl Leases {
    /// All leases, lowest range first. Those that nobody needs are removed on the way.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Info>, LeaseError> {
        let allocation = self.dir.lock()?;
        let entries = scan::scan(&allocation)?;
        entries.iter().map(|entry| describe(entry, &allocation)).collect()
    }

    /// The leases of the living containers in a user namespace. The number of a namespace is reused when the namespace
    /// is gone: ask with that of a descriptor that is open.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn find_by_userns(&self, userns: UsernsId) -> Result<Vec<Info>, LeaseError> {
        let allocation = self.dir.lock()?;
        let mut found = Vec::new();
        for (entry, _) in members(&allocation, &scan::scan(&allocation)?, userns)? {
            found.push(describe(entry, &allocation)?);
        }
        Ok(found)
    }
}

/// The leases whose user namespace is this one: held ones say so (their shims keep the namespace, so the number is
/// its own), of others a live process proves it.
pub(super) fn members<'e>(
    allocation: &Allocation<'_>,
    entries: &'e [Entry],
    userns: UsernsId,
) -> Result<Vec<(&'e Entry, State)>, LeaseError> {
    let mut found = Vec::new();
    for entry in entries {
        let is_there = |state: &State| match &entry.life {
            Life::Held => true,
            Life::Orphaned(_) => state.init.is_some_and(|init| {
                let current = alive::userns_of(init.pid);
                init.is_alive() && current.is_ok_and(|current| current == userns)
            }),
            Life::Stopped(_) | Life::Unreadable(_) => false,
        };
        match entry.state(allocation)? {
            Ok(state) if state.userns == Some(userns) && is_there(&state) => found.push((entry, state)),
            _ => {}
        }
    }
    Ok(found)
}

fn describe(entry: &Entry, allocation: &Allocation<'_>) -> Result<Info, LeaseError> {
    let map = entry.name.map();
    Ok(match entry.state(allocation)? {
        Ok(state) => Info {
            map,
            holder: Some(state.holder()),
            kind: Some(state.kind),
            since: Some(state.since),
            userns: state.userns,
            status: match &entry.life {
                Life::Held if state.init.is_none() => Status::Starting,
                Life::Held if scan::has_process(&state) => Status::Running,
                Life::Orphaned(_) => Status::Orphaned,
                _ => Status::Stopped,
            },
        },
        Err(reason) => {
            Info { map, holder: None, kind: None, since: None, userns: None, status: Status::Unreadable(reason) }
        }
    })
}
