//! The container's cgroups and those above them, as files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::Facts;

/// A controller's groups: the container's own first, then each one above, the hierarchy's root last.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// Whether they are on the unified hierarchy.
    pub(super) v2: bool,
    levels: Vec<PathBuf>,
}

impl Groups {
    /// Those of a controller: on its v1 hierarchy, else on the unified one. None at all when there is neither.
    pub(super) fn of(facts: &Facts, controller: &str) -> Self {
        let v1 = facts.cgroups.iter().find(|(controllers, _)| controllers.iter().any(|name| name == controller));
        v1.map_or_else(|| Self::unified(facts), |(_, dir)| Self::at(false, dir))
    }

    /// Those on the unified hierarchy, which has pressure files also where v1 has the controllers.
    pub(super) fn unified(facts: &Facts) -> Self {
        let v2 = facts.cgroups.iter().find(|(controllers, _)| controllers.is_empty());
        v2.map(|(_, dir)| Self::at(true, dir)).unwrap_or_default()
    }

    /// Every directory of a hierarchy has `cgroup.procs`; what it is mounted on has not.
    fn at(v2: bool, dir: &Path) -> Self {
        let levels = dir.ancestors().take_while(|dir| dir.join("cgroup.procs").exists());
        Self { v2, levels: levels.map(Path::to_owned).collect() }
    }

    /// The container's own directory.
    pub(super) fn own(&self) -> Option<&Path> {
        self.levels.first().map(PathBuf::as_path)
    }

    /// Each directory, from the container's own upwards.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Path> {
        self.levels.iter().map(PathBuf::as_path)
    }

    /// A file of the container's own group.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        read(self.own()?, file)
    }

    /// A file of the lowest level that has it: a group without a controller is ruled by the one above.
    pub(super) fn read_nearest(&self, file: &str) -> Option<String> {
        self.levels().find_map(|level| read(level, file).filter(|text| !text.trim().is_empty()))
    }

    /// A number of the container's own group.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        number(&self.read(file)?)
    }
}

/// A file of a group; None where the group does not have it.
pub(super) fn read(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
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
