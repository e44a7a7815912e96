//! How a process ends, seen through its pidfd.
//!
//! Each process is waited for by its own descriptor, never by `waitpid(-1)`: no status is taken from anyone else, and a
//! pid that is used again means nothing. The shim is no subreaper, so it never has a child that it did not start: a
//! container's orphans go to its init, those of a stage to the host's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use rustix::process::{WaitId, WaitIdOptions, waitid};

/// The status of a process whose real one nobody can know: as if killed by SIGKILL, what containerd says of the
/// containers of a dead shim.
pub(crate) const UNKNOWN: u32 = 128 + 9;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit status, or 128 plus the signal that killed it.
    pub(crate) status: u32,
    /// When the shim saw it.
    pub(crate) at: SystemTime,
}

impl Exit {
    /// A process that ends now.
    pub(crate) fn now(status: u32) -> Self {
        Self { status, at: SystemTime::now() }
    }
}

/// Waits for the end of a child and reaps it.
pub(crate) async fn of(pidfd: OwnedFd) -> Exit {
    match reap(pidfd).await {
        Ok(status) => Exit::now(status),
        Err(error) => {
            log::error!("wait for a process: {error}");
            Exit::now(UNKNOWN)
        }
    }
}

async fn reap(pidfd: OwnedFd) -> io::Result<u32> {
    let pidfd = crate::sys::watch(pidfd)?;
    loop {
        let mut ready = pidfd.readable().await?;
        // pidfd_open(2): readable means that the process has terminated; NOHANG is for the promise never to block.
        let waited = waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
        match waited {
            Some(ended) => return Ok(status(ended.exit_status(), ended.terminating_signal())),
            None => ready.clear_ready(),
        }
    }
}

/// The status that engines expect: the shell's convention for signals.
fn status(exit_status: Option<i32>, signal: Option<i32>) -> u32 {
    let raw = exit_status.or(signal.map(|signal| 128 + signal));
    raw.and_then(|raw| u32::try_from(raw).ok()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    async fn exit_of(child: Child) -> u32 {
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        of(pidfd).await.status
    }

    #[tokio::test]
    async fn statuses_and_signals_are_told_apart_as_in_a_shell() {
        for (script, expected) in
            [("exit 0", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)]
        {
            let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            assert_eq!(exit_of(child).await, expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_process_that_is_already_gone_is_waited_for_too() {
        let child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert_eq!(exit_of(child).await, 0);
    }
}
