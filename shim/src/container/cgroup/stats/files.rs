//! The files of a group, read as what they are. What is not there reads as nothing.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::Dir;
use rustix::io::Errno;

use super::parse::{self, Flat, Pressure};
use crate::container::cgroup::error::{Error, step};
use crate::container::cgroup::{Cgroup, tree};

/// The files of one group.
pub(super) struct Files {
    dir: PathBuf,
    /// None where no hierarchy has the controller, and when the group is gone.
    group: Option<OwnedFd>,
    v2: bool,
}

impl Cgroup {
    /// The files of a controller (by its name on v1): of the v1 hierarchy that has it, or else of v2, where those of a
    /// controller that is not enabled are missing.
    pub(super) fn files(&self, controller: &str) -> Result<Files, Error> {
        let v1 = self.groups.iter().find(|group| group.hierarchy.has_v1(controller));
        let Some(found) = v1.or_else(|| self.groups.iter().find(|group| group.hierarchy.is_v2())) else {
            return Ok(Files { dir: PathBuf::new(), group: None, v2: false });
        };
        let group = present(tree::open(&found.dir)).map_err(step("open", &found.dir))?;
        Ok(Files { dir: found.dir.clone(), group, v2: found.hierarchy.is_v2() })
    }
}

impl Files {
    /// Whether they are those of v2.
    pub(super) fn is_v2(&self) -> bool {
        self.v2
    }

    /// Those of the group above; none above the hierarchy's root, since what that is mounted on has no `cgroup.procs`.
    pub(super) fn above(&self) -> Result<Option<Self>, Error> {
        let Some(dir) = self.dir.parent().filter(|dir| dir.join("cgroup.procs").exists()) else { return Ok(None) };
        let group = present(tree::open(dir)).map_err(step("open", dir))?;
        Ok(Some(Self { dir: dir.to_owned(), group, v2: self.v2 }))
    }

    /// A file's text.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>, Error> {
        let Some(group) = &self.group else { return Ok(None) };
        present(tree::read(group.as_fd(), file)).map_err(step("read", self.dir.join(file)))
    }

    /// A single number; 0 where there is none.
    pub(super) fn number(&self, file: &str) -> Result<u64, Error> {
        Ok(self.text(file)?.and_then(|text| parse::number(&text)).unwrap_or(0))
    }

    /// A flat keyed file.
    pub(super) fn flat(&self, file: &str) -> Result<Flat, Error> {
        Ok(self.text(file)?.map(|text| Flat::parse(&text)).unwrap_or_default())
    }

    /// Pressure stall information.
    pub(super) fn pressure(&self, file: &str) -> Result<Option<Pressure>, Error> {
        Ok(self.text(file)?.and_then(|text| parse::pressure(&text)))
    }

    /// What stands between `prefix` and `suffix` in the names of the files that have both.
    pub(super) fn between(&self, prefix: &str, suffix: &str) -> Result<Vec<String>, Error> {
        let Some(group) = &self.group else { return Ok(Vec::new()) };
        let list = || {
            let mut found = Vec::new();
            for entry in Dir::read_from(group)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy();
                found.extend(name.strip_prefix(prefix).and_then(|it| it.strip_suffix(suffix)).map(str::to_owned));
            }
            Ok(found)
        };
        Ok(present(list()).map_err(step("list the files of", &self.dir))?.unwrap_or_default())
    }
}

/// ENOENT: this kernel does not have the file, or the group is gone; ENODEV: the group went while its file was open;
/// EOPNOTSUPP: what the file shows is switched off (pressure, by `psi=0`).
fn present<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dir: &std::path::Path) -> Files {
        Files { dir: dir.to_owned(), group: present(tree::open(dir)).unwrap(), v2: true }
    }

    #[test]
    fn a_file_that_is_missing_or_empty_reads_as_nothing_and_one_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.events", "low 1\noom_kill 3\n");
        write("cpu.pressure", "some avg10=0.50 avg60=0.00 avg300=0.00 total=9\n");
        write("empty", "");
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let files = of(dir.path());
        assert_eq!(files.number("memory.max").unwrap(), u64::MAX);
        assert_eq!(files.flat("memory.events").unwrap().get("oom_kill"), 3);
        assert_eq!(files.pressure("cpu.pressure").unwrap().unwrap().some.unwrap().total, 9);
        assert_eq!((files.number("memory.peak").unwrap(), files.number("empty").unwrap()), (0, 0));
        assert_eq!(files.pressure("io.pressure").unwrap(), None);
        let error = files.text("a").unwrap_err().to_string();
        assert_eq!(error, format!("cgroup: read {}/a: is a directory", dir.path().display()));
    }

    #[test]
    fn files_are_found_by_what_their_names_begin_and_end_with() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["hugetlb.2MB.current", "hugetlb.1GB.current", "hugetlb.2MB.max", "memory.current"] {
            std::fs::write(dir.path().join(name), "0\n").unwrap();
        }
        let mut found = of(dir.path()).between("hugetlb.", ".current").unwrap();
        found.sort_unstable();
        assert_eq!(found, ["1GB", "2MB"]);
    }

    #[test]
    fn a_group_that_is_gone_has_nothing_in_it() {
        let files = of(std::path::Path::new("/nonexistent"));
        assert_eq!(files.text("memory.stat").unwrap(), None);
        assert_eq!(files.between("hugetlb.", ".current").unwrap(), Vec::<String>::new());
    }
}
