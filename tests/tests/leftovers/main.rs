//! What is left when containers are gone: nothing. These tests look at the whole machine, or change it for everybody, so
//! they take turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod flat;
mod full;
mod pool;

/// Held by the one test that runs.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
