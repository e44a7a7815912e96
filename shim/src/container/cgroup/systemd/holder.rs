//! The process that a scope is made with.
//!
//! systemd makes a scope around a process and collects it with its last one. A container's init is made later, by a stage
//! that finds the group with all its limits; so a process of ours that does nothing stands in for it until init is there.
//! It waits for the end of its standard input, which is a pipe from the shim: it never outlives the shim, and a scope whose
//! shim died before init was made is collected.

use std::process::{Child, Command, Stdio};

use super::Error;
use crate::stage::HOLD;

/// The process. It ends with its value.
#[derive(Debug)]
pub(super) struct Holder(Child);

impl Holder {
    /// Starts one. A fresh execution, as every process of the shim's.
    pub(super) fn start() -> Result<Self, Error> {
        let child = Command::new("/proc/self/exe")
            .arg(HOLD)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let reason = |error: std::io::Error| error.to_string();
        child.map(Self).map_err(|error| Error::Step {
            step: "start",
            object: "the first process of a scope".into(),
            reason: reason(error),
        })
    }

    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have been killed with its group; it is reaped all the same.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
