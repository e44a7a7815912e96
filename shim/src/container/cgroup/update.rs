//! Changing the limits of a group that has processes.
//!
//! Only what is given changes. What the kernel needs beside it (the period beside a quota, the limit of memory below that
//! of memory and swap) is what the group has. When one value is refused, those that were written before it are put back.
//! Device rules stay what they were at the start, as in runc: an update never lets a container have more of the host.

use std::os::fd::{AsFd, BorrowedFd};

use policy::Refusal;
use policy::plan::Resources;

use super::apply::below_use;
use super::error::Error;
use super::journal::Journal;
use super::limits::{LIMIT, SWAP, Version};
use super::{Cgroup, delegate, tree};

impl Cgroup {
    /// Changes the limits that are given. Blocks while the kernel frees memory for a lower limit.
    ///
    /// # Errors
    /// When a value is refused, by the kernel or because the container uses more; nothing has changed then.
    pub(crate) fn update(&self, resources: &Resources) -> Result<(), Error> {
        let mut wanted = resources.clone();
        if let (Some(group), version) = self.home("memory")? {
            complete_memory(&mut wanted, group.as_fd(), version)?;
            if version == Version::V2 {
                make_room(&wanted, group.as_fd())?;
            }
        }
        if let (Some(group), Version::V2) = self.home("cpu")? {
            complete_cpu(&mut wanted, group.as_fd());
        }
        let mut journal = Journal::default();
        let applied = self.apply(&wanted, Some(&mut journal)).and_then(|()| self.update_unit(&wanted));
        if self.unit.is_some() && applied.is_ok() {
            // systemd writes what it is told as well, rounded.
            self.apply(&wanted, None)?;
        }
        match applied {
            Ok(()) => delegate::repeat_limits(&self.groups),
            Err(_) => journal.undo(),
        }
        applied
    }
}

fn number(group: BorrowedFd<'_>, file: &str) -> Option<i64> {
    tree::read(group, file).ok()?.trim().parse().ok()
}

/// As in runc, memory without a limit is swap without one; and memory and swap together need a limit of memory.
fn complete_memory(wanted: &mut Resources, group: BorrowedFd<'_>, version: Version) -> Result<(), Error> {
    if wanted.memory_limit == Some(-1) && wanted.memory_swap.is_none() {
        wanted.memory_swap = Some(-1);
    }
    let (Some(swap @ 1..), None) = (wanted.memory_swap, wanted.memory_limit) else { return Ok(()) };
    let (file, most) = match version {
        // v1 has a number for no limit: the greatest that is whole pages.
        Version::V1 => ("memory.limit_in_bytes", i64::MAX >> 16 << 16),
        Version::V2 => ("memory.max", i64::MAX),
    };
    match number(group, file).filter(|limit| *limit < most) {
        Some(limit) => wanted.memory_limit = Some(limit),
        None => {
            let reason = "limits memory and swap together, and the container has no limit of memory";
            return Err(Refusal::new(SWAP, format!("{swap}: {reason}")).into());
        }
    }
    Ok(())
}

/// `cpu.max` holds quota and period: a new period alone keeps the quota.
fn complete_cpu(wanted: &mut Resources, group: BorrowedFd<'_>) {
    if wanted.cpu_period.is_some() && wanted.cpu_quota.is_none() {
        let text = tree::read(group, "cpu.max").unwrap_or_default();
        wanted.cpu_quota = text.split(' ').next().and_then(|quota| quota.parse().ok()).or(Some(-1));
    }
}

/// A limit of v2 that is below use makes the kernel kill processes, where v1 frees what it can and then says no. So that
/// is done here, with what can be freed given back first, unless the update says not to try.
fn make_room(wanted: &Resources, group: BorrowedFd<'_>) -> Result<(), Error> {
    let strict = wanted.memory_check_before_update == Some(true);
    let used = || number(group, "memory.current").unwrap_or(0);
    let refuse =
        |field, value: i64| Err(Refusal::new(field, format!("{value}: {}", below_use(&used().to_string()))).into());
    if let Some(limit @ 1..) = wanted.memory_limit {
        if !strict && used() > limit {
            // It fails when less than this could be freed, which is seen at once.
            let _ = tree::write(group, "memory.reclaim", &(used() - limit).to_string());
        }
        if used() > limit {
            return refuse(LIMIT, limit);
        }
    }
    match wanted.memory_swap {
        Some(swap @ 1..) if strict && used() > swap => refuse(SWAP, swap),
        _ => Ok(()),
    }
}
