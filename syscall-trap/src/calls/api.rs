//! The mount calls of Linux 5.2 and later: fsopen(2), open_tree(2), open_tree_attr(2), mount_setattr(2).

use super::{Decided, Decision, Registers};
use crate::act::Act;
use crate::filter::trap::{AT_RECURSIVE, OPEN_TREE_CLONE};
use crate::notify::Answer;
use crate::notify::memory::{self, Memory};

/// The size of `struct mount_attr` (`MOUNT_ATTR_SIZE_VER0` of linux/mount.h).
const ATTR_SIZE: usize = 32;

/// `fsopen(type, flags)`. Whoever puts another name there for the kernel to read meets its own check of new mounts of procfs
/// and sysfs (mount_too_revealing() of fs/namespace.c).
pub(super) fn fsopen(registers: &Registers, memory: &impl Memory) -> Decided {
    match memory::name(memory, registers.long(0))?.as_deref() {
        Some(b"proc" | b"sysfs") => Err(Answer::Errno(libc::ENOSYS)),
        _ => Err(Answer::Continue),
    }
}

/// `open_tree(dirfd, path, flags)`, of which open_tree_attr(2) has the same three.
pub(super) fn open_tree(registers: &Registers, memory: &impl Memory) -> Decided {
    let flags = registers.word(2);
    if flags & OPEN_TREE_CLONE != 0 && flags & AT_RECURSIVE != 0 {
        return Err(Answer::Continue);
    }
    let path = memory::path(memory, registers.long(1))?;
    Ok(Decision::Act(Act::OpenTree { dirfd: registers.int(0), path, flags }))
}

/// `mount_setattr(dirfd, path, flags, attr, size)`. Whether a mount is read-only is looked at, by itself or with other flags; an
/// id map or a change of propagation besides is the kernel's, and so is what it refuses.
pub(super) fn mount_setattr(registers: &Registers, memory: &impl Memory) -> Decided {
    let flags = registers.word(2);
    if flags & AT_RECURSIVE != 0 || registers.long(4) != ATTR_SIZE as u64 {
        return Err(Answer::Continue);
    }
    let attr = memory::bytes(memory, registers.long(3), ATTR_SIZE).map_err(|_refused| Answer::Continue)?;
    let fields: Vec<u64> = attr.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let [set, clear, 0, _] = fields[..] else { return Err(Answer::Continue) };
    let of = |bits: u64| (set | clear) & bits != 0;
    if !of(libc::MOUNT_ATTR_RDONLY) || of(libc::MOUNT_ATTR_IDMAP) {
        return Err(Answer::Continue);
    }
    let path = memory::path(memory, registers.long(1))?;
    Ok(Decision::Act(Act::Setattr { dirfd: registers.int(0), path, flags, set, clear }))
}
