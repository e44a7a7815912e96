//! Ways out of a container that have worked on other runtimes, tried on the shim over the Task API.
//!
//! `docs/security.md` maps each of them to its tests. A test here plays the attacker: an image, a volume's other user, or
//! root in a container with every capability.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod canary;
mod capability_sets;
mod cgroup;
mod console;
mod descriptors;
mod execs;
mod executable;
mod hoards;
mod hooks;
mod image_files;
mod image_paths;
mod kernel;
mod long_lists;
mod masks;
mod modes;
mod mount_destinations;
mod nested;
mod programs;
mod pulse;
mod races;
mod sockets;
mod traps;
mod users;
