//! An [`Emulation`] for tests.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{Emulation, Facts};

/// A container whose cgroup has these files, and whose values are kept in `values`.
pub(crate) fn emulation(values: &Path, cgroup: &Path) -> Emulation {
    Emulation::new(Facts {
        root: 1_000_000,
        id: "c1".to_owned(),
        init: 1,
        cgroups: vec![(vec![], cgroup.to_owned())],
        values: std::sync::Arc::new(File::open(values).expect("a directory").into()),
    })
}

/// Its file `name`.
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).expect(name);
}

/// Makes `path` a group below `hierarchy`, all of which have what every group has.
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
pub(crate) fn groups(hierarchy: &Path, path: &str) -> PathBuf {
    let group = hierarchy.join(path);
    std::fs::create_dir_all(&group).expect(path);
    for level in group.ancestors().take_while(|level| level.starts_with(hierarchy)) {
        write(level, "cgroup.procs", "");
    }
    group
}
