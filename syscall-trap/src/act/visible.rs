//! Whether a namespace may have one more procfs or sysfs.
//!
//! The kernel gives a user namespace a new one only if one that it has already shows everything (`mnt_already_visible()` of
//! fs/namespace.c): no mount that is locked hides a part of it. Our covers are such mounts, and a new one that has them too
//! hides as much. So the kernel's rule is applied here as if they were not there.

use std::path::Path;

use userns::mountinfo::MountEntry;

use super::cover::Kernel;
use super::lock::{Lock, Mounts};
use super::option::Atime;
use super::{Cover, World};

/// What a namespace shows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visible {
    /// Nothing that shows everything.
    No,
    /// Everything, but nowhere to be written to: nor can a new one be.
    ReadOnly,
    /// Everything.
    Yes,
}

/// Looks at the mounts of a namespace that this process is in with the host's rights, for a new mount with these times of access.
pub(super) fn visible(world: &World, mounts: &Mounts, kernel: Kernel, atime: Atime) -> Visible {
    let mut found = Visible::No;
    for mount in &mounts.all {
        if mount.fstype != kernel.name() || mount.root != Path::new("/") || Atime::of(&mount.options) != atime {
            continue;
        }
        // Whether it is locked cannot be known of a flag: it is taken to be.
        let is = |options: &[String]| options.iter().any(|option| option == "ro");
        let here = if is(&mount.options) || is(&mount.super_options) { Visible::ReadOnly } else { Visible::Yes };
        if here == found {
            continue;
        }
        if shows_everything(world, mounts, kernel, mount) {
            found = here;
        }
        if found == Visible::Yes {
            break;
        }
    }
    found
}

fn shows_everything(world: &World, mounts: &Mounts, kernel: Kernel, of: &MountEntry) -> bool {
    // As sorted as the world has them: there is one for most of the mounts.
    let covers: Vec<&Cover> = world.covers.iter().filter(|cover| cover.of == kernel).collect();
    // What lies on a cover of ours would lie on the filesystem itself, if we had none.
    let mut parents = vec![of.id];
    while let Some(parent) = parents.pop() {
        for mount in mounts.on(parent) {
            let Ok(path) = mount.mount_point.strip_prefix(&of.mount_point) else { return false };
            if at(&covers, path).any(|cover| cover.explains(world, mount, of)) {
                parents.push(mount.id);
            } else if !kernel.is_empty_for_good(path) && mounts.lock(world, mount) != Lock::Free {
                return false;
            }
        }
    }
    true
}

/// Those of sorted covers that lie at `path`.
fn at<'a>(covers: &'a [&Cover], path: &'a Path) -> impl Iterator<Item = &'a Cover> {
    let first = covers.partition_point(|cover| cover.path.as_path() < path);
    covers.get(first..).unwrap_or_default().iter().copied().take_while(move |cover| cover.path == path)
}
