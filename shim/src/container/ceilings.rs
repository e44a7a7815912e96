//! Ceilings: a limit of the host's that the operator's config lets containers raise (`[sysctl]`).
//!
//! What a container writes is its own value (`fsemu`). Where there is a ceiling, [`Ceilings`] raises the host's as well, to what
//! was written or to the ceiling, whichever is less. Each raise is one line in the log.
//!
//! Invariant: the host's value is never lowered, and 0 is left alone: it stands for no limit, or for none at all.
//! Shims raise one after the other, so that the greater of two values stays.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fsemu::Raise;
use fsemu::table::Node;
use policy::config::Sysctl;
use rustix::fs::{FlockOperation, flock};
use userns::lease::STATE_DIR;

/// Digits of any number, and a newline.
const MOST: u64 = 32;

/// The ceilings of one container.
#[derive(Debug)]
pub(super) struct Ceilings {
    /// The container's id.
    container: String,
    sysctl: Sysctl,
    /// Below which the host's `/proc` is.
    root: PathBuf,
    /// A directory that root alone can open, for a lock. (Whoever may read a setting could hold a lock on it.)
    lock: PathBuf,
}

impl Ceilings {
    /// Those of the config for the container of this id.
    pub(super) fn new(container: &str, sysctl: Sysctl) -> Self {
        Self { container: container.to_owned(), sysctl, root: "/".into(), lock: STATE_DIR.into() }
    }

    /// Raises the setting to `wanted`, if it is lower, and tells what it was. A setting that this host does not have is
    /// that of a module which is not loaded.
    fn raise_to(&self, path: &str, wanted: u64) -> io::Result<Option<u64>> {
        let mut setting = match File::options().read(true).write(true).open(self.root.join(relative(path))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Let go when it is closed.
        let lock = File::open(&self.lock)?;
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
        let mut text = String::new();
        Read::by_ref(&mut setting).take(MOST).read_to_string(&mut text)?;
        let before = text.trim().parse::<u64>().map_err(io::Error::other)?;
        if before == 0 || before >= wanted {
            return Ok(None);
        }
        // The kernel takes no number that is written elsewhere.
        setting.rewind()?;
        setting.write_all(format!("{wanted}\n").as_bytes())?;
        Ok(Some(before))
    }
}

impl Raise for Ceilings {
    fn raise(&self, node: &Node, value: u64) {
        let Some(ceiling) = self.sysctl.ceiling(node.path) else { return };
        let (container, setting, to) = (self.container.as_str(), node.path, value.min(ceiling.into()));
        match self.raise_to(setting, to) {
            Ok(Some(from)) => log::info!(container, setting, from, to; "raised"),
            Ok(None) => {}
            Err(error) => log::warn!(container, setting, to; "the host's value stays as it is: {error}"),
        }
    }
}

fn relative(path: &str) -> &Path {
    Path::new(path.trim_start_matches('/'))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of the tests' own")]
mod tests {
    use std::fs;

    use super::*;

    const LIMIT: &str = "/proc/sys/fs/aio-max-nr";

    /// A host whose limit is `text`, with a ceiling.
    fn host(text: &str, max: u32) -> (tempfile::TempDir, Ceilings) {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(relative(LIMIT));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        let sysctl = Sysctl { aio_max_nr: Some(max), max_map_count: Some(max), ..Sysctl::default() };
        let ceilings = Ceilings { root: root.path().into(), lock: root.path().into(), ..Ceilings::new("c", sysctl) };
        (root, ceilings)
    }

    /// What the host has after this was written inside.
    fn after((root, ceilings): &(tempfile::TempDir, Ceilings), path: &str, value: u64) -> String {
        let node = fsemu::table::nodes().find(|node| node.path == path).unwrap();
        ceilings.raise(node, value);
        fs::read_to_string(root.path().join(relative(LIMIT))).unwrap()
    }

    #[test]
    fn the_hosts_value_is_raised_up_to_the_ceiling_and_never_lowered() {
        let host = host("100\n", 2000);
        for (written, expected) in
            [(99, 100), (100, 100), (0, 100), (101, 101), (1000, 1000), (500, 1000), (2000, 2000)]
        {
            assert_eq!(after(&host, LIMIT, written), format!("{expected}\n"), "{written}");
        }
        let host = self::host("100\n", 2000);
        assert_eq!(after(&host, LIMIT, u64::MAX), "2000\n");
    }

    #[test]
    fn a_host_above_the_ceiling_stays_there_and_so_does_0() {
        for text in ["3000\n", "18446744073709551615\n", "0\n"] {
            assert_eq!(after(&host(text, 2000), LIMIT, 5000), text);
        }
    }

    #[test]
    fn what_has_no_ceiling_is_left_alone() {
        let (root, ceilings) = host("100\n", 2000);
        let none = (root, Ceilings { sysctl: Sysctl::default(), ..ceilings });
        assert_eq!(after(&none, LIMIT, 1000), "100\n");
        // Another setting's ceiling is not this one's.
        assert_eq!(after(&host("100\n", 2000), "/proc/sys/fs/file-max", 1000), "100\n");
    }

    #[test]
    fn a_setting_that_the_host_does_not_have_is_no_error() {
        let (_root, ceilings) = host("100\n", 2000);
        assert_eq!(ceilings.raise_to("/proc/sys/vm/max_map_count", 5).unwrap(), None);
        // What cannot be understood is one, and stays.
        let odd = host("a lot\n", 2000);
        assert!(odd.1.raise_to(LIMIT, 5).is_err());
        assert_eq!(after(&odd, LIMIT, 5), "a lot\n");
    }

    #[test]
    fn of_raises_at_once_the_greatest_stays() {
        let (root, ceilings) = host("1\n", 100_000);
        std::thread::scope(|scope| {
            for start in 0..4 {
                let ceilings = &ceilings;
                scope.spawn(move || {
                    (10_000..10_400).filter(|value| value % 4 == start).for_each(|value| {
                        ceilings.raise_to(LIMIT, value).unwrap();
                    });
                });
            }
        });
        assert_eq!(fs::read_to_string(root.path().join(relative(LIMIT))).unwrap(), "10399\n");
    }
}
