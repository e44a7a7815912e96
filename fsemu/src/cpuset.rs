//! Which CPUs and memory nodes a container has, and lists and bitmaps of them as the kernel writes them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Emulation;
use crate::render::{groups::Groups, whole};

/// For how long a set holds for those who walk through a directory: they ask for it at each entry.
const WALK: Duration = Duration::from_millis(10);

/// A set as it was read last.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Option<(Instant, BTreeSet<u32>)>>);

impl Known {
    /// Whether the number is one of the set, which `read` reads.
    pub(crate) fn has(&self, number: u32, read: impl FnOnce() -> io::Result<BTreeSet<u32>>) -> io::Result<bool> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, set)) = known.as_ref().filter(|(read, _)| read.elapsed() < WALK) {
            return Ok(set.contains(&number));
        }
        let set = read()?;
        let has = set.contains(&number);
        *known = Some((Instant::now(), set));
        Ok(has)
    }
}

/// The CPUs that the container may run on.
pub(crate) fn cpus(emulation: &Emulation) -> io::Result<BTreeSet<u32>> {
    effective(emulation, ["cpuset.cpus.effective", "cpuset.effective_cpus"], "/sys/devices/system/cpu/online")
}

/// The memory nodes that the container may have memory of.
pub(crate) fn mems(emulation: &Emulation) -> io::Result<BTreeSet<u32>> {
    effective(emulation, ["cpuset.mems.effective", "cpuset.effective_mems"], "/sys/devices/system/node/online")
}

/// What the nearest cgroup that has one of these files says (a cgroup without the controller is bound by its parent), else
/// what the host has.
fn effective(emulation: &Emulation, files: [&str; 2], host: &str) -> io::Result<BTreeSet<u32>> {
    let groups = Groups::of(&emulation.facts, "cpuset");
    for text in groups.levels().flat_map(|directory| files.map(|file| directory.join(file))) {
        match whole(&text) {
            Ok(text) => return list(&String::from_utf8_lossy(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    list(&String::from_utf8_lossy(&whole(Path::new(host))?))
}

/// The numbers of a list such as `0-3,8`.
pub(crate) fn list(text: &str) -> io::Result<BTreeSet<u32>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is not a list of CPUs"));
    let mut all = BTreeSet::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number < 1 << 16).ok_or_else(wrong);
        all.extend(number(first)?..=number(last)?);
    }
    Ok(all)
}

/// The list of these numbers, with a newline.
pub(crate) fn to_list(numbers: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let ranges: Vec<String> = ranges.into_iter().map(range).collect();
    ranges.join(",") + "\n"
}

/// The list without the numbers that are not of `kept`.
pub(crate) fn cut_list(text: &str, kept: &BTreeSet<u32>) -> io::Result<String> {
    Ok(to_list(&list(text)?.intersection(kept).copied().collect()))
}

/// The bitmap (hexadecimal digits, a comma after each 32 bits) without the bits that are not of `kept`.
pub(crate) fn cut_map(text: &str, kept: &BTreeSet<u32>) -> String {
    let mut bit = 0;
    let cut = |character: char| match character.to_digit(16) {
        None => character,
        Some(digit) => {
            let mask = (0..4).filter(|index| kept.contains(&(bit + index))).fold(0, |mask, index| mask | 1 << index);
            bit += 4;
            char::from_digit(digit & mask, 16).unwrap_or('0')
        }
    };
    let backwards: String = text.chars().rev().map(cut).collect();
    backwards.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_again_after_a_moment() {
        let known = Known::default();
        assert!(known.has(1, || Err(io::ErrorKind::NotFound.into())).is_err(), "an error is not kept");
        assert!(known.has(1, || Ok(BTreeSet::from([1]))).expect("a set"));
        assert!(known.has(1, || Ok(BTreeSet::new())).expect("a set"));
        std::thread::sleep(WALK);
        assert!(!known.has(1, || Ok(BTreeSet::new())).expect("a set"));
    }

    #[test]
    fn lists_are_cut() {
        let kept = BTreeSet::from([1, 2, 3, 9]);
        for (text, cut) in
            [("0-15\n", "1-3,9\n"), ("2-4,9-10\n", "2-3,9\n"), ("0\n", "\n"), ("\n", "\n"), ("", "\n"), ("3", "3\n")]
        {
            assert_eq!(cut_list(text, &kept).expect(text), cut);
        }
        for text in ["x", "1-", "0-99999999", "1 2"] {
            assert!(list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bitmaps_are_cut_at_their_width() {
        let kept = BTreeSet::from([1, 2, 3, 33, 63]);
        for (text, cut) in [
            ("f\n", "e\n"),
            ("ff", "0e"),
            ("0000ffff\n", "0000000e\n"),
            ("ffffffff,ffffffff\n", "80000002,0000000e\n"),
            ("1\n", "0\n"),
        ] {
            assert_eq!(cut_map(text, &kept), cut);
        }
    }
}
