//! Files of the host that no container has any business with: whatever appears, goes or changes in them has escaped.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tests::place;

/// Makes what an image has in a place.
pub(crate) type Make<'a> = Box<dyn Fn(&Path) + 'a>;

/// A directory of the host, outside of every root filesystem.
pub(crate) struct Canary {
    /// Its path, at which an image's symlinks aim.
    pub(crate) dir: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    /// A directory with what an escape would like to find: files and directories of likely names.
    pub(crate) fn new() -> Self {
        let dir = place::new_dir("canary");
        for name in ["dir/sub", "proc/sys/net/ipv4", "sys/fs/cgroup", "dev/pts", "etc"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        for name in ["file", "dir/file", "proc/sys/net/ipv4/ip_forward", "dev/null", "dev/console", "etc/passwd"] {
            fs::write(dir.join(name), "0\n").unwrap();
        }
        let before = listing(&dir);
        Self { dir, before }
    }

    /// Asserts that nothing has happened to it.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        assert_eq!(listing(&self.dir), self.before, "something reached the host's files");
    }

    /// A symlink's target by which a path that is resolved from `from` on the host's tree would lead to it.
    pub(crate) fn climbing(&self, name: &str) -> String {
        format!("{}{}/{name}", "../".repeat(32).trim_end_matches('/'), self.dir.display())
    }

    /// A symlink's target that leads to it where symlinks are resolved from the host's root.
    pub(crate) fn absolute(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// Every file below a directory, with what may change of it.
fn listing(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    add(dir, &mut found);
    found
}

fn add(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let stat = fs::symlink_metadata(path).unwrap();
    let content = if stat.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    let (ids, mode, device) = ((stat.uid(), stat.gid()), stat.mode(), stat.dev());
    let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
    found.insert(path.to_owned(), format!("{ids:?} {mode:o} on {device}, {times:?}: {content:?}"));
    if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            add(&entry.unwrap().path(), found);
        }
    }
}
