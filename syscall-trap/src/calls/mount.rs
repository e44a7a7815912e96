//! mount(2) and umount2(2).

use super::{Decided, Decision, Registers};
use crate::act::Act;
use crate::filter::trap::{MNT_DETACH, MS_BIND, MS_MAGIC, MS_MAGIC_MASK, MS_MOVE, MS_PROPAGATION, MS_REC, MS_REMOUNT};
use crate::notify::Answer;
use crate::notify::memory::{self, Memory};

/// Flags of umount2(2) that the kernel knows and that change nothing of what is done on behalf: `MNT_FORCE`,
/// `UMOUNT_NOFOLLOW`. `MNT_EXPIRE` asks rather than acts.
const UMOUNT_FLAGS: u32 = 1 | 8;

/// `mount(source, target, type, flags, data)`: what it is, in the kernel's order (path_mount() of fs/namespace.c). Its
/// strings are read in the kernel's order, too, so that the first that is wrong gives the errno.
pub(super) fn mount(registers: &Registers, memory: &impl Memory) -> Decided {
    let flags = registers.word(3);
    let flags = if flags & MS_MAGIC_MASK == MS_MAGIC { flags & !MS_MAGIC_MASK } else { flags };
    let kind = memory::name(memory, registers.long(2))?;
    let has = |bits| flags & bits != 0;
    let (remounts, binds) = (has(MS_REMOUNT), has(MS_BIND));
    let is_kernels = match binds {
        true => has(MS_REC),
        false => has(MS_PROPAGATION | MS_MOVE) || !matches!(kind.as_deref(), Some(b"proc" | b"sysfs")),
    };
    if is_kernels && !remounts {
        return Err(Answer::Continue);
    }
    let source = memory::name(memory, registers.long(0))?;
    let data = memory::data(memory, registers.long(4))?;
    let target = memory::path(memory, registers.long(1))?;
    let flags = u64::from(flags);
    let act = match (remounts, binds, kind.as_deref(), source) {
        (true, ..) => Act::Remount { target, flags, data },
        (_, true, _, Some(source)) => Act::Bind { source, target, flags },
        (_, false, Some(b"proc"), _) => Act::Proc { target, flags, data },
        (_, false, Some(b"sysfs"), _) => Act::Sysfs { target, flags, data },
        // A bind of nothing: EINVAL.
        _ => return Err(Answer::Continue),
    };
    Ok(Decision::Act(act))
}

/// `umount2(target, flags)`
pub(super) fn umount2(registers: &Registers, memory: &impl Memory) -> Decided {
    let flags = registers.word(1);
    if flags & !(UMOUNT_FLAGS | MNT_DETACH) != 0 {
        return Err(Answer::Continue);
    }
    let target = memory::path(memory, registers.long(0))?;
    // What lies below is no hindrance then.
    if flags & MNT_DETACH != 0 && !may_be_the_containers(&target) {
        return Err(Answer::Continue);
    }
    Ok(Decision::Act(Act::Umount { target, flags: flags.cast_signed() }))
}

/// Whether a path may be that of the container's own procfs or sysfs.
fn may_be_the_containers(path: &[u8]) -> bool {
    let names = path.rsplit(|byte| *byte == b'/');
    matches!(names.into_iter().find(|name| !matches!(*name, b"" | b".")), Some(b"proc" | b"sys"))
}

/// `umount(target)`
pub(super) fn umount(registers: &Registers, memory: &impl Memory) -> Decided {
    let target = memory::path(memory, registers.long(0))?;
    Ok(Decision::Act(Act::Umount { target, flags: 0 }))
}
