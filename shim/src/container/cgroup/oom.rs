//! Telling when the kernel has run a container out of its memory.
//!
//! v1 adds to an eventfd that is named in `cgroup.event_control` (cgroup-v1/memory, "OOM Control"); v2 changes
//! `memory.events`, whose `oom_kill` counts, and inotify(7) tells so. Either is a descriptor that becomes readable.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, inotify, openat};

use super::error::{Error, step};
use super::{Cgroup, Group, tree};

/// A look-out for one container.
#[derive(Debug)]
pub(crate) struct Oom {
    notifier: OwnedFd,
    group: OwnedFd,
    /// The count of v2 that was told last; none on v1.
    told: Option<Mutex<u64>>,
}

impl Cgroup {
    /// Begins to look out; none where no memory controller is.
    ///
    /// # Errors
    /// When the kernel refuses: a container is not worse for it, but nobody will know.
    pub(crate) fn watch_oom(&self) -> Result<Option<Oom>, Error> {
        if let Some(group) = self.groups.iter().find(|group| group.hierarchy.has_v1("memory")) {
            return watch_v1(group).map(Some);
        }
        match self.groups.iter().find(|group| group.hierarchy.is_v2()) {
            Some(group) if group.dir.join("memory.events").exists() => watch_v2(group).map(Some),
            _ => Ok(None),
        }
    }
}

fn watch_v1(Group { dir, .. }: &Group) -> Result<Oom, Error> {
    let failed = || step("watch for OOM in", dir);
    let group = tree::open(dir).map_err(failed())?;
    let control = openat(&group, "memory.oom_control", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let control = control.map_err(failed())?;
    let notifier = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed())?;
    let line = format!("{} {}", notifier.as_raw_fd(), control.as_raw_fd());
    tree::write(group.as_fd(), "cgroup.event_control", &line).map_err(failed())?;
    Ok(Oom { notifier, group, told: None })
}

fn watch_v2(Group { dir, .. }: &Group) -> Result<Oom, Error> {
    let failed = || step("watch for OOM in", dir);
    let group = tree::open(dir).map_err(failed())?;
    let notifier = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed())?;
    inotify::add_watch(&notifier, dir.join("memory.events"), inotify::WatchFlags::MODIFY).map_err(failed())?;
    let told = Some(Mutex::new(kills(group.as_fd()).unwrap_or_default()));
    Ok(Oom { notifier, group, told })
}

impl Oom {
    /// What becomes readable when there may be news.
    ///
    /// # Errors
    /// What dup(2) says.
    pub(crate) fn notifier(&self) -> std::io::Result<OwnedFd> {
        self.notifier.try_clone()
    }

    /// Whether it has happened since the last look.
    pub(crate) fn happened(&self) -> bool {
        let mut news = [0; 4096];
        let notified = matches!(rustix::io::read(&self.notifier, &mut news[..]), Ok(1..));
        match &self.told {
            // v1 also tells of the group's end.
            None => notified && accessat(&self.group, "memory.oom_control", Access::EXISTS, AtFlags::empty()).is_ok(),
            Some(told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(now) = kills(self.group.as_fd()) else { return false };
                std::mem::replace(&mut *told, now) < now
            }
        }
    }
}

/// How many processes the kernel has killed in the group and below.
fn kills(group: BorrowedFd<'_>) -> Option<u64> {
    let text = tree::read(group, "memory.events").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}
