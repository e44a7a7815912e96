//! Why a lease cannot be had or kept.

use std::path::PathBuf;

use policy::idmap::IdMap;
use policy::mapped::Mapped;

use super::state::Holder;

/// A lease that cannot be had or kept; `Display` is one line for the engine's user.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A system call on the state directory or on a file in it failed (a full `/run`, for example).
    #[error("id range leases: cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The state directory could have been written by others.
    #[error("id range leases: {}: must be a directory that only its owner, the shim's user, can write", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
    },
    /// The pool cannot be made from the host's files.
    #[error("id range leases: {0}")]
    Pool(#[from] policy::Refusal),
    /// Every range of the pool is leased by a living container or used by somebody else.
    #[error(
        "no free id range: all {ranges} ranges of the pool are in use ({leased} by containers, {foreign} by other owners \
         or accounts of the host); raise {setting}"
    )]
    Exhausted {
        /// How many ranges the pool has.
        ranges: usize,
        /// How many of them containers have.
        leased: usize,
        /// How many of them others have.
        foreign: usize,
        /// What sets the pool's size.
        setting: &'static str,
    },
    /// No range of the pool is mapped in the user namespace that we run in: eci in a container whose map is too small.
    #[error(
        "no id range: cannot give the container the host ids {}, as the user namespace that eci runs in maps only {mapped}; \
         give the outer container a larger map",
        span(*.range)
    )]
    Unmapped {
        /// The lowest range of the pool.
        range: IdMap,
        /// What is mapped.
        mapped: Mapped,
    },
    /// A map that a spec brings has ids that are not mapped in the user namespace that we run in.
    #[error(
        "linux.uidMappings: cannot give the container the host ids {}, as the user namespace that eci runs in maps only {mapped}",
        span(*.map)
    )]
    UnmappedMap {
        /// The spec's map.
        map: IdMap,
        /// What is mapped.
        mapped: Mapped,
    },
    /// A map that a spec brings has ids of a living container.
    #[error(
        "linux.uidMappings: host ids {} overlap ids {} of {holder}, which is not stopped",
        span(*.map),
        span(*.range)
    )]
    Overlap {
        /// The spec's map.
        map: IdMap,
        /// The living container's range.
        range: IdMap,
        /// Whose it is.
        holder: Holder,
    },
    /// A user namespace that is to be joined belongs to no living container of ours.
    #[error("linux.namespaces: the user namespace {ino} belongs to no running container of eci")]
    NoSuchUserns {
        /// Its inode number, as `readlink /proc/PID/ns/user` shows it.
        ino: u64,
    },
    /// A process that was to be recorded is gone or hidden.
    #[error("id range leases: cannot read {what} of process {pid}: {source}")]
    Process {
        /// Which fact of it.
        what: &'static str,
        /// Its pid.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
}

/// A range as people read it: first and last id.
pub(super) fn span(map: IdMap) -> String {
    format!("{}-{}", map.host, u64::from(map.host) + u64::from(map.size).max(1) - 1)
}
