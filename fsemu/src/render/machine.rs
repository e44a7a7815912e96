//! What sysinfo(2) is to tell: the numbers of `/proc/meminfo`, `/proc/loadavg` and `/proc/uptime`, by the same code, as tools
//! ask one or the other and print them side by side.

use std::io;
use std::time::Duration;

use super::meminfo;
use super::memory::Memory;
use super::tasks::{Sample, Tasks};
use super::uptime;
use crate::Emulation;

/// Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Machine {
    /// For how long it has been up.
    pub up: Duration,
    /// Load averages of 1, 5 and 15 minutes.
    pub loads: [f64; 3],
    /// `MemTotal`.
    pub total_ram: u64,
    /// `MemFree`.
    pub free_ram: u64,
    /// `Shmem`.
    pub shared_ram: u64,
    /// `Buffers`.
    pub buffer_ram: u64,
    /// `SwapTotal`.
    pub total_swap: u64,
    /// `SwapFree`.
    pub free_swap: u64,
    /// Tasks, threads counted each.
    pub tasks: u64,
}

impl Emulation {
    /// What the container's machine looks like now.
    ///
    /// # Errors
    /// When the host's `/proc/meminfo` or init's clock cannot be read.
    pub fn machine(&self) -> io::Result<Machine> {
        let up = uptime::up(self)?;
        let text = meminfo::render(&super::host("/proc/meminfo")?, &Memory::sample(self));
        Ok(machine(&text, up, &Tasks::sample(self, up)))
    }
}

fn machine(text: &str, up: Duration, tasks: &Sample) -> Machine {
    let numbers = meminfo::numbers(text);
    let bytes = |line| numbers.get(line).copied().unwrap_or(0).saturating_mul(1024);
    Machine {
        up,
        loads: tasks.load,
        total_ram: bytes("MemTotal"),
        free_ram: bytes("MemFree"),
        shared_ram: bytes("Shmem"),
        buffer_ram: bytes("Buffers"),
        total_swap: bytes("SwapTotal"),
        free_swap: bytes("SwapFree"),
        // The one that asks.
        tasks: tasks.total.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_files_tell() {
        let text =
            "MemTotal:  32768 kB\nMemFree:  30720 kB\nBuffers:  2 kB\nSwapTotal: 8 kB\nSwapFree:  7 kB\nShmem: 5 kB\n";
        let sample = Sample { total: 3, load: [0.5, 0.25, 2.0], ..Sample::default() };
        let machine = machine(text, Duration::from_millis(1500), &sample);
        let (kib, up) = (1024, Duration::from_millis(1500));
        assert_eq!(
            machine,
            Machine {
                up,
                loads: [0.5, 0.25, 2.0],
                total_ram: 32768 * kib,
                free_ram: 30720 * kib,
                shared_ram: 5 * kib,
                buffer_ram: 2 * kib,
                total_swap: 8 * kib,
                free_swap: 7 * kib,
                tasks: 3,
            }
        );
    }
}
