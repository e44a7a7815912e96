//! The host's side of the pool: the files that say who else uses ids, and which ids there are.

use std::path::{Path, PathBuf};

use policy::config::Ranges;
use policy::idmap::IdMap;
use policy::mapped::Mapped;
use policy::subid::{HostIds, Pool};

use super::error::LeaseError;

/// The pool of this host: what the operator's `[ranges]`, and `subuid`, `subgid`, `passwd` and `group` below `etc`
/// (`/etc`) leave to us. Accounts that only a network directory knows are not seen; administrators give those ids a
/// line in subuid.
///
/// # Errors
/// A file exists and cannot be read, or the lines that mark our own pool cannot be one.
pub fn read_pool(config: &Ranges, etc: &Path) -> Result<Pool, LeaseError> {
    let read = |name| read(etc.join(name));
    let host = HostIds {
        subuid: read("subuid")?,
        subgid: read("subgid")?,
        passwd: read("passwd")?,
        group: read("group")?,
        mapped: read_mapped()?,
    };
    Ok(Pool::new(config, &host)?)
}

/// The ids of the user namespace that we run in.
///
/// # Errors
/// A file of procfs cannot be read.
pub(super) fn read_mapped() -> Result<Mapped, LeaseError> {
    let [uids, gids] = ["/proc/self/uid_map", "/proc/self/gid_map"].map(|path| read(path.into()));
    Ok(Mapped::of(&uids?, &gids?))
}

/// Refuses a spec's map of which some id is none of these.
pub(super) fn check_mapped(map: IdMap, mapped: Mapped) -> Result<(), LeaseError> {
    if mapped.has(map) { Ok(()) } else { Err(LeaseError::UnmappedMap { map, mapped }) }
}

/// A file's text; none where there is no such file.
fn read(path: PathBuf) -> Result<String, LeaseError> {
    match std::fs::read(&path) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(LeaseError::Io { step: "read", path, source }),
    }
}

#[cfg(test)]
mod tests {
    use policy::config::Ranges;
    use policy::subid::Spans;

    use super::{IdMap, Mapped, check_mapped, read_pool};

    #[test]
    fn each_file_keeps_its_ids() {
        let temp = tempfile::tempdir().expect("a directory");
        let lowest = || {
            let pool = read_pool(&Ranges::default(), temp.path()).expect("a pool");
            pool.lowest_free(&Spans::default()).map(|range| range.host)
        };
        assert_eq!(lowest(), Some(100_000), "no file at all");
        let lines = ["alice:100000:1", "bob:165536:1", "c:x:231072:1::/:", "d\u{e9}:x:296608:"];
        for (index, (name, line)) in ["subuid", "subgid", "passwd", "group"].iter().zip(lines).enumerate() {
            std::fs::write(temp.path().join(name), line).expect("write");
            assert_eq!(lowest(), Some(165_536 + 65536 * index as u32), "{name}");
        }
    }

    #[test]
    fn a_map_of_a_spec_must_be_mapped() {
        let check = |host| {
            let map = "0 1000000 131072\n";
            check_mapped(IdMap { host, size: 65536 }, Mapped::of(map, map)).map_err(|error| error.to_string())
        };
        assert_eq!(check(65536), Ok(()));
        let reason = "linux.uidMappings: cannot give the container the host ids 65537-131072, as the user namespace that eci \
                      runs in maps only 0-131071";
        assert_eq!(check(65537), Err(reason.into()));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let temp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(temp.path().join("subgid")).expect("mkdir");
        let error = read_pool(&Ranges::default(), temp.path()).expect_err("a directory is no file").to_string();
        assert!(error.starts_with("id range leases: cannot read /") && error.contains("/subgid: "), "{error}");
    }
}
