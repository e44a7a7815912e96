//! `tests` proves: end-to-end tests over the built shim and real engines.
//!
//! * [`bundle::Bundle`]: a root filesystem and a config.json that a test changes where it needs to.
//! * [`shim::Shim`]: the built binary, driven over the Task API with no daemon; [`container::Container`] is one task in it.
//! * [`events::Exchange`]: takes the shim's events as containerd would.
//! * [`groups`]: the machine's cgroups.
//! * [`host::Host`]: a Debian with containerd of its own, driven through `ctr`.
//! * [`pod`]: containers that share namespaces and a shim.
//! * [`room::Room`]: leases and an operator's config of a test's own.
//! * [`rows`]: the rows of docs/emulation.md, as questions to a container.
//! * [`leftovers::Machine`]: what a machine has of mounts, cgroups, files in /run, processes: compared before and after.
//! * [`terminal::Terminal`]: a program on a terminal.
//! * [`tools`]: what a container's tools say of its machine.
//! * [`until`]: what comes in its own time.
//! * [`skip`]: what this machine cannot run says so.
//!
//! Invariant: nothing here uses the code that it tests; the binary is all that is known of it. Every test program runs in
//! a sandbox (`tests/sandbox`), so what a failed test leaves behind ends with its program.
#![deny(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

pub mod bundle;
pub mod container;
pub mod events;
pub mod groups;
pub mod host;
pub mod leftovers;
pub mod output;
pub mod place;
pub mod pod;
pub mod room;
pub mod rows;
pub mod shim;
pub mod stdio;
pub mod terminal;
pub mod tools;
pub mod wait;

pub use bundle::Bundle;
pub use container::Container;
pub use output::Output;
pub use place::{sh, skip};
pub use shim::Shim;
pub use wait::until;
