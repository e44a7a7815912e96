//! What only the host's root may set on a process: inside a user namespace raising any of it is refused.
//!
//! Children inherit all of it through fork(2), save the deadline scheduler, whose processes may not fork at all; a
//! caller can set it on itself before it clones, or on the child by its pid.

use std::os::fd::BorrowedFd;

use policy::plan::Process;

use super::error::StageError;
use super::{limits, oom};
use crate::sys;

/// Sets the OOM score, scheduler, I/O priority and resource limits of `pid` (0: the caller). `procfs` shows the caller's
/// pid namespace. Returns what is weaker than asked, for the log.
///
/// The limits come last: a low one (of memory, of descriptors) must not stop the other steps.
pub(crate) fn apply(process: &Process, pid: i32, procfs: BorrowedFd<'_>) -> Result<Vec<String>, StageError> {
    let mut notes = Vec::new();
    if let Some(score) = process.oom_score_adj {
        notes.extend(oom::set(procfs, pid, score)?);
    }
    if let Some(scheduler) = &process.scheduler {
        sys::process::set_scheduler(pid, scheduler)
            .map_err(|error| StageError::step("setting", "process.scheduler", error))?;
    }
    if let Some((class, level)) = process.io_priority {
        sys::process::set_io_priority(pid, class, level)
            .map_err(|error| StageError::step("setting", "process.ioPriority", error))?;
    }
    notes.extend(limits::set(pid, &process.rlimits)?);
    Ok(notes)
}
