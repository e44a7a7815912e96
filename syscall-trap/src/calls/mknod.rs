//! mknod(2) and mknodat(2) of character devices.

use super::{Decided, Decision, Registers};
use crate::act::Act;
use crate::filter::trap::{S_IFCHR, S_IFMT};
use crate::notify::Answer;
use crate::notify::memory::{self, Memory};

/// `umode_t` is an unsigned short.
const MODE: u32 = 0xffff;

/// `mknod(path, mode, dev)`
pub(super) fn mknod(registers: &Registers, memory: &impl Memory) -> Decided {
    node(libc::AT_FDCWD, registers.long(0), registers.word(1), registers.word(2), memory)
}

/// `mknodat(dirfd, path, mode, dev)`
pub(super) fn mknodat(registers: &Registers, memory: &impl Memory) -> Decided {
    node(registers.int(0), registers.long(1), registers.word(2), registers.word(3), memory)
}

/// The call takes a device in 32 bits on every ABI, laid out as new_decode_dev() of linux/kdev_t.h reads it: those are the
/// lower bits of the C library's `dev_t`, whose upper ones are zero for such a device.
fn node(dirfd: i32, path: u64, mode: u32, device: u32, memory: &impl Memory) -> Decided {
    // 0:0 is no device but a whiteout, which anybody may make.
    if mode & S_IFMT != S_IFCHR || device == 0 {
        return Err(Answer::Continue);
    }
    let path = memory::path(memory, path)?;
    Ok(Decision::Act(Act::Mknod { dirfd, path, mode: mode & MODE, device: u64::from(device) }))
}
