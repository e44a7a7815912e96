//! The verbs for people: `check`, `config`, `ranges`, `features`, `--version`, `help`.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

mod check;
mod config;
pub(crate) mod features;
mod ranges;
pub(crate) mod version;

const HELP: &str = "\
containerd-shim-eci-v2: containers with a user namespace of their own, for containerd, Docker and Kubernetes

containerd starts this program by itself (runtime io.containerd.eci.v2). For people:
  check       what this host offers, what is missing, and what that costs
  config      the config that holds; with a file, as a runtime has it that names the file
  ranges      which container has which host ids
  features    what this runtime can do, as the OCI features document
  --version   the version
";

/// Runs the verb that a person has typed. None when `verb` is none of theirs.
pub(crate) fn run(verb: &str, rest: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let outcome = match verb {
        "check" => {
            let (text, usable) = check::run();
            return Some(print(Ok(text)).unwrap_or(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE }));
        }
        "config" => config::run(rest),
        "ranges" => ranges::run(),
        "features" => Ok(features::json()),
        "--version" | "version" => Ok(version::text()),
        "help" | "-h" | "-help" | "--help" => Ok(HELP.to_owned()),
        _ => return None,
    };
    Some(print(outcome).unwrap_or(ExitCode::SUCCESS))
}

/// Prints a text; an exit code when there is nothing more to do.
fn print(outcome: Result<String, String>) -> Option<ExitCode> {
    let written = match outcome {
        Ok(text) => std::io::stdout().write_all(text.as_bytes()),
        Err(error) => {
            // Where standard error is closed the exit code has to do.
            let _ = writeln!(std::io::stderr(), "containerd-shim-eci-v2: {error}");
            return Some(ExitCode::FAILURE);
        }
    };
    // A reader that has seen enough (`| head`) is no failure.
    written.err().filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe).map(|_| ExitCode::FAILURE)
}
