//! Where a container's group lies in each hierarchy, and the groups above it.
//!
//! An absolute `linux.cgroupsPath` is taken from the mount point of each hierarchy, a relative one from this process's own
//! group, as runc does with its cgroupfs driver. On v2 a relative path starts at the own group's parent, because a group
//! with processes cannot hand controllers to its children (the "no internal processes" rule of cgroups(7)).
//!
//! Groups above the container's that did not exist carry a mark (the extended attribute [`MARK`]): whoever removes the
//! last container below them removes them too, whether or not the shim that made them still lives. All others stay.

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use policy::Refusal;
use policy::plan::CgroupPath;
use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use super::error::{Error, step};
use super::layout::Hierarchy;
use super::tree;

/// Only root of the initial user namespace can set or read it (xattr(7)).
const MARK: &str = "trusted.eci.parent";

/// How often the way to a group is made again because a shim that removes its container took an empty parent away.
const ATTEMPTS: usize = 64;

/// `path` below `base`, whether or not it begins with a slash.
pub(super) fn join(base: &Path, path: &str) -> PathBuf {
    let mut joined = base.to_path_buf();
    joined.extend(path.split('/').filter(|part| !part.is_empty() && *part != "."));
    joined
}

/// The path that the spec asks for, or else `default`. (Where a scope of systemd's lies, [`super::systemd`] says.)
///
/// # Errors
/// When it does not name a group below the hierarchy's root.
pub(super) fn wanted<'a>(path: Option<&'a CgroupPath>, default: &'a str) -> Result<&'a str, Refusal> {
    let refuse = |value: &str, reason: &str| Err(Refusal::new("linux.cgroupsPath", format!("{value:?} {reason}")));
    let path = match path {
        None => default,
        Some(CgroupPath::Cgroupfs(path)) => path,
        Some(CgroupPath::Systemd { name, .. }) => return refuse(name, "is a scope of systemd's, and no path"),
    };
    if path.split('/').any(|part| part == "..") {
        return refuse(path, "has a .. component");
    }
    if path.contains(['\0', '\n']) {
        return refuse(path, "has a NUL byte or a line break");
    }
    if path.split('/').all(|part| part.is_empty() || part == ".") {
        return refuse(path, "names the root of the hierarchy, which is not a container's own");
    }
    Ok(path)
}

/// The directory of a group in one hierarchy.
pub(super) fn directory(hierarchy: &Hierarchy, path: &str) -> PathBuf {
    let base = match (path.starts_with('/'), hierarchy.is_v2(), hierarchy.own.parent()) {
        (true, ..) => &hierarchy.mount_point,
        (false, true, Some(parent)) if hierarchy.own != hierarchy.mount_point => parent,
        (false, ..) => &hierarchy.own,
    };
    join(base, path)
}

/// Makes the group `dir`, which must not exist unless it is `adopted`, and those above it.
///
/// With `delegate` every controller that can be had is enabled on the way (cgroup v2).
pub(super) fn make(hierarchy: &Hierarchy, dir: &Path, delegate: bool, adopt: bool) -> Result<(), Error> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = try_make(hierarchy, dir, delegate, adopt);
        // ENODEV is what a group says that was opened before it was removed.
        if !matches!(result, Err((_, Errno::NOENT | Errno::NODEV))) {
            break;
        }
    }
    result.map_err(|(path, errno)| step("make", path)(errno))
}

#[expect(clippy::disallowed_methods, reason = "a group of the host, which no container can rename")]
fn try_make(hierarchy: &Hierarchy, dir: &Path, delegate: bool, adopt: bool) -> Result<(), (PathBuf, Errno)> {
    let below = dir.strip_prefix(&hierarchy.mount_point).unwrap_or(dir);
    let mut here = hierarchy.mount_point.clone();
    for part in below.components().filter(|part| matches!(part, Component::Normal(_))) {
        if delegate {
            enable_controllers(&here);
        }
        let parent = here.clone();
        here.push(part);
        match rustix::fs::mkdir(&here, Mode::from_raw_mode(0o755)) {
            Ok(()) if here != dir => mark(&here),
            Ok(()) => {}
            Err(Errno::EXIST) if here != dir || adopt => {}
            Err(errno) => return Err((here, errno)),
        }
        if hierarchy.has_v1("cpuset") {
            fill_cpuset(&parent, &here).map_err(|errno| (here.clone(), errno))?;
        }
    }
    Ok(())
}

/// Without the mark the group merely outlives us.
fn mark(dir: &Path) {
    let _ = rustix::fs::setxattr(dir, MARK, b"1", XattrFlags::empty());
}

/// Removes the groups above `dir` that one of us made and that are empty now.
#[expect(clippy::disallowed_methods, reason = "a group of the host, which no container can rename")]
pub(super) fn remove_parents(hierarchy: &Hierarchy, dir: &Path) {
    let above = dir.ancestors().skip(1).take_while(|parent| *parent != hierarchy.mount_point);
    for parent in above {
        let marked = rustix::fs::getxattr(parent, MARK, &mut [0_u8; 8][..]).is_ok();
        if !marked || rustix::fs::rmdir(parent).is_err() {
            return;
        }
    }
}

/// A cpuset of v1 begins empty, and an empty one takes no process (cpuset(7)): it gets what its parent has.
fn fill_cpuset(parent: &Path, dir: &Path) -> rustix::io::Result<()> {
    let (parent, dir) = (tree::open(parent)?, tree::open(dir)?);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if tree::read(dir.as_fd(), file)?.trim().is_empty() {
            tree::write(dir.as_fd(), file, tree::read(parent.as_fd(), file)?.trim())?;
        }
    }
    Ok(())
}

/// Lets the children of `dir` have every controller that it has, for limits and for an inner engine. Best effort: a limit
/// whose controller did not come is refused by name.
fn enable_controllers(dir: &Path) {
    let Ok(group) = tree::open(dir) else { return };
    let read = |file| tree::read(group.as_fd(), file).unwrap_or_default();
    let (available, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let is_missing = |name: &&str| !enabled.split_whitespace().any(|it| it == *name);
    let missing: Vec<String> = available.split_whitespace().filter(is_missing).map(|name| format!("+{name}")).collect();
    if missing.is_empty() || tree::write(group.as_fd(), "cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return;
    }
    // One that cannot be enabled (cpu, with real-time processes outside of the root) makes the whole line fail.
    for one in &missing {
        let _ = tree::write(group.as_fd(), "cgroup.subtree_control", one);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layout::Kind;
    use super::*;

    fn hierarchy(kind: Kind, own: &str) -> Hierarchy {
        Hierarchy { kind, mount_point: "/m".into(), own: own.into() }
    }

    #[test]
    fn absolute_paths_start_at_the_mount_point_and_relative_ones_at_the_own_group() {
        let v1 = hierarchy(Kind::V1(vec!["memory".into()]), "/m/own/group");
        assert_eq!(directory(&v1, "/docker/c1"), Path::new("/m/docker/c1"));
        assert_eq!(directory(&v1, "a//./b/"), Path::new("/m/own/group/a/b"));
        let v2 = hierarchy(Kind::V2, "/m/own/group");
        assert_eq!(directory(&v2, "/docker/c1"), Path::new("/m/docker/c1"));
        assert_eq!(directory(&v2, "a/b"), Path::new("/m/own/a/b"));
        assert_eq!(directory(&hierarchy(Kind::V2, "/m"), "a"), Path::new("/m/a"));
    }

    #[test]
    fn a_path_must_name_a_group_of_its_own() {
        let refusal = |path: &str| {
            let path = CgroupPath::Cgroupfs(path.into());
            wanted(Some(&path), "/default").map(str::to_owned).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(refusal("/docker/c1"), Ok("/docker/c1".into()));
        assert_eq!(refusal("/a/..b"), Ok("/a/..b".into()));
        assert_eq!(refusal("/a/../b"), Err("linux.cgroupsPath: \"/a/../b\" has a .. component".into()));
        for root in ["/", "", "//./"] {
            assert!(refusal(root).is_err_and(|text| text.contains("names the root")), "{root}");
        }
        assert!(refusal("/a\nb").is_err() && refusal("/a\0").is_err());
        assert_eq!(wanted(None, "/default"), Ok("/default"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_lies_below_the_mount_point(path in "[/.a]{0,12}") {
            let wish = CgroupPath::Cgroupfs(path);
            if let Ok(path) = wanted(Some(&wish), "") {
                for own in ["/m", "/m/a"] {
                    let dir = directory(&hierarchy(Kind::V2, own), path);
                    prop_assert!(dir.starts_with("/m") && dir != Path::new("/m"));
                    prop_assert!(!dir.components().any(|part| part == Component::ParentDir));
                }
            }
        }
    }
}
