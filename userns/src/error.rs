//! What goes wrong, as one line that names the step, the object and the cause.

use std::io;

use policy::Refusal;
use rustix::io::Errno;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed, or a request that is refused. `Display` is one readable line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host did not do what was asked.
    #[error("{step} {object}: {source}{note}")]
    Failed {
        /// What was being done: a verb, such as `mount` or `create directory`.
        step: &'static str,
        /// On what: a path, a filesystem type.
        object: String,
        /// The kernel's answer.
        source: io::Error,
        /// What the kernel's log of the filesystem context adds, with its own punctuation; often empty.
        note: String,
    },
    /// The owners of what lies there cannot be shown.
    #[error("{path}: is on {fstype}, which cannot be id-mapped")]
    Unmappable {
        /// The mount, on one line.
        path: String,
        /// The type of its filesystem.
        fstype: String,
    },
    /// The request itself cannot be served.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Error {
    /// A failed step. Line breaks in `object` (paths may come from an image) become spaces.
    pub fn failed(step: &'static str, object: impl std::fmt::Display, source: impl Into<io::Error>) -> Self {
        Self::with_note(step, object, source, String::new())
    }

    /// A failed step with what the kernel's log says about it.
    pub(crate) fn with_note(
        step: &'static str,
        object: impl std::fmt::Display,
        source: impl Into<io::Error>,
        note: String,
    ) -> Self {
        Self::Failed { step, object: one_line(object.to_string()), source: source.into(), note: one_line(note) }
    }

    /// What lies at `path` cannot be shown.
    pub(crate) fn unmappable(path: &std::path::Path, fstype: &str) -> Self {
        Self::Unmappable { path: one_line(path.display().to_string()), fstype: fstype.to_owned() }
    }

    /// A refusal of `object`, a path or a field, because of `reason`.
    pub fn refused(object: impl std::fmt::Display, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(object.to_string(), reason))
    }

    /// The kernel's error number, when the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Failed { source, .. } => Errno::from_io_error(source),
            Self::Refused(_) | Self::Unmappable { .. } => None,
        }
    }
}

fn one_line(text: String) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_names_step_object_and_cause() {
        let error = Error::failed("mount", "/a\nb", Errno::INVAL);
        assert_eq!(error.to_string(), "mount /a b: Invalid argument (os error 22)");
        assert_eq!(error.errno(), Some(Errno::INVAL));
        let noted = Error::with_note("mount", "overlay", Errno::INVAL, " (overlay: \nno upper)".into());
        assert_eq!(noted.to_string(), "mount overlay: Invalid argument (os error 22) (overlay:  no upper)");
        let refused = Error::refused("/a", "is a symlink");
        assert_eq!(refused.to_string(), "/a: is a symlink");
        assert_eq!(refused.errno(), None);
    }
}
