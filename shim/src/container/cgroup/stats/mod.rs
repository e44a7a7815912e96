//! What a container uses: the kernel's files of its group, as plain structs in the kernel's own words.
//!
//! Main types: [`Stats`] is all that one read finds, in the shape of the host's version of cgroups ([`v1`], [`v2`]);
//! [`parse`] has a function for each format that the kernel writes, [`files`] reads.
//!
//! Invariants: what this kernel does not have, or what vanishes while it is read, is no error but absent; a line that is
//! not understood is a later kernel's and passed over. On v2 init lives in a child of the container's group: the group is
//! what is read, because it counts all that is below it.

mod files;
pub(crate) mod parse;
pub(crate) mod v1;
pub(crate) mod v2;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use super::Cgroup;
use super::error::Error;

/// What a container uses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stats {
    /// Of a host where processor or memory are v1's.
    V1(v1::Stats),
    /// Of any other.
    V2(v2::Stats),
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pids {
    /// How many there are.
    pub(crate) current: u64,
    /// How many there may be; `u64::MAX` without a limit.
    pub(crate) limit: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HugePages {
    /// The size, as the kernel writes it (`2MB`).
    pub(crate) size: String,
    /// In use.
    pub(crate) usage: u64,
    /// The most that was in use, which v1 alone keeps.
    pub(crate) max_usage: u64,
    /// How much may be in use; `u64::MAX` without a limit.
    pub(crate) limit: u64,
    /// How often the limit was hit.
    pub(crate) failures: u64,
}

/// RDMA's handles and objects, by device; `u32::MAX` without a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rdma {
    /// In use.
    pub(crate) current: Vec<parse::Rdma>,
    /// What may be in use.
    pub(crate) limit: Vec<parse::Rdma>,
}

impl Cgroup {
    /// Reads what the container uses. Blocks while the kernel gathers its counters.
    ///
    /// # Errors
    /// When a file is there and cannot be read. That the group is gone is no error: then nothing is used.
    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let has_v1 = |controller| self.groups.iter().any(|group| group.hierarchy.has_v1(controller));
        // As a host with nothing but a named hierarchy, or net_cls, beside v2 is one of v2.
        if ["cpu", "cpuacct", "memory"].into_iter().any(has_v1) {
            v1::read(self).map(Stats::V1)
        } else {
            v2::read(self).map(Stats::V2)
        }
    }

    fn pids_used(&self) -> Result<Pids, Error> {
        let files = self.files("pids")?;
        Ok(Pids { current: files.number("pids.current")?, limit: files.number("pids.max")? })
    }

    fn rdma_used(&self) -> Result<Rdma, Error> {
        let files = self.files("rdma")?;
        let read = |file| Ok::<_, Error>(files.text(file)?.map_or_else(Vec::new, |text| parse::rdma(&text)));
        Ok(Rdma { current: read("rdma.current")?, limit: read("rdma.max")? })
    }

    fn huge_pages_used(&self) -> Result<Vec<HugePages>, Error> {
        let files = self.files("hugetlb")?;
        let usage = if files.is_v2() { ".current" } else { ".usage_in_bytes" };
        let mut sizes = files.between("hugetlb.", usage)?;
        // Reserved pages are files of their own, of which containerd's messages do not tell.
        sizes.retain(|size| !size.contains('.'));
        sizes.sort_unstable();
        let read = |size: String| {
            let file = |what: &str| format!("hugetlb.{size}.{what}");
            Ok(if files.is_v2() {
                HugePages {
                    usage: files.number(&file("current"))?,
                    max_usage: 0,
                    limit: files.number(&file("max"))?,
                    failures: files.flat(&file("events"))?.get("max"),
                    size,
                }
            } else {
                HugePages {
                    usage: files.number(&file("usage_in_bytes"))?,
                    max_usage: files.number(&file("max_usage_in_bytes"))?,
                    limit: files.number(&file("limit_in_bytes"))?,
                    failures: files.number(&file("failcnt"))?,
                    size,
                }
            })
        };
        sizes.into_iter().map(read).collect()
    }
}
