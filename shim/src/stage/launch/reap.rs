//! The ends of stages and of the processes that they clone: all of them are children of the shim.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;

/// Waits for a child's exit and takes its status.
pub(super) async fn reap(pidfd: OwnedFd) {
    let Ok(pidfd) = crate::sys::watch(pidfd) else { return };
    if pidfd.readable().await.is_ok() {
        let _status = waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), WaitIdOptions::EXITED);
    }
}

pub(super) async fn kill_and_reap(pidfd: OwnedFd) {
    let _gone = pidfd_send_signal(&pidfd, Signal::KILL);
    reap(pidfd).await;
}

/// Ends an exec stage, which has not been reaped, with all that it has cloned and that has told nobody of itself.
///
/// Such a process is known by its group alone: it was killed before it or the stage could say a word, as when its container
/// ends. Unreaped, it would keep the init of its pid namespace from ending (pid_namespaces(7)). The number is the group's
/// as long as it has a member, and no fork gets past a signal to the group. A process that has told of itself may have left
/// the group, or be reaped by whoever knows it: a status that is gone is nobody's loss.
pub(super) fn kill_and_reap_group(stage: Pid) {
    let _gone = kill_process_group(stage, Signal::KILL);
    let wait = move || waitid(WaitId::Pgid(Some(stage)), WaitIdOptions::EXITED);
    tokio::task::spawn_blocking(move || while rustix::io::retry_on_intr(wait).is_ok() {});
}

/// Waits for the end of a process, which is not reaped; for ever where there is none.
pub(super) async fn ended(process: Option<&AsyncFd<OwnedFd>>) {
    match process {
        // An error is no end: the channel tells then.
        Some(pidfd) if pidfd.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
