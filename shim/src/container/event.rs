//! What happens to a container, in the order in which it happens.
//!
//! Invariant: an event enters the queue before anything that it tells of can be seen by a request (a Wait returns after
//! the exit is queued), so whatever a client does in answer to an event is queued behind it.
//!
//! Each is also a line in the log, written when it is queued: containerd may be away just then.

use std::time::SystemTime;

use policy::plan::RootMount;
use tokio::sync::mpsc::UnboundedSender;

use super::exit::Exit;
use super::stdio::Request;

/// An event, whose it is, and when it happened.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    /// The container's id.
    pub(crate) container: String,
    /// When it was queued.
    pub(crate) at: SystemTime,
    /// What happened.
    pub(crate) event: Event,
}

/// What can happen to a container. Pids are those of the shim's pid namespace.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Init waits for Start.
    Created {
        /// The bundle's directory.
        bundle: String,
        /// What the engine asked its stdio to be.
        stdio: Request,
        /// The root filesystem's mounts.
        rootfs: Vec<RootMount>,
        /// Init's pid.
        pid: u32,
    },
    /// The user's program runs.
    Started {
        /// Init's pid.
        pid: u32,
    },
    /// An exec may be started.
    ExecAdded {
        /// Its id.
        exec: String,
    },
    /// An exec's program runs.
    ExecStarted {
        /// Its id.
        exec: String,
        /// Its pid.
        pid: u32,
    },
    /// A process is gone.
    Exited {
        /// The exec's id; empty for the container's own process.
        process: String,
        /// Its pid.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The kernel has killed for want of memory.
    Oom,
    /// Every process stands still.
    Paused,
    /// They go on.
    Resumed,
    /// Nothing is left of the container.
    Deleted {
        /// Init's pid.
        pid: u32,
        /// How init ended.
        exit: Exit,
    },
}

impl Event {
    /// One line: of a container's life at info, of its execs at debug (a probe runs one every few seconds).
    fn log(&self, container: &str) {
        match self {
            Self::Created { pid, .. } => log::info!(container = container, pid = *pid; "created"),
            Self::Started { pid } => log::info!(container = container, pid = *pid; "started"),
            Self::ExecAdded { exec } => log::debug!(container = container, exec = exec.as_str(); "exec added"),
            Self::ExecStarted { exec, pid } => {
                log::debug!(container = container, exec = exec.as_str(), pid = *pid; "exec started");
            }
            Self::Exited { process, pid, exit } if process.is_empty() => {
                log::info!(container = container, pid = *pid, status = exit.status; "exited");
            }
            Self::Exited { process, pid, exit } => {
                log::debug!(container = container, exec = process.as_str(), pid = *pid, status = exit.status; "exec exited");
            }
            Self::Oom => log::info!(container = container; "out of memory"),
            Self::Paused => log::info!(container = container; "paused"),
            Self::Resumed => log::info!(container = container; "resumed"),
            Self::Deleted { pid, exit } => {
                log::info!(container = container, pid = *pid, status = exit.status; "deleted");
            }
        }
    }
}

/// Where a container puts its events. Never waits.
#[derive(Debug, Clone)]
pub(crate) struct Events(UnboundedSender<Happened>);

impl Events {
    /// Events go to `queue`.
    pub(crate) fn new(queue: UnboundedSender<Happened>) -> Self {
        Self(queue)
    }

    /// Queues an event of `container`.
    pub(crate) fn emit(&self, container: &str, event: Event) {
        event.log(container);
        // The queue is closed only when the shim ends, and then nobody listens.
        let _ = self.0.send(Happened { container: container.to_owned(), at: SystemTime::now(), event });
    }
}
