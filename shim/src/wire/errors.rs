//! Errors of containers as ttrpc statuses: the code that containerd's own shim gives, and the text that Docker's users
//! know.

use ttrpc::Code;

use crate::container::error::Error;

/// What was asked when the error happened; it decides the envelope of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Create, or Start of a container's own process: engines' users see both as one.
    Create,
    /// Exec, or Start of an exec.
    Exec,
    /// Anything else.
    Other,
}

/// The status for an error.
pub(crate) fn status(asked: Asked, error: &Error) -> ttrpc::Error {
    let code = match error {
        Error::NotFound(_) => Code::NOT_FOUND,
        Error::AlreadyExists(_) => Code::ALREADY_EXISTS,
        Error::FailedPrecondition(_) => Code::FAILED_PRECONDITION,
        Error::InvalidArgument(_) => Code::INVALID_ARGUMENT,
        // As for every failure of runc in containerd's shim.
        Error::Refused(_) | Error::Program(_) | Error::Failed(_) => Code::UNKNOWN,
    };
    ttrpc::Error::RpcStatus(ttrpc::get_status(code, text(asked, error)))
}

/// A call that is not built yet.
pub(crate) fn unimplemented(call: &str) -> ttrpc::Error {
    ttrpc::Error::RpcStatus(unimplemented_status(call))
}

/// The status of [`unimplemented`].
pub(super) fn unimplemented_status(call: &str) -> ttrpc::Status {
    ttrpc::get_status(Code::UNIMPLEMENTED, format!("{call} is not implemented yet"))
}

fn text(asked: Asked, error: &Error) -> String {
    let envelope = match (asked, error) {
        (Asked::Create, Error::Refused(_)) => "OCI runtime create failed: error in the container spec: ",
        (Asked::Create, Error::Program(_)) => "OCI runtime create failed: unable to start container process: ",
        (Asked::Create, Error::Failed(_)) => "OCI runtime create failed: ",
        (Asked::Exec, Error::Refused(_)) => "OCI runtime exec failed: error in the process spec: ",
        (Asked::Exec, Error::Program(_)) => "OCI runtime exec failed: exec failed: unable to start container process: ",
        (Asked::Exec, Error::Failed(_)) => "OCI runtime exec failed: ",
        _ => "",
    };
    format!("{envelope}{error}")
}

#[cfg(test)]
mod tests {
    use policy::Refusal;

    use super::*;

    fn of(asked: Asked, error: Error) -> (Code, String) {
        let ttrpc::Error::RpcStatus(status) = status(asked, &error) else { panic!("a status") };
        (status.code(), status.message)
    }

    #[test]
    fn refusals_and_programs_come_in_the_envelope_that_users_know() {
        let refusal = || Error::Refused(Refusal::new("root.path", "is empty"));
        let program = || Error::Program("exec: \"x\": executable file not found in $PATH".into());
        for (asked, error, expected) in [
            (Asked::Create, refusal(), "OCI runtime create failed: error in the container spec: root.path: is empty"),
            (
                Asked::Create,
                program(),
                "OCI runtime create failed: unable to start container process: exec: \"x\": executable file not found in \
                 $PATH",
            ),
            (
                Asked::Exec,
                program(),
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"x\": executable file \
                 not found in $PATH",
            ),
        ] {
            assert_eq!(of(asked, error), (Code::UNKNOWN, expected.to_owned()));
        }
    }

    #[test]
    fn classes_are_codes_and_their_texts_stand_alone() {
        let text = || "process does not exist e1".to_owned();
        assert_eq!(of(Asked::Exec, Error::NotFound(text())), (Code::NOT_FOUND, text()));
        assert_eq!(of(Asked::Create, Error::AlreadyExists(text())).0, Code::ALREADY_EXISTS);
        assert_eq!(of(Asked::Other, Error::FailedPrecondition(text())).0, Code::FAILED_PRECONDITION);
        assert_eq!(of(Asked::Other, Error::InvalidArgument(text())).0, Code::INVALID_ARGUMENT);
        let ttrpc::Error::RpcStatus(status) = unimplemented("Pause") else { panic!("a status") };
        assert_eq!((status.code(), status.message.as_str()), (Code::UNIMPLEMENTED, "Pause is not implemented yet"));
    }
}
