//! Id-range leases: which container has which host ids, agreed between shims that know nothing of each other.
//!
//! One job: hand out id ranges so that no two living containers ever share one that eci chose. There is no daemon. A
//! lease is a file in [`STATE_DIR`] that its shim holds by an open-file-description lock (fcntl(2), `F_OFD_SETLK`);
//! the kernel drops the lock when the shim dies, and the file stays as the memory of whose range it is.
//!
//! Main types: [`Leases`] (the directory), [`Request`] (who asks), [`Lease`] (what a shim holds), [`Info`] (a line of
//! `ranges`), [`LayerId`] (the directory whose removal gives a range back).
//!
//! # When a range is free
//! When for each of its files no shim holds the lock, *and* no process of the container lives (init by pid and start
//! time, the recorded cgroups with everything below), *and* the directory of the writable layer is gone (path, device,
//! inode and birth time). What cannot be told (a file of a newer format, an error other than "does not exist") counts
//! as living. A free range's file is unlinked by whoever sees it next.
//!
//! # Members
//! Each member of a shared user namespace, and each container whose spec brings the same map, has a file of its own
//! for the range. So a member's facts are written by its own shim alone, every member's death is seen for itself, and
//! the range is free when the last one's file is. (A shared lock on one file would tell that somebody is left, but
//! neither who nor whether a process of theirs outlived the shim.)
//!
//! # Files
//! * `lock`: the allocation lock. Whoever creates, removes or judges lease files holds it; it is never held while
//!   waiting for anything.
//! * `FIRST-SIZE.TAG`: a lease. The range is in the name, so that a file whose content is of a newer version still
//!   keeps its range. `TAG` is a hash of the container's identity: its former lease is found without reading others.
//! * `FIRST-SIZE.TAG.values`: a directory for what the members of a user namespace share: `values`.
//! * `new`: a lease that is being written; whoever has the allocation lock and finds one removes it.
//!
//! # Why `kill -9` at any point neither leaks a range nor gives a living one away
//! A new lease is written as `new`, locked, and only then renamed: before the rename nothing is leased and the
//! leftover is removed by the next allocation; from the rename on, the file is complete *and* locked. Later facts are
//! appended as whole lines, the last complete line counts, so that a torn write leaves the former facts. The inode
//! never changes while it is held: a stage of creation that inherits the descriptor ([`Lease`] is [`AsFd`]) keeps the
//! lock for as long as it lives, and closes the gap between the clone of init and [`Lease::record`]. A range changes
//! hands only under the allocation lock, old files unlinked first: a death in between leaves a range that is free.
//!
//! [`AsFd`]: std::os::fd::AsFd

mod alive;
mod allocate;
mod dir;
mod error;
mod held;
mod host;
mod info;
mod layer;
mod lock;
mod name;
mod scan;
mod state;
mod values;

pub use allocate::{Leases, Request};
pub use error::LeaseError;
pub use held::{Lease, Note};
pub use host::read_pool;
pub use info::{Info, Status};
pub use layer::LayerId;
pub use state::{Holder, Kind, ProcessId, UsernsId};

/// Where leases are, below a directory that a reboot empties.
pub const STATE_DIR: &str = "/run/eci/ranges";
