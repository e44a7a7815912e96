//! The machine's cgroups, as a test looks at them from outside.

use std::path::{Path, PathBuf};

/// Whether the machine has cgroup v2 alone.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A group in the hierarchy that has a controller; on cgroup v2 in the only one.
pub fn group(controller: &str, path: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    let base = if is_v2() { root.to_owned() } else { root.join(controller) };
    base.join(path.trim_start_matches('/'))
}

/// What a file of a group has.
///
/// # Panics
/// When it cannot be read.
pub fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}
