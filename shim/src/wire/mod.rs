//! containerd's wire: everything that containerd says to a shim and a shim to containerd.
//!
//! containerd executes the binary as `start` ([`start`]), which spawns the shim itself ([`serve`]); asks it things over
//! ttrpc ([`task`]), is told things ([`events`]), and executes the binary as `delete` ([`delete`]) when the shim is no
//! more. [`info`] answers what containerd wants to know beforehand.
//!
//! Invariant: the wire holds no logic of containers. [`task`] translates requests into calls on a
//! [`crate::container::pod::Pod`] and errors into status codes.

pub(crate) mod bootstrap;
pub(crate) mod delete;
pub(crate) mod errors;
pub(crate) mod events;
pub(crate) mod flags;
pub(crate) mod info;
pub(crate) mod logger;
mod metrics;
pub(crate) mod options;
mod sandbox;
pub(crate) mod serve;
pub(crate) mod socket;
pub(crate) mod start;
pub(crate) mod task;
