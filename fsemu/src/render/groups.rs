//! The container's cgroups and those above them, as files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::Facts;

/// A controller's groups: the container's own first, then each one above, the hierarchy's root last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    /// Whether they are on the unified hierarchy.
    pub(super) v2: bool,
    own: Option<PathBuf>,
}

impl Groups {
    /// Those of a controller: on its v1 hierarchy, else on the unified one. None at all when there is neither.
    pub(crate) fn of(facts: &Facts, controller: &str) -> Self {
        let v1 = nearest(facts, |controllers| controllers.iter().any(|name| name == controller));
        v1.map_or_else(|| Self::unified(facts), |dir| Self::at(false, dir))
    }

    /// Those on the unified hierarchy, which has pressure files also where v1 has the controllers.
    pub(super) fn unified(facts: &Facts) -> Self {
        nearest(facts, <[String]>::is_empty).map(|dir| Self::at(true, dir)).unwrap_or_default()
    }

    fn at(v2: bool, dir: &Path) -> Self {
        Self { v2, own: Some(dir.to_owned()) }
    }

    /// The container's own directory.
    pub(super) fn own(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// Each directory, from the container's own upwards: every one of a hierarchy has `cgroup.procs`, what it is mounted on has
    /// not.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &Path> {
        let above = self.own.iter().flat_map(|own| own.ancestors());
        above.take_while(|dir| is_group(dir))
    }

    /// A file of the container's own group.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        read(self.own()?, file)
    }

    /// A number of the container's own group.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        number(&self.read(file)?)
    }
}

/// The directory on the hierarchy with these controllers. A view has one before the container's, and the first from there upwards
/// counts that is there ([`crate::views`]).
fn nearest(facts: &Facts, is_it: impl Fn(&[String]) -> bool) -> Option<&Path> {
    let mut dirs = facts.cgroups.iter().filter(|(controllers, _)| is_it(controllers)).map(|(_, dir)| dir.as_path());
    let first = dirs.next()?;
    // Where there is no other one, nobody need look whether it is there.
    let Some(own) = dirs.next() else { return Some(first) };
    Some(first.ancestors().take_while(|dir| *dir != own).find(|dir| is_group(dir)).unwrap_or(own))
}

pub(crate) fn is_group(dir: &Path) -> bool {
    dir.join("cgroup.procs").exists()
}

/// A file of a group; None where the group does not have it.
pub(super) fn read(dir: &Path, file: &str) -> Option<String> {
    String::from_utf8(super::whole(&dir.join(file)).ok()?).ok()
}

/// A single number; `max` is the greatest.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

/// A flat keyed file: `key value` lines.
pub(super) fn flat(text: &str) -> HashMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), number(value)?))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's own directory")]
pub(super) mod tests {
    use super::*;

    /// A hierarchy of a container's group `own/` and the one above.
    pub(in crate::render) fn levels(own: &[(&str, &str)], above: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("own");
        std::fs::create_dir(&dir).unwrap();
        for (dir, files) in [(dir.as_path(), own), (root.path(), above)] {
            for (name, text) in files.iter().chain(&[("cgroup.procs", "")]) {
                std::fs::write(dir.join(name), text).unwrap();
            }
        }
        root
    }

    pub(in crate::render) fn groups(root: &Path, v2: bool) -> Groups {
        Groups::at(v2, &root.join("own"))
    }

    #[test]
    fn levels_end_with_the_hierarchy() {
        let root = levels(&[("a", "1\n")], &[("a", "2\n"), ("b", "max\n")]);
        let groups = groups(root.path(), true);
        assert_eq!(groups.levels().collect::<Vec<_>>(), [root.path().join("own").as_path(), root.path()]);
        assert_eq!((groups.number("a"), groups.number("b")), (Some(1), None));
        assert_eq!((number("max"), number("x")), (Some(u64::MAX), None));
    }

    #[test]
    fn a_controller_is_on_its_v1_hierarchy_or_else_on_the_unified_one() {
        let (one, two) = (levels(&[], &[]), levels(&[], &[]));
        let own = |root: &tempfile::TempDir| root.path().join("own");
        let facts = Facts {
            root: 0,
            id: String::new(),
            init: 1,
            cgroups: vec![(Vec::new(), own(&two)), (vec!["cpu".into(), "cpuacct".into()], own(&one))],
            values: std::sync::Arc::new(std::fs::File::open("/").unwrap().into()),
        };
        let of = |controller| {
            let groups = Groups::of(&facts, controller);
            (groups.v2, groups.own().map(Path::to_owned))
        };
        assert_eq!(of("cpuacct"), (false, Some(own(&one))));
        assert_eq!(of("memory"), (true, Some(own(&two))));
        assert_eq!(Groups::unified(&facts).own(), Some(own(&two).as_path()));
        let none = Facts { cgroups: Vec::new(), ..facts };
        assert_eq!(Groups::of(&none, "memory").own(), None);
    }
}
