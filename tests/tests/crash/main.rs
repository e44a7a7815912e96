//! Killed at every stage: nobody else is touched, and whatever is left behind is cleaned up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod hooks;
mod look;
mod orphans;
mod ranges;
mod shim_dies;
mod stage_dies;
mod stopped;
mod untrapped;
