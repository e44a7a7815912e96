//! Directories of values: what the containers of one user namespace share besides their ids, such as the settings that one
//! of them writes and all of them read.
//!
//! Each is named after the lease of the container that made the user namespace, `FIRST-SIZE.TAG.values`, and every member's
//! lease has that name. It is made when it is first asked for, is not there before a container that is new to its range
//! asks, and goes with the last member: whoever gives that lease up removes it, or, where the shim was killed, whoever looks
//! at the leases next.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use policy::idmap::IdMap;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::dir::{Allocation, StateDir};
use super::error::LeaseError;
use super::held::Lease;
use super::name::LeaseName;
use super::scan::{Entry, Life};
use super::state::State;

const SUFFIX: &str = ".values";

/// The directory that a container which makes its user namespace gets with this lease.
pub(super) fn name_of(lease: LeaseName) -> String {
    format!("{lease}{SUFFIX}")
}

/// The lease after which a directory is named, or none when it is no such directory.
fn parse(name: &str) -> Option<LeaseName> {
    name.strip_suffix(SUFFIX).and_then(LeaseName::parse)
}

impl Lease {
    /// The directory, made with mode 0700 if it is not there. It is there until the last container of the user namespace
    /// is deleted.
    ///
    /// # Errors
    /// It cannot be made or opened.
    #[expect(clippy::disallowed_methods, reason = "a name of our own in the state directory")]
    pub fn values(&self) -> Result<OwnedFd, LeaseError> {
        let own = name_of(self.name);
        let name = self.state.values.as_deref().filter(|name| parse(name).is_some()).unwrap_or(&own);
        match mkdirat(self.dir.fd(), name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.dir.error("create", name, errno)),
        }
        open(&self.dir, name)
    }
}

impl Allocation<'_> {
    /// Whether a lease of this name would find values of others.
    pub(super) fn has_values(&self, lease: LeaseName) -> bool {
        statat(self.dir().fd(), name_of(lease), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes the directory of a lease that is given up, unless another member of its user namespace is there.
    pub(super) fn leave_values(&self, of: LeaseName, state: &State) -> Result<(), LeaseError> {
        let Some(values) = state.values.as_deref().filter(|name| parse(name).is_some()) else { return Ok(()) };
        for name in self.names()?.into_iter().filter(|name| *name != of && name.map() == of.map()) {
            match State::parse(&self.read(name, self.open(name)?)?) {
                Ok(other) if other.stopped.is_some() || other.values != state.values => {}
                // Also what cannot be read.
                _ => return Ok(()),
            }
        }
        remove(self.dir(), values)
    }

    /// Removes the directories of ranges in which nobody lives.
    pub(super) fn remove_dead_values(&self, entries: &[Entry]) -> Result<(), LeaseError> {
        let lives = |range: IdMap| {
            entries.iter().any(|entry| entry.name.map() == range && !matches!(entry.life, Life::Stopped(_)))
        };
        let list = |errno| self.error("list", "", errno);
        for entry in Dir::read_from(self.dir().fd()).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_str().unwrap_or_default();
            if parse(name).is_some_and(|lease| !lives(lease.map())) {
                remove(self.dir(), name)?;
            }
        }
        Ok(())
    }
}

fn open(dir: &StateDir, name: &str) -> Result<OwnedFd, LeaseError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir.fd(), name, flags, Mode::empty()).map_err(|errno| dir.error("open", name, errno))
}

/// Removes a directory, which has files only.
#[expect(clippy::disallowed_methods, reason = "names of our own in the state directory")]
fn remove(dir: &StateDir, name: &str) -> Result<(), LeaseError> {
    let failed = |errno: Errno| dir.error("remove", name, errno);
    let opened = match openat(dir.fd(), name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    for entry in Dir::read_from(&opened).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type() != FileType::Directory {
            unlinkat(&opened, entry.file_name(), AtFlags::empty()).map_err(failed)?;
        }
    }
    unlinkat(dir.fd(), name, AtFlags::REMOVEDIR).map_err(failed)
}
