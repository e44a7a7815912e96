//! Standard streams: descriptors 0, 1 and 2 of a process.

use std::os::fd::{AsFd, OwnedFd};

use super::message::Failure;

/// Puts the process's streams in place: its terminal, or the three descriptors that came with the order.
pub(super) fn place(streams: &[OwnedFd], terminal: Option<&OwnedFd>) -> Result<(), Failure> {
    let stream = |number: usize| terminal.or_else(|| streams.get(number)).map(AsFd::as_fd);
    match (stream(0), stream(1), stream(2)) {
        (Some(stdin), Some(stdout), Some(stderr)) => rustix::stdio::dup2_stdin(stdin)
            .and_then(|()| rustix::stdio::dup2_stdout(stdout))
            .and_then(|()| rustix::stdio::dup2_stderr(stderr))
            .map_err(Failure::at("put in place", "standard streams")),
        _ => Err(Failure::line("put in place standard streams: the order has none")),
    }
}
