//! Stages.

pub(crate) mod process;
