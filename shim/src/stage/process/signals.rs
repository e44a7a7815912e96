//! Signals as a program expects to find them.
//!
//! Ignored signals and the mask go through execve(2), and Rust's runtime ignores SIGPIPE.

use nix::sys::signal::SigSet;

use super::error::StageError;
use crate::sys;

/// Unblocks every signal and gives each its default disposition.
pub(crate) fn reset() -> Result<(), StageError> {
    sys::process::default_dispositions()
        .map_err(|error| StageError::step("resetting", "signal dispositions", error))?;
    // After the dispositions: a signal that was pending meets its default action, not a handler of ours.
    SigSet::empty().thread_set_mask().map_err(|errno| {
        StageError::step("resetting", "the signal mask", rustix::io::Errno::from_raw_os_error(errno as i32))
    })
}
