//! `containerd-shim-eci-v2` runs containers for containerd: one binary that is the shim, its stages and a tool for people.
//!
//! * [`wire`]: what containerd says and is told.
//! * [`container`]: the container's life.
//! * [`stage`]: the single-threaded processes that make a container and what runs in it.
//! * [`cli`]: the verbs for people.
//!
//! Invariant: which of these a process is, is decided here, by its arguments and before it has a second thread.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make what they test"))]
#![cfg_attr(feature = "fuzz", no_main, allow(dead_code, reason = "the fuzzer's main takes the place of ours"))]

mod cli;
mod container;
mod failpoint;
mod files;
#[cfg(feature = "fuzz")]
mod fuzz;
mod stage;
mod sys;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use wire::flags::Flags;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().and_then(|verb| verb.into_string().ok()).unwrap_or_default();
    if let Some(code) = stage::main(&verb) {
        return code;
    }
    if verb == container::logging::VERB {
        return container::logging::exec(args);
    }
    if let Some(code) = cli::run(&verb, args) {
        return code;
    }
    match shim() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed the exit code has to do.
            let _ = writeln!(std::io::stderr(), "containerd-shim-eci-v2: {error}");
            ExitCode::FAILURE
        }
    }
}

/// containerd's own calls. Standard output has the answer of one that succeeds, and nothing else is written.
fn shim() -> Result<(), String> {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let flags = Flags::parse(args)?;
    let output = std::io::stdout();
    if flags.version {
        let text = cli::version::for_containerd();
        return (&output).write_all(text.as_bytes()).map_err(|error| format!("write the version: {error}"));
    }
    if flags.info {
        return wire::info::run(&wire::bootstrap::read_input(std::io::stdin())?, output);
    }
    match flags.action.as_str() {
        "start" => wire::start::run(&flags, &wire::bootstrap::read_input(std::io::stdin())?, output),
        "delete" => wire::delete::run(&flags, output),
        "serve" => wire::serve::run(&flags),
        "" => Err("nothing to do; see containerd-shim-eci-v2 help".to_owned()),
        other => Err(format!("unknown verb {other:?}; see containerd-shim-eci-v2 help")),
    }
}
