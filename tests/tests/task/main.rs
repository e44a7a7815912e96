//! The shim over the Task API, with no daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod life;
mod namespaces;
mod netns;
