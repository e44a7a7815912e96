//! The shim over the Task API, with no daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod bad_input;
mod capabilities;
mod cgroups;
mod confinement;
mod fields;
mod ids;
mod life;
mod limits;
mod namespaces;
mod netns;
mod process;
mod seccomp;
mod settings;
