//! The process's session, and its controlling terminal.

use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::stdin;

use super::error::StageError;

/// Makes the caller the leader of a new session, and with `terminal` the terminal on descriptor 0 its controlling one.
pub(super) fn start_session(terminal: bool) -> Result<(), StageError> {
    match setsid() {
        // A process that leads its group cannot leave it; it then leads its session too, or has no terminal.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(StageError::step("starting", "the process's session", errno)),
    }
    if terminal {
        ioctl_tiocsctty(stdin()).map_err(|errno| StageError::step("taking", "the controlling terminal", errno))?;
    }
    Ok(())
}
