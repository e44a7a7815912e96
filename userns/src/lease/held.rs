//! A lease that this process holds.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use policy::idmap::IdMap;
use rustix::fs::{Mode, OFlags, fstat};

use super::dir::StateDir;
use super::error::{LeaseError, span};
use super::lock;
use super::name::LeaseName;
use super::scan;
use super::state::{Holder, ProcessId, State, UsernsId};

/// A container's hold on its id range.
///
/// Dropping it gives up the lock and nothing else: the range stays the container's by the rules of [the module](super).
/// As [`AsFd`] it lends the locked descriptor (close-on-exec): a stage of creation that inherits a duplicate keeps the
/// lease held until it ends or executes a program, even when the shim is killed before [`Lease::record`].
#[derive(Debug)]
pub struct Lease {
    pub(super) dir: Arc<StateDir>,
    pub(super) name: LeaseName,
    pub(super) file: File,
    pub(super) state: State,
    /// Kept open so that the namespace's inode number names no other namespace as long as the lease is held.
    pub(super) userns: Option<OwnedFd>,
    pub(super) notes: Vec<Note>,
}

/// Something that the operator should find in the log; `Display` is the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The range was that of a stopped container, which will get another one.
    Taken {
        /// The range.
        range: IdMap,
        /// The stopped container.
        from: Holder,
        /// Whether that is because the pool is used up (otherwise because the spec brings a map over it).
        used_up: bool,
    },
    /// Living containers have the same map, because their specs bring it, too.
    Shared {
        /// The map.
        map: IdMap,
        /// The containers, at least one.
        with: Vec<Holder>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { range, from, used_up } => {
                let reason = if *used_up { "the pool is used up" } else { "a spec brings a map over it" };
                write!(f, "id range {} was taken from the stopped {from}: {reason}", span(*range))
            }
            Self::Shared { map, with } => {
                write!(f, "id range {} is shared, as the specs ask, with ", span(*map))?;
                match with.as_slice() {
                    [] => f.write_str("nobody"),
                    [one] => write!(f, "{one}"),
                    [first, others @ ..] => write!(f, "{first} and {} more", others.len()),
                }
            }
        }
    }
}

impl Lease {
    /// The id map that the container gets.
    pub fn id_map(&self) -> IdMap {
        self.name.map()
    }

    /// What the shim should log about how the range was found.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The container's user namespace, once it is recorded.
    pub fn userns(&self) -> Option<BorrowedFd<'_>> {
        self.userns.as_ref().map(AsFd::as_fd)
    }

    /// Records the container's first process, which must be in its user namespace and not yet reaped, and its cgroups
    /// (absolute directories, one for each hierarchy; processes in any directory below count). To be called before the
    /// process may run anything of the container's. Calling it again replaces what was recorded.
    ///
    /// # Errors
    /// The process is gone, or the file cannot be written; then the former facts stand.
    pub fn record(&mut self, init: u32, cgroups: &[PathBuf]) -> Result<(), LeaseError> {
        let process = |what| move |source| LeaseError::Process { what, pid: init, source };
        let id = ProcessId::of(init).map_err(process("the start time"))?;
        let path = format!("/proc/{init}/ns/user");
        let userns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| process("the user namespace")(errno.into()))?;
        let stat = fstat(&userns).map_err(|errno| process("the user namespace")(errno.into()))?;
        let mut state = self.state.clone();
        state.init = Some(id);
        state.cgroups = cgroups.to_vec();
        state.userns = Some(UsernsId { dev: stat.st_dev, ino: stat.st_ino });
        self.append(state)?;
        self.userns = Some(userns);
        Ok(())
    }

    /// Gives the lease up, when the container is deleted or could not be made. Its range is free at once if its writable
    /// layer is gone (or it has none); else the container finds it again until the layer is removed.
    ///
    /// # Errors
    /// The state directory cannot be changed; the lock is given up all the same.
    pub fn release(mut self) -> Result<(), LeaseError> {
        let dir = self.dir.clone();
        let allocation = dir.lock()?;
        let needed = scan::has_process(&self.state) || self.state.layer.as_ref().is_some_and(|layer| layer.exists());
        let left = allocation.leave_values(self.name, &self.state);
        let result = if needed {
            let mut state = self.state.clone();
            state.stopped = Some(now());
            self.append(state)
        } else {
            allocation.remove(self.name)
        };
        // Not by closing alone: a stage that still has the descriptor must not hold a lease that is over.
        let unlocked = lock::give_up(&self.file).map_err(|error| self.error("unlock", error));
        result.and(left).and(unlocked)
    }

    /// Appends a line; on failure the file is as it was.
    pub(super) fn append(&mut self, state: State) -> Result<(), LeaseError> {
        let line = state.line().map_err(|error| self.error("write", error))?;
        let before = self.file.metadata().map_err(|error| self.error("look at", error))?.len();
        if let Err(error) = self.file.write_all(&line) {
            let _ = self.file.set_len(before);
            return Err(self.error("write", error));
        }
        self.state = state;
        Ok(())
    }

    fn error(&self, step: &'static str, source: impl Into<std::io::Error>) -> LeaseError {
        self.dir.error(step, self.name.to_string(), source)
    }
}

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Milliseconds since the epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
