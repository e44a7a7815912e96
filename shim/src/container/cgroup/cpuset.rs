//! CPUs and memory nodes that a group can have: those of the group above it.
//!
//! v1 says no more than "permission denied" of others, and v2 takes every CPU that the machine could have, and then runs
//! the container on those of the group above as if nothing had been asked for.

use std::os::fd::{AsFd, BorrowedFd};

use policy::Refusal;

use super::limits::{Setting, Version};
use super::tree;

/// Refuses a list that names what the group above does not have.
pub(super) fn check(group: BorrowedFd<'_>, setting: &Setting, version: Version) -> Result<(), Refusal> {
    let file = match (version, &*setting.file) {
        (Version::V1, "cpuset.cpus") => "cpuset.effective_cpus",
        (Version::V1, "cpuset.mems") => "cpuset.effective_mems",
        (Version::V2, "cpuset.cpus") => "cpuset.cpus.effective",
        (Version::V2, "cpuset.mems") => "cpuset.mems.effective",
        _ => return Ok(()),
    };
    // Where that cannot be read the kernel alone decides.
    let Ok(above) = tree::open_parent(group).and_then(|above| tree::read(above.as_fd(), file)) else { return Ok(()) };
    let (above, available) = (above.trim(), ranges(&above));
    let is_there = |&(first, last): &(u32, u32)| available.iter().any(|it| it.0 <= first && last <= it.1);
    if ranges(&setting.content).iter().all(is_there) {
        return Ok(());
    }
    let reason = format!("{}: is not among what the group above has, {above}", setting.value);
    Err(Refusal::new(setting.field.clone(), reason))
}

/// A list (`0-3,7`) as ranges; the kernel's own are as long as they can be.
fn ranges(list: &str) -> Vec<(u32, u32)> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    list.trim().split(',').filter_map(range).collect()
}

/// A list as systemd takes it: bit `n % 8` of byte `n / 8`. None for what is no list, or longer than any machine's.
pub(super) fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for (first, last) in ranges(list) {
        if last > 0xffff {
            return None;
        }
        for number in first..=last {
            let byte = usize::try_from(number / 8).ok()?;
            mask.resize(mask.len().max(byte + 1), 0);
            mask[byte] |= 1 << (number % 8);
        }
    }
    (!mask.is_empty()).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_mask_for_systemd() {
        assert_eq!(mask("0"), Some(vec![1]));
        assert_eq!(mask("0-3,8"), Some(vec![0x0f, 1]));
        assert_eq!(mask("17"), Some(vec![0, 0, 2]));
        for none in ["", "x", "3-1", "99999999", "0-4294967295"] {
            assert_eq!(mask(none), None, "{none}");
        }
    }

    #[test]
    fn a_list_must_be_among_what_is_above() {
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("c1");
        std::fs::create_dir(&below).expect("a directory");
        for file in ["cpuset.cpus.effective", "cpuset.effective_cpus"] {
            std::fs::write(dir.path().join(file), "0-3,8\n").expect("a file");
        }
        let group = tree::open(&below).expect("the group");
        for version in [Version::V1, Version::V2] {
            let check = |list: &str| {
                let setting = Setting::new("linux.resources.cpu.cpus", list, "cpuset.cpus", list);
                check(group.as_fd(), &setting, version).map_err(|refusal| refusal.to_string())
            };
            for list in ["0", "0-3", "1,2-3,8", "8"] {
                assert_eq!(check(list), Ok(()), "{list}");
            }
            for list in ["4", "3-4", "0,7", "0-8", "9"] {
                let reason = format!("linux.resources.cpu.cpus: {list}: is not among what the group above has, 0-3,8");
                assert_eq!(check(list), Err(reason));
            }
            let nodes = Setting::new("linux.resources.cpu.mems", "5", "cpuset.mems", "5");
            assert_eq!(
                super::check(group.as_fd(), &nodes, version),
                Ok(()),
                "what cannot be read is the kernel's to judge"
            );
        }
    }
}
