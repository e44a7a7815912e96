//! How a process of ours gets into the container's group.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::error::{Error, step};
use super::{Cgroup, Group, LEAF, tree};

/// The descriptors by which a process gets in, in all hierarchies at once.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `tasks` of v1 groups, for writing: a process with one thread writes `0`. (`cgroup.procs` would wait for an RCU
    /// grace period of some ten milliseconds, which a thread that moves itself is spared: kernel commit 9a3284fad42f.)
    pub(crate) tasks: Vec<OwnedFd>,
    /// The directory of the v2 group, for clone3(2) with `CLONE_INTO_CGROUP`, which waits for nothing either.
    pub(crate) directory: Option<OwnedFd>,
    /// The container's own v2 group, where `directory` is one below it.
    pub(crate) own: Option<OwnedFd>,
}

impl Cgroup {
    /// Opens the way in for the container's init.
    ///
    /// # Errors
    /// When the group is gone.
    pub(crate) fn entry(&self) -> Result<Entry, Error> {
        self.entry_to(LEAF)
    }

    /// Opens the way in for one more process of a container whose init is `pid`: to init's own group, wherever in the
    /// container's that is by now. (The container's own group may have handed its controllers to its children, and then
    /// takes no process; the leaf may be gone.)
    ///
    /// # Errors
    /// When the group is gone.
    pub(crate) fn entry_beside(&self, pid: u32) -> Result<Entry, Error> {
        let unified = self.groups.first().filter(|_| self.is_unified());
        let text = unified.and_then(|_| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
        let below = match (unified, &text) {
            (Some(Group { hierarchy, dir }), Some(text)) => {
                dir.strip_prefix(&hierarchy.mount_point).ok().and_then(|own| below(text, own))
            }
            _ => None,
        };
        self.entry_to(below.unwrap_or(LEAF))
    }

    fn entry_to(&self, below: &str) -> Result<Entry, Error> {
        let mut entry = Entry { tasks: Vec::new(), directory: None, own: None };
        for Group { hierarchy, dir } in &self.groups {
            if !hierarchy.is_v2() {
                let path = dir.join("tasks");
                let tasks = openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
                entry.tasks.push(tasks.map_err(step("open", path))?);
                continue;
            }
            let own = tree::open(dir).map_err(step("open", dir))?;
            let open = |path: &str| (!path.is_empty()).then(|| tree::open_child(own.as_fd(), path).ok()).flatten();
            match open(below).or_else(|| open(LEAF)).filter(|_| self.is_unified()) {
                Some(leaf) => (entry.directory, entry.own) = (Some(leaf), Some(own)),
                None => entry.directory = Some(own),
            }
        }
        Ok(entry)
    }
}

/// The path of a process's v2 group below `own`, both as paths of the hierarchy, from the text of `/proc/PID/cgroup`
/// (cgroups(7)). That one may be seen from another cgroup namespace, so it need not begin with `own`. None when the
/// process is elsewhere.
fn below<'a>(text: &'a str, own: &Path) -> Option<&'a str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = own.to_str().filter(|own| !own.is_empty())?;
    let found = path.match_indices(own).find(|(at, _)| {
        let (before, after) = (&path[..*at], &path[at + own.len()..]);
        (before.is_empty() || before.ends_with('/')) && (after.is_empty() || after.starts_with('/'))
    });
    let rest = path[found?.0 + own.len()..].trim_start_matches('/');
    rest.split('/').all(|part| part != "..").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_init_is_found_below_the_containers_own() {
        let own = Path::new("eci/default/c1");
        for (text, expected) in [
            ("0::/eci/default/c1/init.scope\n", Some("init.scope")),
            ("4:memory:/x\n0::/eci/default/c1/a/b\n", Some("a/b")),
            ("0::/eci/default/c1\n", Some("")),
            ("0::/../host/eci/default/c1/init.scope\n", Some("init.scope")),
            ("0::/eci/default/c10/init.scope\n", None),
            ("0::/xeci/default/c1/init.scope\n", None),
            ("0::/eci/default/c1/../c2\n", None),
            ("0::/\n", None),
            ("4:memory:/eci/default/c1/init.scope\n", None),
            ("", None),
        ] {
            assert_eq!(below(text, own), expected, "{text}");
        }
        assert_eq!(below("0::/a", Path::new("")), None);
    }
}
