//! Why a request to a container is not served. Each variant is one of the classes that every face of the engine tells
//! apart; the text is one line for the engine's user.

use policy::Refusal;

use crate::stage::launch::LaunchError;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such container or process.
    #[error("{0}")]
    NotFound(String),
    /// Its id is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// Not in the state that it is in.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The request makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// Policy refuses the container's spec.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The user's program cannot be run.
    #[error("{0}")]
    Program(String),
    /// A step failed: the line names step, object and cause.
    #[error("{0}")]
    Failed(String),
}

impl From<LaunchError> for Error {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Failed(failure) if failure.program => Self::Program(failure.line),
            LaunchError::Failed(failure) if failure.denial.is_some() => {
                Self::Refused(Refusal { denial: failure.denial, ..Refusal::new("", failure.line) })
            }
            error => Self::Failed(error.to_string()),
        }
    }
}
