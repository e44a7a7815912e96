//! Stages: fresh, single-threaded executions of our own binary that make a container and the processes in it.
//!
//! The shim has threads, so it never forks; it spawns a *stage* with a control socket as its standard input
//! ([`launch`]), and everything else travels over that socket ([`message`], [`channel`]). There are four stages, and
//! the process that the first one leaves behind:
//! * `build` ([`build`]): host root. Makes namespaces, id maps and the mount tree, pivots into it, and exits.
//! * init ([`init`]): cloned by `build` (into a leaf of its cgroup: [`leaf`]), pid 1 of the container. Takes the locked copy of the mount tree, waits for
//!   Start, executes the user's program.
//! * `hooks` ([`hooks`]): runs hooks in the host's namespaces, each by [`hook`].
//! * `act` ([`act`]): does on behalf of the container's processes what the kernel would not let them.
//! * `exec` ([`exec`]): joins a running container and executes one more program there.
//!
//! Invariant: a stage is non-dumpable from its first line until the user's program runs, and it runs from a detached
//! read-only clone of the shim's own file: nothing in the container can read, trace or rewrite it (CVE-2019-5736).

use std::os::fd::AsFd;

pub(crate) mod act;
mod binds;
mod build;
mod cgroupfs;
pub(crate) mod channel;
mod clocks;
mod copy_up;
mod dev;
pub(crate) mod emulation;
mod exec;
mod filter;
mod helper;
pub(crate) mod hook;
pub(crate) mod hooks;
mod init;
pub(crate) mod launch;
mod leaf;
pub(crate) mod message;
mod mounts;
mod namespaces;
mod process;
mod procfs;
mod stdio;
mod terminal;
mod user_limit;

use channel::Channel;
use message::{Failure, Report};

/// The hidden verb of the build stage.
pub(crate) const BUILD: &str = "stage-build";

/// The hidden verb of the stage that runs hooks.
pub(crate) const HOOKS: &str = "stage-hooks";

/// The hidden verb of the stage that acts on behalf of a container's processes.
pub(crate) const ACT: &str = "stage-act";

/// The hidden verb of the exec stage.
pub(crate) const EXEC: &str = "stage-exec";

/// The hidden verb of the process that a scope of systemd's is made with: it waits for the end of its standard input.
pub(crate) const HOLD: &str = "stage-hold";

/// Runs the stage called `verb`, whose control socket is the standard input. None when `verb` is no stage.
pub(crate) fn main(verb: &str) -> Option<std::process::ExitCode> {
    let stage = match verb {
        ACT => act::run,
        BUILD => build::run,
        EXEC => exec::run,
        HOOKS => hooks::run,
        HOLD => return Some(hold()),
        _ => return None,
    };
    Some(match control_socket() {
        Ok(control) => report(&control, close_stdin().and_then(|()| stage(&control))),
        Err(cause) => {
            // Nobody to tell but whoever called the hidden verb by hand.
            eprintln!("containerd-shim-eci-v2 {verb}: {cause}: this verb is the shim's own");
            std::process::ExitCode::FAILURE
        }
    })
}

fn hold() -> std::process::ExitCode {
    match nix::sys::prctl::set_dumpable(false).map(|()| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())) {
        Ok(Ok(_)) => std::process::ExitCode::SUCCESS,
        _ => std::process::ExitCode::FAILURE,
    }
}

/// Hides the stage from everything it may come to share a pid namespace with, and takes the control socket from the
/// standard input.
fn control_socket() -> std::io::Result<Channel> {
    nix::sys::prctl::set_dumpable(false)?;
    let stdin = std::io::stdin();
    rustix::net::sockopt::socket_type(&stdin)?;
    let control = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    Ok(Channel::from(control))
}

/// The control socket is nobody's standard input.
fn close_stdin() -> Result<(), Failure> {
    rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, 0.into())
        .and_then(|null| rustix::stdio::dup2_stdin(null.as_fd()))
        .map_err(Failure::at("replace standard input by", "/dev/null"))
}

/// A process that a stage has cloned tells the shim of itself, as the stage does: if either dies before it can, or is late
/// because the process has done its work already, the process is reaped all the same. (An unreaped one would keep the init
/// of its pid namespace from ending.)
fn tell_of_self(control: &Channel, report: &Report) -> Result<(), Failure> {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
        .map_err(Failure::at("open", "a descriptor of the process"))?;
    control.send(report, &[own.as_fd()]).map_err(Failure::at("report to", "the shim"))
}

/// Tells the shim how a stage ended. A process that returns here exits; the user's program never does.
fn report(control: &Channel, outcome: Result<(), Failure>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            // A shim that is gone needs no report.
            let _gone = control.send(&Report::Failed(failure), &[]);
            std::process::ExitCode::FAILURE
        }
    }
}
