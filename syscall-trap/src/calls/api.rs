//! The mount calls of Linux 5.2 and later: fsopen(2), open_tree(2), open_tree_attr(2).

use super::{Decided, Decision, Registers};
use crate::act::Act;
use crate::filter::trap::{AT_RECURSIVE, OPEN_TREE_CLONE};
use crate::notify::Answer;
use crate::notify::memory::{self, Memory};

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
