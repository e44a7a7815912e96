//! The shim over the Task API, with no daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod bad_input;
mod bare;
mod capabilities;
mod cgroups;
mod codes;
mod confinement;
mod delegation;
mod devices;
mod events;
mod execs;
mod fields;
mod given_userns;
mod hooks;
mod hooks_fail;
mod ids;
mod life;
mod limits;
mod locks;
mod mounts;
mod namespaces;
mod netns;
mod oom;
mod options;
mod pause;
mod people;
mod pods;
mod process;
mod rootfs;
mod rootfs_maps;
mod seccomp;
mod settings;
mod start;
mod stats;
mod stdio;
mod update;
