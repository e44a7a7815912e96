//! A group that is there already, for the shim itself.

use std::os::fd::AsFd;

use policy::Refusal;
use rustix::io::Errno;

use super::error::{Error, refused, step};
use super::layout::{Hierarchy, Layout};
use super::{place, tree};

/// What the engine calls it.
const FIELD: &str = "runtime option ShimCgroup";

/// Moves this process into the group `path` of each hierarchy that has it, as containerd's own shim does (on v1 and v2
/// alike; that one looks at a hybrid host's v1 hierarchies only). What it spawns afterwards begins there.
///
/// # Errors
/// When the path is none, no hierarchy has such a group, or the kernel does not let us in.
pub(crate) fn join(layout: &Layout, path: &str) -> Result<(), Error> {
    check(path)?;
    let mut joined = false;
    for hierarchy in &layout.hierarchies {
        joined |= join_one(hierarchy, path)?;
    }
    if joined { Ok(()) } else { Err(Refusal::new(FIELD, format!("{path:?} is no cgroup of this host")).into()) }
}

/// A path from a hierarchy's root, which is one as well.
fn check(path: &str) -> Result<(), Refusal> {
    let refuse = |reason: &str| Err(Refusal::new(FIELD, format!("{path:?} {reason}")));
    if !path.starts_with('/') {
        return refuse("does not begin with a slash");
    }
    if path.split('/').any(|part| part == "..") {
        return refuse("has a .. component");
    }
    if path.contains(['\0', '\n']) {
        return refuse("has a NUL byte or a line break");
    }
    Ok(())
}

/// Whether there is such a group.
fn join_one(hierarchy: &Hierarchy, path: &str) -> Result<bool, Error> {
    let dir = place::join(&hierarchy.mount_point, path);
    let group = match tree::open(&dir) {
        Err(Errno::NOENT) => return Ok(false),
        opened => opened.map_err(step("open", &dir))?,
    };
    // 0 is whoever writes (cgroups(7)).
    tree::write(group.as_fd(), "cgroup.procs", "0").map_err(|errno| refused(FIELD, dir.display(), errno))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root_and_stays_below_it() {
        for (path, reason) in [
            ("", "does not begin with a slash"),
            ("shims", "does not begin with a slash"),
            ("/a/../b", "has a .. component"),
            ("/a\n", "has a NUL byte or a line break"),
        ] {
            let expected = format!("runtime option ShimCgroup: {path:?} {reason}");
            assert_eq!(check(path).expect_err("a refusal").to_string(), expected);
        }
        for path in ["/", "/shims", "/a/..b/c"] {
            check(path).expect("a path");
        }
    }
}
