//! Which host ids the ids of a container are.

use serde::{Deserialize, Serialize};

/// How many ids a range of our own has: 64K, what `nobody` (65534) and every image expects.
pub const RANGE_SIZE: u32 = 65536;

/// The one id map of a container, the same for uids and gids: container ids `0..size` are host ids
/// `host..host + size`. (behaviour.md 1.2 asks that maps be contiguous, start at 0 and agree for uids and gids; maps
/// that a spec brings are merged into this form or refused.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMap {
    /// The host id of the container's root.
    pub host: u32,
    /// How many ids are mapped, from container id 0 on.
    pub size: u32,
}

impl IdMap {
    /// The host id of the container's id, or none when the map does not cover it.
    pub fn to_host(self, id: u32) -> Option<u32> {
        if id < self.size { self.host.checked_add(id) } else { None }
    }

    /// The container's id of a host id, or none when it lies outside the map.
    pub fn to_container(self, host: u32) -> Option<u32> {
        host.checked_sub(self.host).filter(|id| *id < self.size)
    }

    /// Whether two maps have a host id in common.
    pub fn overlaps(self, other: IdMap) -> bool {
        let end = |map: IdMap| u64::from(map.host) + u64::from(map.size);
        u64::from(self.host) < end(other) && u64::from(other.host) < end(self)
    }

    /// The line that `/proc/PID/uid_map` and `gid_map` take (user_namespaces(7)).
    pub fn line(self) -> String {
        format!("0 {} {}\n", self.host, self.size)
    }
}
