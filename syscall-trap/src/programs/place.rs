//! Where a program may lie: below the container's own group.
//!
//! A descriptor of the container's tells which group is meant, and no more: its mount may show a part of the hierarchy, and have
//! other things above. So the group is opened anew by its id, through the container's own group, whose mount is the host's,
//! and what lies above is what lies above there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::{Result, errno, is_overridden};
use crate::sys::cgroup;

/// How deep groups may lie: no path leads deeper.
const DEEPEST: usize = 2048;

/// The device and the inode number, which is a group's id.
type Identity = ((u32, u32), u64);

/// The group that `found` is, if it lies below `own`.
///
/// # Errors
/// EBADF when it is no group of that hierarchy, EPERM when it lies elsewhere or its programs would override those of a group
/// above the container's.
pub(super) fn below(own: BorrowedFd<'_>, found: OwnedFd) -> Result<OwnedFd> {
    let container = identity(own)?.ok_or(Errno::BADF)?;
    let asked = identity(found.as_fd())?.filter(|asked| asked.0 == container.0).ok_or(Errno::BADF)?;
    let group = cgroup::open(own, asked.1).map_err(errno)?;
    let mut above = up(group.as_fd())?;
    for _ in 0..DEEPEST {
        match identity(above.as_fd())? {
            Some(identity) if identity == container => {
                return if overrides(above, container)? { Err(Errno::PERM) } else { Ok(group) };
            }
            Some(identity) if identity.0 == container.0 => above = up(above.as_fd())?,
            _ => break,
        }
    }
    Err(Errno::PERM)
}

/// Whether a program below `group` would override one of its own or of a group above.
fn overrides(mut group: OwnedFd, container: Identity) -> Result<bool> {
    for _ in 0..DEEPEST {
        let Some(here) = identity(group.as_fd())?.filter(|here| here.0 == container.0) else { return Ok(false) };
        if is_overridden(group.as_fd())? {
            return Ok(true);
        }
        group = up(group.as_fd())?;
        // The host's root, where nothing is mounted above.
        if identity(group.as_fd())? == Some(here) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn up(group: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(group, "..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// None of what is no directory. No filesystem is asked.
fn identity(found: BorrowedFd<'_>) -> Result<Option<Identity>> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(found, "", flags, StatxFlags::TYPE | StatxFlags::INO)?;
    let is_directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
    Ok(is_directory.then_some(((stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino)))
}
