//! Memory and swap alone, as a machine of the container's own would have them: for who asks often.

use super::files::Files;
use super::parse::{Flat, number};
use crate::container::cgroup::Cgroup;
use crate::container::cgroup::error::Error;

/// Memory and swap in bytes. Without a limit the limit is some number above every machine's; swap that this kernel does not
/// count is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) limit: u64,
    pub(crate) usage: u64,
    /// tmpfs and shared memory, which `usage` has, too.
    pub(crate) shared: u64,
    /// Limit and usage of swap alone.
    pub(crate) swap: Option<(u64, u64)>,
    /// Processes, threads counted each.
    pub(crate) processes: Option<u64>,
}

impl Cgroup {
    /// Reads them: the least limits of its group and those above, and what these leave of them.
    ///
    /// # Errors
    /// When a file is there and cannot be read. What is not there limits nothing and is not used.
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let files = self.files("memory")?;
        let stat: Flat = files.flat("memory.stat")?;
        let processes = self.files("pids")?.text("pids.current")?.and_then(|text| number(&text));
        let (mut memory, mut swap) = level(&files)?;
        let mut above = files.above()?;
        while let Some(files) = above {
            let (its_memory, its_swap) = level(&files)?;
            memory = memory.least(its_memory);
            swap = swap.map(|swap| its_swap.map_or(swap, |its_swap| swap.least(its_swap)));
            above = files.above()?;
        }
        Ok(Memory {
            limit: memory.limit,
            usage: memory.limit.saturating_sub(memory.left),
            shared: stat.get(if files.is_v2() { "shmem" } else { "total_shmem" }),
            swap: swap.map(|swap| (swap.limit, swap.limit.saturating_sub(swap.left))),
            processes,
        })
    }
}

/// From here on v1 means that there is no limit: `PAGE_COUNTER_MAX` pages, whatever the size of a page.
const UNLIMITED: u64 = 1 << 62;

/// What one group limits, and what is left of it.
#[derive(Clone, Copy)]
struct Level {
    limit: u64,
    left: u64,
}

impl Level {
    fn new(limit: u64, usage: u64) -> Self {
        Self { limit, left: limit.saturating_sub(usage) }
    }

    fn least(self, other: Self) -> Self {
        Self { limit: self.limit.min(other.limit), left: self.left.min(other.left) }
    }
}

/// Memory and swap of one group. The root has neither on v2.
fn level(files: &Files) -> Result<(Level, Option<Level>), Error> {
    let read = |file: &str| Ok::<_, Error>(files.text(file)?.and_then(|text| number(&text)));
    if files.is_v2() {
        let memory = Level::new(read("memory.max")?.unwrap_or(u64::MAX), read("memory.current")?.unwrap_or(0));
        let swap = read("memory.swap.max")?.zip(read("memory.swap.current")?);
        return Ok((memory, swap.map(|(limit, usage)| Level::new(limit, usage))));
    }
    let limit = read("memory.limit_in_bytes")?.unwrap_or(u64::MAX);
    let usage = read("memory.usage_in_bytes")?.unwrap_or(0);
    // Of v1, swap is counted with the memory that is used beside it.
    let both = read("memory.memsw.limit_in_bytes")?.zip(read("memory.memsw.usage_in_bytes")?);
    let swap = both.map(|(most, used)| {
        let limit = if most < UNLIMITED { most.saturating_sub(limit) } else { u64::MAX };
        Level::new(limit, used.saturating_sub(usage))
    });
    Ok((Level::new(limit, usage), swap))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn both_versions_tell_of_memory_and_swap_apart() {
        let v1 = samples::with(false, Cgroup::memory).unwrap();
        assert_eq!((v1.limit, v1.usage, v1.processes), (67_108_864, 2_351_104, Some(3)));
        assert_eq!(v1.swap, Some((134_217_728 - 67_108_864, 1)));
        let v2 = samples::with(true, Cgroup::memory).unwrap();
        assert_eq!((v2.usage, v2.processes), (2_351_104, Some(3)));
    }

    #[test]
    fn a_group_above_may_limit_more_and_leave_less() {
        let (own, above) = (Level::new(100, 10), Level::new(u64::MAX, 500));
        let least = own.least(above);
        assert_eq!((least.limit, least.left), (100, 90));
        let full = own.least(Level::new(200, 150));
        assert_eq!((full.limit, full.left), (100, 50));
        let lower = own.least(Level::new(50, 20));
        assert_eq!((lower.limit, lower.left), (50, 30));
    }
}
