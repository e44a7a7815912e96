//! `userns` maps: it gives a container its ids, and shows files to it through them.
//!
//! The crate holds everything that touches the host's filesystems and a container's tree on behalf of the build stage:
//! * [`tree`]: the only code that names a path in a container's tree; a path becomes a descriptor once, inside the root.
//! * [`mount`]: mounts that are made detached, prepared through their descriptor and attached to a descriptor.
//! * [`idmap`]: user namespaces that only carry an id map for a mount.
//! * [`rootfs`]: the root mount, re-assembled so that files on disk keep the owners that the container sees.
//! * [`views`]: the engine's own mount of a root filesystem and the container's, kept in agreement.
//! * [`creds`]: the filesystem ids under which all of that is done.
//! * [`child`]: children that make what this process cannot make where it is.
//! * [`lease`]: which container has which range of host ids.
//!
//! Invariant: nothing of the user's is ever chowned, no mount is attached to a path (always to a descriptor that was
//! verified), and a file whose owner cannot be shown is refused by name instead of being shown as `nobody`.
//!
//! The crate knows nothing of containerd, of tokio or of the OCI spec's JSON. Its functions are synchronous and are
//! called from single-threaded stage processes, unless they say otherwise.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make what they test"))]

pub mod child;

pub mod creds;

pub mod error;

pub mod idmap;

#[allow(clippy::disallowed_methods, reason = "files below /run/eci, by the descriptor of their directory")]
pub mod lease;

#[allow(clippy::disallowed_methods, reason = "mounts are made here")]
pub mod mount;

pub mod mountinfo;

#[allow(clippy::disallowed_methods, reason = "root filesystems are put together here, of the host's directories")]
pub mod rootfs;

mod sys;

#[allow(clippy::disallowed_methods, reason = "what all others go through")]
pub mod tree;

#[allow(clippy::disallowed_methods, reason = "a writable layer on the host's disk, by descriptors and single names")]
pub mod views;

pub use error::{Error, Result};
