//! sysinfo(2): the machine as the container has it.

use super::{Decision, Registers};
use crate::filter::trap::Trapped;

/// The kernel's page, from which it makes its unit for 32-bit callers (COMPAT_SYSCALL_DEFINE1(sysinfo) of kernel/sys.c).
/// x86 has no other; 64-bit Arm calls 32-bit programs with 4096 alone.
const PAGE: u32 = 4096;

/// What sysinfo(2) tells. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sysinfo {
    /// Seconds since it was booted, rounded up.
    pub uptime: u64,
    /// Load averages of 1, 5 and 15 minutes, times 65536.
    pub loads: [u64; 3],
    /// Memory.
    pub total_ram: u64,
    /// Memory that nothing uses.
    pub free_ram: u64,
    /// Memory that is shared.
    pub shared_ram: u64,
    /// Memory of buffers of block devices.
    pub buffer_ram: u64,
    /// Swap.
    pub total_swap: u64,
    /// Swap that nothing uses.
    pub free_swap: u64,
    /// Processes, threads counted each.
    pub processes: u64,
}

/// How `struct sysinfo` is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `long` has 64 bits: x86-64, x32, 64-bit Arm.
    Wide,
    /// `long` has 32 bits: 32-bit x86 and Arm.
    Narrow,
}

/// `sysinfo(info)`
pub(super) fn sysinfo(registers: &Registers, trapped: Trapped) -> Decision {
    let layout = if trapped.wide { Layout::Wide } else { Layout::Narrow };
    Decision::Sysinfo { address: registers.long(0), layout }
}

impl Sysinfo {
    /// The struct as the kernel writes it.
    pub fn to_bytes(&self, layout: Layout) -> Vec<u8> {
        match layout {
            Layout::Wide => self.wide(),
            Layout::Narrow => self.narrow(),
        }
    }

    fn sizes(&self) -> [u64; 6] {
        [self.total_ram, self.free_ram, self.shared_ram, self.buffer_ram, self.total_swap, self.free_swap]
    }

    fn processes(&self) -> u16 {
        u16::try_from(self.processes).unwrap_or(u16::MAX)
    }

    /// 112 bytes, the unit being a byte.
    fn wide(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(112);
        let longs = [self.uptime].into_iter().chain(self.loads).chain(self.sizes());
        bytes.extend(longs.flat_map(u64::to_ne_bytes));
        // `procs` with its padding, and no high memory.
        bytes.extend(self.processes().to_ne_bytes());
        bytes.extend([0; 6 + 16]);
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    /// 64 bytes. The unit is a page as soon as memory or swap does not fit in 32 bits.
    fn narrow(&self) -> Vec<u8> {
        let fits = [self.total_ram, self.total_swap].into_iter().all(|size| u32::try_from(size).is_ok());
        let unit = if fits { 1 } else { PAGE };
        let word = |value: u64| (value as u32).to_ne_bytes();
        let mut bytes = Vec::with_capacity(64);
        bytes.extend([self.uptime].into_iter().chain(self.loads).flat_map(word));
        bytes.extend(self.sizes().into_iter().flat_map(|size| word(size / u64::from(unit))));
        bytes.extend(self.processes().to_ne_bytes());
        bytes.extend([0; 2 + 8]);
        bytes.extend(unit.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }
}
