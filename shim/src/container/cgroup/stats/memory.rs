//! Memory and swap alone, as a machine of the container's own would have them: for who asks often.

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
    /// Reads them.
    ///
    /// # Errors
    /// When a file is there and cannot be read. What is not there limits nothing and is not used.
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let files = self.files("memory")?;
        let read = |file: &str| Ok::<_, Error>(files.text(file)?.and_then(|text| number(&text)));
        let stat: Flat = files.flat("memory.stat")?;
        let processes = self.files("pids")?.text("pids.current")?.and_then(|text| number(&text));
        if files.is_v2() {
            return Ok(Memory {
                limit: read("memory.max")?.unwrap_or(u64::MAX),
                usage: read("memory.current")?.unwrap_or(0),
                shared: stat.get("shmem"),
                swap: read("memory.swap.max")?.zip(read("memory.swap.current")?),
                processes,
            });
        }
        let limit = read("memory.limit_in_bytes")?.unwrap_or(u64::MAX);
        let usage = read("memory.usage_in_bytes")?.unwrap_or(0);
        // Of v1, swap is counted with the memory that is used beside it.
        let both = read("memory.memsw.limit_in_bytes")?.zip(read("memory.memsw.usage_in_bytes")?);
        Ok(Memory {
            limit,
            usage,
            shared: stat.get("total_shmem"),
            swap: both.map(|(most, used)| (most.saturating_sub(limit), used.saturating_sub(usage))),
            processes,
        })
    }
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
}
