//! `/proc/meminfo`: the host's file, in its order and form, with the container's numbers.
//!
//! Without a limit anywhere the container has the host's memory, and shows it. With one, `MemTotal` is the least limit,
//! `MemFree` the least that any level (or the host) has left, and all that a group counts is the group's.
//!
//! The text keeps its length while numbers change: it is served from the page cache ([`crate::fuse`]).

use std::collections::HashMap;
use std::io;

use super::memory::{Level, Memory, least};
use crate::Emulation;

/// See the module.
pub(crate) fn meminfo(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&super::host("/proc/meminfo")?, &Memory::sample(emulation)).into_bytes())
}

/// Lines whose number is the sum of these keys of `memory.stat`.
const STAT: [(&str, &[&str]); 27] = [
    ("Cached", &["file"]),
    ("SwapCached", &["swapcached"]),
    ("Active", &["active_anon", "active_file"]),
    ("Inactive", &["inactive_anon", "inactive_file"]),
    ("Active(anon)", &["active_anon"]),
    ("Inactive(anon)", &["inactive_anon"]),
    ("Active(file)", &["active_file"]),
    ("Inactive(file)", &["inactive_file"]),
    ("Unevictable", &["unevictable"]),
    ("Mlocked", &["unevictable"]),
    ("Zswap", &["zswap"]),
    ("Zswapped", &["zswapped"]),
    ("Dirty", &["file_dirty"]),
    ("Writeback", &["file_writeback"]),
    ("AnonPages", &["anon"]),
    ("Mapped", &["file_mapped"]),
    ("Shmem", &["shmem"]),
    ("KReclaimable", &["slab_reclaimable"]),
    ("Slab", &["slab_reclaimable", "slab_unreclaimable"]),
    ("SReclaimable", &["slab_reclaimable"]),
    ("SUnreclaim", &["slab_unreclaimable"]),
    ("KernelStack", &["kernel_stack"]),
    ("PageTables", &["pagetables"]),
    ("SecPageTables", &["sec_pagetables"]),
    ("Percpu", &["percpu"]),
    ("AnonHugePages", &["anon_thp"]),
    ("FileHugePages", &["file_thp"]),
];

/// Lines of the whole host that no group counts.
const NOBODYS: [&str; 7] =
    ["Buffers", "Bounce", "NFS_Unstable", "WritebackTmp", "ShmemPmdMapped", "FilePmdMapped", "Balloon"];

pub(super) fn render(host: &str, memory: &Memory) -> String {
    let numbers = numbers(host);
    let of = |name: &str| numbers.get(name).copied().unwrap_or(0);
    let ours = ours(of, memory);
    let width = width(of("MemTotal").saturating_add(of("SwapTotal")));
    let mut text = String::with_capacity(host.len());
    for line in host.lines() {
        let number = line.split_once(':').and_then(|(name, rest)| {
            let of_host = || rest.strip_suffix(" kB")?.trim_start().parse().ok();
            Some((name, ours.get(name).copied().or_else(of_host)?))
        });
        match number {
            Some((name, value)) => text.push_str(&format!("{:<16}{value:>width$} kB\n", format!("{name}:"))),
            None => text.extend([line, "\n"]),
        }
    }
    text
}

/// Digits of a number: the 8 of show_val_kb() in fs/proc/meminfo.c, or as many as the greatest may have.
fn width(greatest: u64) -> usize {
    greatest.to_string().len().max(8)
}

/// In kB, by the line's name.
pub(super) fn numbers(host: &str) -> HashMap<&str, u64> {
    let number = |line| {
        let (name, value) = str::split_once(line, ':')?;
        Some((name, value.split_whitespace().next()?.parse().ok()?))
    };
    host.lines().filter_map(number).collect()
}

/// The lines that are other than the host's, in kB.
fn ours(host: impl Fn(&str) -> u64, memory: &Memory) -> HashMap<&'static str, u64> {
    let bytes = |name| host(name).saturating_mul(1024);
    let mut lines = HashMap::new();
    if !memory.swap.is_empty() {
        let (total, free) = least(&memory.swap, bytes("SwapTotal"), bytes("SwapFree"));
        lines.extend([("SwapTotal", total), ("SwapFree", free)]);
    }
    let limits: Vec<Level> = memory.memory.iter().filter(|it| it.limit < bytes("MemTotal")).copied().collect();
    if !limits.is_empty() {
        let (total, free) = least(&limits, bytes("MemTotal"), bytes("MemFree"));
        let left = limits.iter().map(|it| it.limit.saturating_sub(it.usage).saturating_add(it.reclaimable));
        let available = left.fold(bytes("MemAvailable"), u64::min).min(total);
        lines.extend([("MemTotal", total), ("MemFree", free), ("MemAvailable", available)]);
        lines.extend(STAT.map(|(line, keys)| (line, keys.iter().map(|key| memory.stat(key)).sum())));
        lines.insert("ShmemHugePages", memory.stat("shmem_thp"));
        lines.extend(NOBODYS.map(|line| (line, 0)));
        let swap = lines.get("SwapTotal").copied().unwrap_or(bytes("SwapTotal"));
        let committed = memory.stat("anon").saturating_add(memory.stat("shmem")).saturating_add(memory.swapped);
        lines.insert("CommitLimit", bytes("CommitLimit").min(total.saturating_add(swap)));
        lines.insert("Committed_AS", bytes("Committed_AS").min(committed));
    }
    lines.values_mut().for_each(|value| *value /= 1024);
    lines
}

#[cfg(test)]
#[path = "meminfo_tests.rs"]
mod tests;
