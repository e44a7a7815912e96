//! Logging programs (`binary://PATH?ARG=VALUE`): the engine names a program, and a process's output is its input.
//!
//! The contract is containerd's (docs/runtime-v2.md, "Logging"): descriptor 3 is the process's stdout, 4 its stderr, and 5
//! is closed when the program is ready. `binary-v2://` (containerd 2.2) differs in one thing: before it closes 5 the
//! program writes a byte to it, so that one that dies early is not taken for one that is ready. `CONTAINER_ID` and
//! `CONTAINER_NAMESPACE` are its whole environment; the query gives its arguments.
//!
//! The descriptors travel as the standard ones of a fresh execution of our own binary ([`exec`]), which moves them to
//! their places and executes the program: nothing of ours runs between fork and exec in the shim, which has threads.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::error::Error;
use super::exit::{self, Exit};

/// The verb by which our binary becomes a logging program.
pub(crate) const VERB: &str = "stage-logger";

/// Where the program finds the process's stdout, its stderr, and what it closes when it is ready.
const PLACES: [i32; 3] = [3, 4, 5];

/// How long a program may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes before the reason where the program cannot be executed; no program writes this.
const FAILURE: &str = "\0eci: ";

/// Whose output it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// The container's id.
    pub(crate) container: String,
    /// Its namespace.
    pub(crate) namespace: String,
}

/// A logging program that runs.
pub(crate) struct Logger {
    pidfd: OwnedFd,
    ended: JoinHandle<Exit>,
}

impl Logger {
    /// Starts the program that `uri` names and waits until it is ready. It reads `stdout` and `stderr`.
    ///
    /// # Errors
    /// When it cannot be executed or does not become ready.
    pub(crate) async fn start(uri: &str, names: &Names, stdout: OwnedFd, stderr: OwnedFd) -> Result<Self, Error> {
        let failed = |reason: String| Error::Failed(format!("start logging program {uri}: {reason}"));
        let Program { path, args, says_ready } = parse(uri).map_err(failed)?;
        let (ready, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.to_string()))?;
        let child = Command::new("/proc/self/exe")
            .arg(VERB)
            .arg(path)
            .args(args)
            .env_clear()
            .env("CONTAINER_ID", &names.container)
            .env("CONTAINER_NAMESPACE", &names.namespace)
            .stdin(stdout)
            .stdout(stderr)
            .stderr(theirs)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map(|fd| (fd.try_clone(), fd));
        let (waited, pidfd) = pidfd.map_err(|error| failed(error.to_string()))?;
        let ended = tokio::spawn(exit::of(waited.map_err(|error| failed(error.to_string()))?));
        let logger = Self { pidfd, ended };
        let mut ready = pipe::Receiver::from_owned_fd(ready).map_err(|error| failed(error.to_string()))?;
        // Its end or a first byte: to containerd's own shim both mean ready, but for binary-v2.
        let mut said = [0; 512];
        let outcome = match tokio::time::timeout(PATIENCE, ready.read(&mut said)).await {
            Err(_) => Err(format!("it is not ready after {PATIENCE:?}")),
            Ok(length) => match length.unwrap_or_default() {
                0 if says_ready => {
                    Err("it has ended, or closed descriptor 5, without saying that it is ready".to_owned())
                }
                length => failure(&said[..length]),
            },
        };
        match outcome {
            Ok(()) => Ok(logger),
            Err(reason) => {
                logger.end(Duration::ZERO).await;
                Err(failed(reason))
            }
        }
    }

    /// Waits until the program has ended, which it does by itself at the end of its input; when `patience` is over it is
    /// asked to (SIGTERM), and then made to.
    pub(crate) async fn end(mut self, patience: Duration) {
        for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
            if let Some(signal) = signal {
                // It may just have ended.
                let _ = pidfd_send_signal(&self.pidfd, signal);
            }
            let patience = if signal.is_none() { patience } else { Duration::from_secs(2) };
            if tokio::time::timeout(patience, &mut self.ended).await.is_ok() {
                return;
            }
        }
    }
}

/// Whether what came through the ready pipe is our own word for a program that cannot be executed.
fn failure(said: &[u8]) -> Result<(), String> {
    let said = String::from_utf8_lossy(said);
    said.strip_prefix(FAILURE).map_or(Ok(()), |reason| Err(reason.to_owned()))
}

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    path: String,
    /// Each key of the query, followed by its value where it has one.
    args: Vec<String>,
    /// Whether it writes a byte when it is ready (`binary-v2`).
    says_ready: bool,
}

fn parse(uri: &str) -> Result<Program, String> {
    let (rest, says_ready) = match uri.split_once("://") {
        Some(("binary", rest)) => (rest, false),
        Some(("binary-v2", rest)) => (rest, true),
        _ => return Err("it is no binary:// or binary-v2:// URI".to_owned()),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = decoded(path, false)?;
    if !path.starts_with('/') {
        return Err(format!("{path:?} is not an absolute path"));
    }
    let mut args = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        for part in [key, value].into_iter().filter(|part| !part.is_empty()) {
            args.push(decoded(part, true)?);
        }
    }
    Ok(Program { path, args, says_ready })
}

/// Undoes percent-encoding (RFC 3986, 2.1), and in a query also `+` for a space.
fn decoded(text: &str, query: bool) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|byte| char::from(byte).to_digit(16)));
                let [Some(high), Some(low)] = digits else { return Err(format!("{text:?} has a broken %-sequence")) };
                bytes.push((high * 16 + low) as u8);
            }
            b'+' if query => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    if bytes.contains(&0) {
        return Err(format!("{text:?} has a NUL byte"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

/// The verb's body: moves the standard descriptors to their places and becomes the program. Returns only on failure,
/// and tells it to whoever waits at the other end of descriptor 5.
pub(crate) fn exec(mut args: impl Iterator<Item = OsString>) -> std::process::ExitCode {
    let mut ready = match place() {
        Ok(ready) => ready,
        Err(error) => {
            // Standard error is still the ready pipe here.
            let reason = format!("{FAILURE}move its descriptors: {error}");
            let _ = std::io::stderr().write_all(reason.as_bytes());
            return std::process::ExitCode::FAILURE;
        }
    };
    let program = args.next().unwrap_or_default();
    let error = Command::new(&program).args(args).exec();
    // In one piece, so that the shim reads all of it at once; if it is gone nobody is left to tell.
    let _ = ready.write_all(format!("{FAILURE}{error}").as_bytes());
    std::process::ExitCode::FAILURE
}

fn place() -> std::io::Result<File> {
    // Every descriptor above 2 was closed by execve, and this one must not take a place.
    let null = fcntl_dupfd_cloexec(File::options().read(true).write(true).open("/dev/null")?, 10)?;
    let mut placed = Vec::new();
    for (standard, place) in
        [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().zip(PLACES)
    {
        let fd = fcntl_dupfd_cloexec(standard, place)?;
        if fd.as_raw_fd() != place {
            return Err(std::io::Error::other(format!("descriptor {place} is taken")));
        }
        fcntl_setfd(&fd, FdFlags::empty())?;
        placed.push(fd);
    }
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null.as_fd())?;
    let ready = placed.pop().ok_or(std::io::ErrorKind::InvalidData)?;
    // The program inherits the other two: they are never closed here.
    placed.into_iter().for_each(std::mem::forget);
    Ok(File::from(ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_arguments_in_its_own_order() {
        let program = parse("binary:///usr/bin/nerdctl?_NERDCTL_INTERNAL_LOGGING=%2Fvar%2Flib&flag&b=x+y").unwrap();
        assert_eq!((program.path.as_str(), program.says_ready), ("/usr/bin/nerdctl", false));
        assert_eq!(program.args, ["_NERDCTL_INTERNAL_LOGGING", "/var/lib", "flag", "b", "x y"]);
        let program = Program { path: "/a b".into(), args: vec![], says_ready: true };
        assert_eq!(parse("binary-v2:///a%20b"), Ok(program));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for (uri, reason) in [
            ("binary://logger", "\"logger\" is not an absolute path"),
            ("binary:///a?x=%4", "\"%4\" has a broken %-sequence"),
            ("binary:///a%00", "\"/a%00\" has a NUL byte"),
            ("file:///a", "it is no binary:// or binary-v2:// URI"),
            ("binary-v3:///a", "it is no binary:// or binary-v2:// URI"),
        ] {
            assert_eq!(parse(uri).unwrap_err(), reason);
        }
    }
}
