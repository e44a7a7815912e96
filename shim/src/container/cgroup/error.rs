//! What goes wrong with a cgroup, as one line.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use policy::Refusal;
use rustix::io::Errno;

/// Why a cgroup could not be made, emptied or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The spec asks for what this host cannot give, or the kernel refuses a value: the field, the value, the reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing of type cgroup or cgroup2 is mounted where this process can see it.
    #[error("no cgroup hierarchy is mounted")]
    NoHierarchy,
    /// systemd does not do what it is asked.
    #[error("cgroup: systemd: {0}")]
    Systemd(String),
    /// A step that has no field of the spec.
    #[error("cgroup: {step} {path}: {reason}")]
    Step {
        /// What was tried (`make`, `read`).
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's words.
        reason: String,
    },
    /// Processes outlived SIGKILL for as long as we wait.
    #[error("cgroup: {count} processes in {path} do not end")]
    StillAlive {
        /// A group in which there are some.
        path: PathBuf,
        /// How many.
        count: usize,
    },
}

/// The kernel's words for an error, as they stand in the middle of a line.
pub(super) fn reason(errno: Errno) -> String {
    let text = nix::errno::Errno::from_raw(errno.raw_os_error()).desc();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// An errno of `std::io`; what has none (a short write) counts as EIO.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Wraps the error of a step for `map_err`.
pub(super) fn step<E: Into<std::io::Error>>(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Error {
    move |error| Error::Step { step, path: path.as_ref().into(), reason: reason(errno(&error.into())) }
}

/// The kernel refuses the value of a field.
pub(super) fn refused(field: impl Into<String>, value: impl Display, errno: Errno) -> Error {
    Refusal::new(field, format!("{value}: {}", reason(errno))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_readable_line() {
        let busy = refused("linux.resources.memory.limit", 1, Errno::BUSY);
        assert_eq!(busy.to_string(), "linux.resources.memory.limit: 1: device or resource busy");
        let make: Error = step("make", "/sys/fs/cgroup/a")(Errno::ROFS);
        assert_eq!(make.to_string(), "cgroup: make /sys/fs/cgroup/a: read-only file system");
        let no_errno: Error = step("write", "/x")(std::io::Error::other("short"));
        assert_eq!(no_errno.to_string(), "cgroup: write /x: i/O error");
    }
}
