//! What goes wrong in a step, as one line for the engine's user.

use std::io;

use rustix::io::Errno;

/// A step that failed. `Display` is the whole line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StageError {
    /// A step of the set-up.
    #[error("{step} {object}: {cause}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// To what: a field of the runtime spec, or a path.
        object: String,
        /// The kernel's answer, or the reason of a refusal.
        cause: Cause,
    },
    /// The program cannot be run. The text is Go's `exec.LookPath` or runc's of execve(2): engines look into it to tell
    /// exit status 126 from 127.
    #[error("{0}")]
    Program(String),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// A system call's error.
    #[error("{}", errno_text(*.0))]
    Errno(Errno),
    /// A refusal of our own.
    #[error("{0}")]
    Reason(String),
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::Errno(errno),
            None => Self::Reason(error.to_string()),
        }
    }
}

impl From<&str> for Cause {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.into())
    }
}

impl From<String> for Cause {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl StageError {
    /// A failed step.
    pub(crate) fn step(step: &'static str, object: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Step { step, object: object.into(), cause: cause.into() }
    }

    /// The kernel's answer alone, which is all that a process before its execve(2) can tell its parent.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Step { cause: Cause::Errno(errno), .. } => errno.into(),
            other => io::Error::other(other.to_string()),
        }
    }
}

/// strerror(3)'s text as Go spells it, which engines and their users know: in lower case.
pub(super) fn errno_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// A text from the spec in double quotes, on one line, escaped as Go's `strconv.Quote` does.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            _ if letter.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ if letter.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_step_object_and_cause() {
        let error = StageError::step("chdir to", quote("/a\nb"), Errno::NOTDIR);
        assert_eq!(error.to_string(), r#"chdir to "/a\nb": not a directory"#);
    }

    #[test]
    fn errors_read_as_go_prints_them() {
        let text = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::TOOBIG].map(errno_text);
        let expected =
            ["no such file or directory", "permission denied", "exec format error", "argument list too long"];
        assert_eq!(text, expected);
    }

    #[test]
    fn quotes_are_those_of_go() {
        assert_eq!(quote("a\"b\\c\x01\u{7f}\u{85}ü'"), r#""a\"b\\c\x01\x7f\u0085ü'""#);
    }
}
