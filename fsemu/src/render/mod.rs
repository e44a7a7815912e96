//! Files of which the value is made at each reading, from the container's cgroup and the host's own file.
//!
//! Each module has one file's text as a pure function of what was sampled; what is sampled, and where from, is in
//! [`groups`] (the container's cgroups and those above), [`memory`], [`cpus`] and [`tasks`].
//!
//! Invariant: a number that is the container's own agrees in all files: the processors of cpuinfo are those of stat and
//! those that uptime's idle time counts, what sysinfo(2) tells ([`machine`]) is what the files tell, and no sum exceeds what
//! the host has.

mod cpuinfo;
pub mod cpus;
mod diskstats;
pub(crate) mod groups;
mod loadavg;
pub mod machine;
mod meminfo;
mod memory;
mod pressure;
mod stat;
mod swaps;
mod tasks;
mod uptime;
mod vmstat;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::Emulation;

pub(crate) use cpuinfo::cpuinfo;
pub(crate) use diskstats::diskstats;
pub(crate) use loadavg::loadavg;
pub(crate) use meminfo::meminfo;
pub(crate) use pressure::{cpu_pressure, io_pressure, memory_pressure};
pub(crate) use stat::{Sums, stat};
pub(crate) use swaps::swaps;
pub(crate) use tasks::Tasks;
pub(crate) use uptime::uptime;
pub(crate) use vmstat::vmstat;

/// Makes the text of a file.
pub type Render = fn(&Emulation) -> io::Result<Vec<u8>>;

/// Says whether an entry of a mirrored directory shows.
pub type Shows = fn(&Emulation, &str) -> bool;

/// A file of the host's procfs.
fn host(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&whole(Path::new(path))?).into_owned())
}

/// A file of the kernel's. Its size is not asked for: it has none.
pub(crate) fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(8192);
    File::open(path)?.take(u64::MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
