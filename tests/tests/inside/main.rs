//! What software that makes mounts, namespaces and containers of its own finds in a container: the tools themselves, of Debian's
//! suites, are run inside, in containers as engines make them for `--privileged` and for plain ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod devices;
mod engines;
mod limits;
mod mounts;
mod nested_eci;
mod nodes;
mod programs;
mod runtimes;
mod sandboxes;
mod setup;
