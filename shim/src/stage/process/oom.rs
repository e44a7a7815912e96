//! The score by which the kernel picks what to kill when memory runs out (proc_pid_oom_score_adj(5)).

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::StageError;
use super::procfs;

/// Sets `oom_score_adj` of `pid` (0: the caller) through a procfs of the caller's pid namespace. Returns a note when the
/// value could not be lowered: that takes `CAP_SYS_RESOURCE` of the host.
///
/// # Errors
/// A value outside -1000..=1000, or a procfs that is none.
pub(super) fn set(procfs: BorrowedFd<'_>, pid: i32, score: i32) -> Result<Option<String>, StageError> {
    let who = if pid == 0 { "self".into() } else { pid.to_string() };
    let failed = |errno: Errno| StageError::step("setting process.oomScoreAdj to", score.to_string(), errno);
    let file = procfs::open(procfs, &format!("{who}/oom_score_adj")).map_err(failed)?;
    match procfs::write(&file, score.to_string().as_bytes()) {
        Ok(()) => Ok(None),
        Err(Errno::ACCESS) => Ok(Some(format!(
            "process.oomScoreAdj: {score} is below what this host lets us set (CAP_SYS_RESOURCE is missing), \
             the shim's own value stays"
        ))),
        Err(errno) => Err(failed(errno)),
    }
}
