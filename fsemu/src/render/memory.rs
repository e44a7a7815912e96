//! What a container has of memory and swap: the least that its own group and those above leave it.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;

use super::groups::{Groups, flat, number, read};
use crate::Emulation;

/// `memory.stat`, by v2's keys.
type Stat = HashMap<String, u64>;

/// All in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// The levels with a limit.
    pub(super) memory: Vec<Level>,
    /// The levels with a limit of swap.
    pub(super) swap: Vec<Level>,
    /// That of the container's own group.
    pub(super) stat: Stat,
    /// Swap that its own group uses.
    pub(super) swapped: u64,
}

/// A limit of one level, and what all below it use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) limit: u64,
    pub(super) usage: u64,
    /// Of the usage, what is given back under pressure.
    pub(super) reclaimable: u64,
}

/// v1's names of what v2 has too (cgroup-v1/memory.rst); `total_` counts the groups below.
const V1_NAMES: [(&str, &str); 16] = [
    ("anon", "total_rss"),
    ("file", "total_cache"),
    ("shmem", "total_shmem"),
    ("file_mapped", "total_mapped_file"),
    ("file_dirty", "total_dirty"),
    ("file_writeback", "total_writeback"),
    ("anon_thp", "total_rss_huge"),
    ("swapcached", "total_swapcached"),
    ("swap", "total_swap"),
    ("inactive_anon", "total_inactive_anon"),
    ("active_anon", "total_active_anon"),
    ("inactive_file", "total_inactive_file"),
    ("active_file", "total_active_file"),
    ("unevictable", "total_unevictable"),
    ("pgfault", "total_pgfault"),
    ("pgmajfault", "total_pgmajfault"),
];

/// From here on v1 means that there is no limit: `PAGE_COUNTER_MAX` pages, whatever the size of a page.
const V1_UNLIMITED: u64 = 1 << 62;

impl Memory {
    /// What the groups of the container say now.
    pub(super) fn sample(emulation: &Emulation) -> Self {
        Self::of(&Groups::of(&emulation.facts, "memory"))
    }

    fn of(groups: &Groups) -> Self {
        let mut memory = Self::default();
        for (above, level) in groups.levels().enumerate() {
            let stat = LazyCell::new(|| stat(level, groups.v2));
            memory.memory.extend(limit(level, groups.v2, &stat));
            memory.swap.extend(swap_limit(level, groups.v2, &stat));
            if above == 0 {
                memory.stat.clone_from(&stat);
            }
        }
        if groups.own().is_some() {
            let v1 = memory.stat.get("swap").copied();
            memory.swapped = if groups.v2 { groups.number("memory.swap.current") } else { v1 }.unwrap_or(0);
        }
        memory
    }

    /// A number of the group's own, 0 where this kernel does not have it.
    pub(super) fn stat(&self, key: &str) -> u64 {
        self.stat.get(key).copied().unwrap_or(0)
    }
}

/// The least limit of these, and the least that is left; without a limit what the host has.
pub(super) fn least(levels: &[Level], host_total: u64, host_free: u64) -> (u64, u64) {
    let total = levels.iter().map(|level| level.limit).fold(host_total, u64::min);
    let free = levels.iter().map(|level| level.limit.saturating_sub(level.usage)).fold(host_free, u64::min);
    (total, free.min(total))
}

fn file(dir: &Path, name: &str) -> Option<u64> {
    number(&read(dir, name)?)
}

fn limit(dir: &Path, v2: bool, stat: &impl Deref<Target = Stat>) -> Option<Level> {
    let [limit, usage] =
        if v2 { ["memory.max", "memory.current"] } else { ["memory.limit_in_bytes", "memory.usage_in_bytes"] };
    let limit = file(dir, limit).filter(|&limit| limit < V1_UNLIMITED)?;
    let reclaimable = ["inactive_file", "active_file", "slab_reclaimable"];
    let reclaimable = reclaimable.iter().filter_map(|&key| stat.get(key)).sum();
    Some(Level { limit, usage: file(dir, usage).unwrap_or(0), reclaimable })
}

/// v1 limits the sum of memory and swap: swap has at least what memory's own limit leaves of it.
fn swap_limit(dir: &Path, v2: bool, stat: &impl Deref<Target = Stat>) -> Option<Level> {
    if v2 {
        let limit = file(dir, "memory.swap.max").filter(|&limit| limit < V1_UNLIMITED)?;
        return Some(Level { limit, usage: file(dir, "memory.swap.current").unwrap_or(0), reclaimable: 0 });
    }
    let both = file(dir, "memory.memsw.limit_in_bytes").filter(|&limit| limit < V1_UNLIMITED)?;
    let limit = both.saturating_sub(file(dir, "memory.limit_in_bytes")?);
    let usage = stat.get("swap").copied().unwrap_or(0);
    Some(Level { limit, usage, reclaimable: 0 })
}

/// `memory.stat` of a level, by v2's keys.
fn stat(dir: &Path, v2: bool) -> Stat {
    let flat = flat(&read(dir, "memory.stat").unwrap_or_default());
    if v2 {
        return flat;
    }
    let of = |(v2, v1): (&str, &str)| flat.get(v1).map(|value| (v2.to_owned(), *value));
    let mut stat: HashMap<_, _> = V1_NAMES.into_iter().filter_map(of).collect();
    // All that v1 says of the kernel's memory.
    if let Some(kernel) = file(dir, "memory.kmem.usage_in_bytes") {
        stat.insert("slab_unreclaimable".to_owned(), kernel);
    }
    stat
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
