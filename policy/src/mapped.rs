//! Which ids there are where we run: all of them on a host, those of its map in a user namespace that somebody has put us
//! into (a container, in which eci makes containers).
//!
//! What is no id of the writer's own user namespace cannot be mapped into one below it: the kernel answers EPERM to the map
//! (`map_write()` of kernel/user_namespace.c), which says neither which id nor why.

use std::fmt;

use crate::idmap::IdMap;
use crate::subid::Spans;

/// The ids that are mapped, for uids and for gids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    uids: Spans,
    gids: Spans,
}

impl Mapped {
    /// Of the texts of `/proc/self/uid_map` and `gid_map`; an empty one (a kernel without user namespaces) maps everything.
    pub fn of(uid_map: &str, gid_map: &str) -> Self {
        Self { uids: parse(uid_map), gids: parse(gid_map) }
    }

    /// Whether every host id of a container's map is mapped.
    pub fn has(&self, map: IdMap) -> bool {
        self.uids.contain(map) && self.gids.contain(map)
    }
}

impl Default for Mapped {
    /// All ids, as on a host.
    fn default() -> Self {
        Self::of("", "")
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uids == self.gids {
            true => write!(f, "{}", self.uids),
            false => write!(f, "the uids {} and the gids {}", self.uids, self.gids),
        }
    }
}

/// Whether a `uid_map` is that of the host's own user namespace (user_namespaces(7)).
pub fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The ids inside: the first and the third number of each line (user_namespaces(7)).
fn parse(text: &str) -> Spans {
    let all = IdMap { host: 0, size: u32::MAX };
    let lines = text.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let (host, size) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        Some(IdMap { host, size })
    });
    if text.is_empty() { Spans::from_iter([all]) } else { lines.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "         0          0 4294967295\n";
    const ONE_RANGE: &str = "         0     100000      65536\n";

    fn range(host: u32, size: u32) -> IdMap {
        IdMap { host, size }
    }

    #[test]
    fn on_a_host_every_id_is_mapped() {
        for mapped in [Mapped::default(), Mapped::of(ALL, ALL)] {
            assert!(mapped.has(range(100_000, 65536)) && mapped.has(range(65536, u32::MAX - 65536)));
            assert_eq!(mapped.to_string(), "0-4294967294");
        }
    }

    #[test]
    fn the_initial_map_is_told_from_others() {
        assert!(is_initial(ALL) && !is_initial(ONE_RANGE) && !is_initial(""));
    }

    #[test]
    fn what_is_mapped_is_what_the_lines_have_inside() {
        let mapped = Mapped::of(ONE_RANGE, ONE_RANGE);
        assert!(mapped.has(range(0, 65536)) && !mapped.has(range(1, 65536)) && !mapped.has(range(100_000, 65536)));
        assert_eq!(mapped.to_string(), "0-65535");
        // Lines that follow each other are one span, as the kernel sees it.
        let lines = "0 1000 1\n1 100000 165535\n200000 300000 10\n";
        let mapped = Mapped::of(lines, lines);
        assert!(mapped.has(range(100_000, 65536)) && !mapped.has(range(100_001, 65536)));
        assert_eq!(mapped.to_string(), "0-165535, 200000-200009");
    }

    #[test]
    fn an_id_must_be_mapped_for_uids_and_for_gids() {
        let mapped = Mapped::of(ALL, ONE_RANGE);
        assert!(mapped.has(range(0, 65536)) && !mapped.has(range(100_000, 65536)));
        assert_eq!(mapped.to_string(), "the uids 0-4294967294 and the gids 0-65535");
        assert!(!Mapped::of("junk\n", ALL).has(range(0, 1)), "what is not understood maps nothing");
    }
}
