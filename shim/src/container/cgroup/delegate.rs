//! The group as the container's own: its root makes groups below and limits those, and never loosens the limits above.
//!
//! The directory and the files by which processes move are given to the container's root; the limits stay root's of the
//! host. On v1 the group itself is the root of the container's cgroup namespace, and has its processes. On v2 a group
//! that hands controllers to its children has no processes of its own (cgroups(7)), so where there is v2 alone init lives
//! in a child, [`LEAF`], whose name systemd knows, and which repeats the limits for programs that read their own group.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use policy::Refusal;
use policy::idmap::IdMap;
use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat};
use rustix::io::Errno;

use super::error::{Error, step};
use super::{Cgroup, Group, tree};

/// The child that init lives in, on cgroup v2 alone.
pub(crate) const LEAF: &str = "init.scope";

/// What the leaf repeats.
const REPEATED: [&str; 2] = ["memory.max", "cpu.max"];

/// The files of v1 that move processes and say what becomes of groups.
const V1: [&str; 4] = ["cgroup.procs", "tasks", CLONE, "notify_on_release"];

/// Whether a new cpuset of v1 begins with what its parent has.
const CLONE: &str = "cgroup.clone_children";

/// What a kernel without [`LIST`] delegates.
const V2: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control";

/// The kernel's own list of the files of v2 that may be delegated (cgroups(7), since Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";

impl Cgroup {
    /// Gives the group to the container's root.
    ///
    /// # Errors
    /// When the kernel says no.
    pub(crate) fn delegate(&self, map: IdMap) -> Result<(), Error> {
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| V2.to_owned());
        for Group { hierarchy, dir } in &self.groups {
            let group = tree::open(dir).map_err(step("open", dir))?;
            if !hierarchy.is_v2() {
                if hierarchy.has_v1("cpuset") {
                    fill_children(group.as_fd(), dir)?;
                }
                give(group.as_fd(), dir, map, V1.into_iter())?;
                continue;
            }
            give(group.as_fd(), dir, map, list.lines())?;
            if self.is_unified() {
                let leaf = make_leaf(group.as_fd(), dir)?;
                give(leaf.as_fd(), &dir.join(LEAF), map, list.lines())?;
            }
        }
        self.move_holder_to_leaf()
    }
}

/// A cpuset of v1 begins empty, and an empty one takes no process: the kernel shall give each below what its parent has
/// (cpuset(7)). runc does that itself, crun fails at it: it opens the files of the group above for writing, and the container's own
/// limits are not the container's to write.
fn fill_children(group: BorrowedFd<'_>, dir: &Path) -> Result<(), Error> {
    tree::write(group, CLONE, "1").map_err(step("write", dir.join(CLONE)))
}

#[expect(clippy::disallowed_methods, reason = "a group of the host, which no container can rename")]
fn make_leaf(group: BorrowedFd<'_>, dir: &Path) -> Result<std::os::fd::OwnedFd, Error> {
    match rustix::fs::mkdirat(group, LEAF, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => tree::open(&dir.join(LEAF)).map_err(step("open", dir.join(LEAF))),
        // cgroup.max.depth and cgroup.max.descendants, which only the spec can have set.
        Err(Errno::AGAIN) => {
            Err(Refusal::new("linux.resources.unified", "leaves no room for a group below the container's own").into())
        }
        Err(errno) => Err(step("make", dir.join(LEAF))(errno)),
    }
}

#[expect(clippy::disallowed_methods, reason = "a group of the host, which no container can rename")]
/// A file that this kernel does not have, or whose controller is not enabled, needs no owner.
fn give<'a>(group: BorrowedFd<'_>, dir: &Path, map: IdMap, files: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(map.host), Gid::from_raw(map.host));
    for file in [""].into_iter().chain(files.filter(|file| !file.is_empty() && !file.contains('/'))) {
        match chownat(group, file, Some(uid), Some(gid), AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::NOENT) if !file.is_empty() => {}
            Err(errno) => return Err(step("give to the container", dir.join(file))(errno)),
        }
    }
    Ok(())
}

/// Repeats the limits in the leaf. The container may have taken it away, or the controllers from it.
pub(super) fn repeat_limits(groups: &[Group]) {
    if !groups.iter().all(|group| group.hierarchy.is_v2()) {
        return;
    }
    for Group { dir, .. } in groups {
        if let (Ok(group), Ok(leaf)) = (tree::open(dir), tree::open(&dir.join(LEAF))) {
            repeat_limits_of(group.as_fd(), leaf.as_fd());
        }
    }
}

/// Repeats the limits of a group in its leaf. A file that is not there is of a controller that has not come down to it.
pub(crate) fn repeat_limits_of(group: BorrowedFd<'_>, leaf: BorrowedFd<'_>) {
    for file in REPEATED {
        let _ = tree::read(group, file).and_then(|limit| tree::write(leaf, file, limit.trim()));
    }
}
