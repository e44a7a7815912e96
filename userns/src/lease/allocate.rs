//! Allocation: which range a container gets. Every path is one short critical section under the allocation lock, and
//! ends in one place, `grant`, which makes the container's file.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::idmap::IdMap;
use policy::subid::{Pool, Spans};
use rustix::fs::fstat;

use super::dir::{Allocation, StateDir};
use super::error::LeaseError;
use super::held::{Lease, Note, now};
use super::host::{check_mapped, read_mapped};
use super::info::members;
use super::layer::LayerId;
use super::name::{LeaseName, tag_of};
use super::scan::{Entry, Life, scan};
use super::state::{Kind, State, UsernsId};
use super::values;

/// The container that asks for a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub container: String,
    /// The engine's namespace (`default`, `k8s.io`, `moby`).
    pub namespace: String,
    /// Its writable layer, if it has one: the range is its own until this directory is removed.
    pub layer: Option<LayerId>,
    /// Cgroups that its processes will be in, as far as they are known already ([`Lease::record`] replaces them).
    pub cgroups: Vec<PathBuf>,
}

/// The leases of this host. Cheap to clone; every call blocks on files only (call it from `spawn_blocking`).
#[derive(Debug, Clone)]
pub struct Leases {
    pub(super) dir: Arc<StateDir>,
}

impl Leases {
    /// Opens the state directory ([`super::STATE_DIR`]), making it if it is not there.
    ///
    /// # Errors
    /// It cannot be made or opened, or others than its owner can write to it.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LeaseError> {
        Ok(Self { dir: Arc::new(StateDir::open(dir.as_ref())?) })
    }

    /// Leases a range of the pool: the container's former one, else the lowest free one, else that of the container
    /// that has been stopped for longest (said in [`Lease::notes`]).
    ///
    /// # Errors
    /// No range is mapped where we run ([`LeaseError::Unmapped`]), every range is in use ([`LeaseError::Exhausted`]), or the state directory cannot be read or written.
    pub fn acquire(&self, request: &Request, pool: &Pool) -> Result<Lease, LeaseError> {
        if let Some(range) = pool.unmapped() {
            return Err(LeaseError::Unmapped { range, mapped: pool.mapped().clone() });
        }
        let allocation = self.dir.lock()?;
        let entries = scan(&allocation)?;
        let taken: Spans = entries.iter().map(|entry| entry.name.map()).collect();
        let found = former(&entries, request, pool).or_else(|| pool.lowest_free(&taken));
        let (range, notes) = match found {
            Some(range) => (range, Vec::new()),
            None => take_over(&allocation, &entries, pool)?,
        };
        self.grant(&allocation, &entries, request, State::new(request, Kind::Pool, now()), range, notes)
    }

    /// Leases the map that a container's spec brings. Living containers whose specs bring the very same map share it
    /// (said in [`Lease::notes`]); a stopped container whose range, chosen by eci, lies in the map loses it.
    ///
    /// # Errors
    /// It is not mapped where we run ([`LeaseError::UnmappedMap`]), any other overlap with a living container
    /// ([`LeaseError::Overlap`]), or the state directory cannot be used.
    pub fn acquire_map(&self, request: &Request, map: IdMap) -> Result<Lease, LeaseError> {
        check_mapped(map, read_mapped()?)?;
        let allocation = self.dir.lock()?;
        let entries = scan(&allocation)?;
        let (mut shared, mut lost) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.name.map().overlaps(map)) {
            match entry.stopped() {
                Some(state) if state.kind == Kind::Pool => lost.push(entry),
                Some(_) => {}
                None => {
                    let same = entry.name.map() == map;
                    match entry.state(&allocation)? {
                        Ok(state) if same && state.kind == Kind::Map => shared.push(state.holder()),
                        _ => {
                            let holder = entry.holder(&allocation)?;
                            return Err(LeaseError::Overlap { map, range: entry.name.map(), holder });
                        }
                    }
                }
            }
        }
        let mut notes = take(&allocation, &lost, request, false)?;
        if !shared.is_empty() {
            notes.push(Note::Shared { map, with: shared });
        }
        self.grant(&allocation, &entries, request, State::new(request, Kind::Map, now()), map, notes)
    }

    /// Makes the container a member of the lease whose containers live in this user namespace (that of its pod).
    ///
    /// # Errors
    /// No living container of ours is in it ([`LeaseError::NoSuchUserns`]), or the state directory cannot be used.
    pub fn join(&self, request: &Request, userns: BorrowedFd<'_>) -> Result<Lease, LeaseError> {
        let descriptor = |source| LeaseError::Io { step: "look at", path: "the user namespace".into(), source };
        let stat = fstat(userns).map_err(|errno| descriptor(errno.into()))?;
        let id = UsernsId { dev: stat.st_dev, ino: stat.st_ino };
        let kept = userns.try_clone_to_owned().map_err(descriptor)?;
        let allocation = self.dir.lock()?;
        let entries = scan(&allocation)?;
        let members = members(&allocation, &entries, id)?;
        let (entry, member) = members.first().ok_or(LeaseError::NoSuchUserns { ino: id.ino })?;
        let mut state = State::new(request, member.kind, now());
        state.userns = Some(id);
        state.values.clone_from(&member.values);
        let mut lease = self.grant(&allocation, &entries, request, state, entry.name.map(), Vec::new())?;
        lease.userns = Some(kept);
        Ok(lease)
    }

    /// Makes the container's file. It replaces those that the container has left: a range that it no longer needs.
    fn grant(
        &self,
        allocation: &Allocation<'_>,
        entries: &[Entry],
        request: &Request,
        mut state: State,
        map: IdMap,
        notes: Vec<Note>,
    ) -> Result<Lease, LeaseError> {
        for entry in entries {
            if entry.stopped().is_some_and(|state| state.is_of(request)) {
                allocation.remove(entry.name)?;
            }
        }
        // The tag is that of a living lease only when the container's processes have outlived its shim, or two
        // identities have one hash; either way the other file stays. Values that are there are those of a user namespace that
        // has outlived its maker.
        let lives = |name: &LeaseName| entries.iter().any(|entry| entry.name == *name && !replaceable(entry, request));
        let mut name = LeaseName::new(map, tag_of(request));
        while lives(&name) || allocation.has_values(name) {
            name.tag = name.tag.wrapping_add(1);
        }
        state.values.get_or_insert_with(|| values::name_of(name));
        let line = state.line().map_err(|error| allocation.error("write", name.to_string(), error))?;
        let file = allocation.create(name, &line)?;
        Ok(Lease { dir: self.dir.clone(), name, file, state, userns: None, notes })
    }
}

fn replaceable(entry: &Entry, request: &Request) -> bool {
    entry.stopped().is_some_and(|state| state.is_of(request))
}

/// The range that the container had before, if it can have it again.
fn former(entries: &[Entry], request: &Request, pool: &Pool) -> Option<IdMap> {
    let tag = tag_of(request);
    let own = entries.iter().filter(|entry| entry.name.tag == tag && replaceable(entry, request));
    let latest = own.filter(|entry| entry.stopped().is_some_and(|state| state.kind == Kind::Pool));
    let range = latest.max_by_key(|entry| entry.stopped().map(State::last_seen))?.name.map();
    // Others may have got the ids since: an owner in subuid, a spec's map, members of the pod that outlived it.
    let living = entries.iter().any(|entry| entry.stopped().is_none() && entry.name.map().overlaps(range));
    (!living && !pool.is_foreign(range) && pool.mapped().has(range)).then_some(range)
}

/// The range of the container that has been stopped for longest, of those that eci chose.
fn take_over(allocation: &Allocation<'_>, entries: &[Entry], pool: &Pool) -> Result<(IdMap, Vec<Note>), LeaseError> {
    let may_lose = |entry: &&Entry| entry.stopped().is_some_and(|state| state.kind == Kind::Pool);
    let kept: Spans = entries.iter().filter(|entry| !may_lose(entry)).map(|entry| entry.name.map()).collect();
    let within = |range: IdMap| entries.iter().filter(may_lose).filter(move |entry| entry.name.map().overlaps(range));
    let candidates = pool.ranges().filter(|range| !kept.overlaps(*range) && !pool.is_foreign(*range));
    // A pod's range is as old as the member that stopped last; `filter_map` as every candidate has a lease.
    let oldest = candidates
        .filter_map(|range| Some((within(range).filter_map(Entry::stopped_at).max()?, range)))
        .min_by_key(|(stopped, range)| (*stopped, range.host));
    let Some((_, range)) = oldest else {
        let foreign = pool.ranges().filter(|range| pool.is_foreign(*range)).count();
        let ranges = pool.ranges().count();
        return Err(LeaseError::Exhausted { ranges, leased: ranges - foreign, foreign, setting: pool.setting() });
    };
    let lost: Vec<_> = within(range).collect();
    Ok((range, take(allocation, &lost, &Request::default(), true)?))
}

/// Removes the leases of stopped containers, and says so (but not of the container's own).
fn take(
    allocation: &Allocation<'_>,
    lost: &[&Entry],
    request: &Request,
    used_up: bool,
) -> Result<Vec<Note>, LeaseError> {
    let mut notes = Vec::new();
    for entry in lost {
        allocation.remove(entry.name)?;
        if let Life::Stopped(state) = &entry.life
            && !state.is_of(request)
        {
            notes.push(Note::Taken { range: entry.name.map(), from: state.holder(), used_up });
        }
    }
    Ok(notes)
}

#[cfg(test)]
#[path = "allocate_tests.rs"]
mod tests;
