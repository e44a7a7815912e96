//! The ABIs through which a process can enter the kernel, and what tells them apart in `struct seccomp_data`.
//!
//! Invariant: a program is made for one family, the ABIs of one kernel; what the spec lists of other families cannot
//! occur on this host.

use oci_spec::runtime::Arch;
use seccompiler::SeccompCmpArgLen;

use super::numbers::{self, Table};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("no table of system calls for this architecture");

/// Bit 30 of the number marks a call of x32, which shares its audit arch with x86-64 (asm/unistd.h).
pub(super) const X32_MARK: u32 = 0x4000_0000;

/// One calling convention of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 32-bit x86, also reached from 64-bit code by `int 0x80`.
    I386,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI).
    Arm,
}

impl Abi {
    /// The ABI of this very program.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// The ABI that the spec's `arch` means on a kernel whose native one is `native`; none if that kernel has no such ABI.
    pub(super) fn of(arch: Arch, native: Self) -> Option<Self> {
        let abi = match arch {
            Arch::ScmpArchNative => native,
            Arch::ScmpArchX86_64 => Self::X86_64,
            Arch::ScmpArchX32 => Self::X32,
            Arch::ScmpArchX86 => Self::I386,
            Arch::ScmpArchAarch64 => Self::Aarch64,
            Arch::ScmpArchArm => Self::Arm,
            _ => return None,
        };
        (abi.is_arm() == native.is_arm()).then_some(abi)
    }

    /// Every ABI of a kernel whose native one is `native`, that one first.
    pub(crate) fn family(native: Self) -> &'static [Self] {
        if native.is_arm() { &[Self::Aarch64, Self::Arm] } else { &[Self::X86_64, Self::X32, Self::I386] }
    }

    fn is_arm(self) -> bool {
        matches!(self, Self::Aarch64 | Self::Arm)
    }

    /// `seccomp_data.arch` of its calls (linux/audit.h).
    pub(crate) fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// How much of an argument counts: 32-bit ABIs pass 32 bits and the upper half of `seccomp_data.args` is no part of
    /// the argument (libseccomp compares the same way).
    pub(super) fn argument_len(self) -> SeccompCmpArgLen {
        match self {
            Self::X86_64 | Self::Aarch64 => SeccompCmpArgLen::Qword,
            Self::X32 | Self::I386 | Self::Arm => SeccompCmpArgLen::Dword,
        }
    }

    /// `seccomp_data.nr` of the call `name`.
    pub(crate) fn number(self, name: &str) -> Option<u32> {
        let nr = numbers::number(self.table(), name)?;
        Some(if self == Self::X32 { nr | X32_MARK } else { nr })
    }

    pub(super) fn table(self) -> Table {
        match self {
            Self::X86_64 => numbers::X86_64,
            Self::X32 => numbers::X32,
            Self::I386 => numbers::I386,
            Self::Aarch64 => numbers::AARCH64,
            Self::Arm => numbers::ARM,
        }
    }
}
