//! What software that makes mounts, namespaces and containers of its own finds in a container: the tools themselves, of Debian's
//! suites, are run inside, in containers as engines make them for `--privileged`, in those of `grants = "system"` and in plain ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[macro_use]
mod setup;

mod devices;
mod engines;
mod limits;
mod mounts;
mod nested_eci;
mod nodes;
mod programs;
mod runtimes;
mod sandboxes;
