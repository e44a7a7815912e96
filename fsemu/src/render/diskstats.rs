//! `/proc/diskstats`: the host's disks, with the transfers of the container's group.
//!
//! A group counts operations and bytes. Merges and times are 0, and so is all of a disk that the group did not use, or
//! where it has no such controller.

use std::collections::HashMap;
use std::io;

use super::groups::{Groups, number};
use crate::Emulation;

/// Bytes of a sector, whatever the disk's own is.
const SECTOR: u64 = 512;

/// See the module.
pub(crate) fn diskstats(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&super::host("/proc/diskstats")?, &sample(&Groups::of(&emulation.facts, "blkio"))).into_bytes())
}

/// What the container's group has read from all disks and written to them, in bytes.
pub(super) fn transferred(emulation: &Emulation) -> (u64, u64) {
    let devices = sample(&Groups::of(&emulation.facts, "blkio"));
    let sum =
        |key| devices.values().filter_map(|used| used.get(key)).fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    (sum("rbytes"), sum("wbytes"))
}

/// By the name of v2's `io.stat`.
type Transfers = HashMap<&'static str, u64>;

/// The keys of v2, with v1's words.
const KEYS: [(&str, &str, bool); 6] = [
    ("rbytes", "Read", true),
    ("wbytes", "Write", true),
    ("dbytes", "Discard", true),
    ("rios", "Read", false),
    ("wios", "Write", false),
    ("dios", "Discard", false),
];

/// By the device's numbers (`8:16`).
fn sample(groups: &Groups) -> HashMap<String, Transfers> {
    if groups.v2 {
        return unified(&groups.read("io.stat").unwrap_or_default());
    }
    let read = |file: &str| {
        let file = format!("blkio.throttle.{file}");
        groups.read(&format!("{file}_recursive")).or_else(|| groups.read(&file)).unwrap_or_default()
    };
    v1(&read("io_service_bytes"), &read("io_serviced"))
}

/// `8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` lines.
fn unified(text: &str) -> HashMap<String, Transfers> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, ..) = KEYS.into_iter().find(|(name, ..)| *name == key)?;
        Some((key, number(value)?))
    };
    let of = |line: &str| {
        let (device, pairs) = line.split_once(' ')?;
        Some((device.to_owned(), pairs.split_whitespace().filter_map(pair).collect()))
    };
    text.lines().filter_map(of).collect()
}

/// `8:16 Read 1` lines.
fn v1(bytes: &str, operations: &str) -> HashMap<String, Transfers> {
    let mut devices: HashMap<String, Transfers> = HashMap::new();
    for (text, of_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let [device, word, value] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
            let key = KEYS.into_iter().find(|(_, name, bytes)| *name == word && *bytes == of_bytes);
            if let (Some((key, ..)), Some(value)) = (key, number(value)) {
                devices.entry(device.to_owned()).or_default().insert(key, value);
            }
        }
    }
    devices
}

/// Fields of Documentation/admin-guide/iostats.rst; newer kernels have more of them.
fn render(host: &str, devices: &HashMap<String, Transfers>) -> String {
    let mut text = String::new();
    for line in host.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, name, rest @ ..] = fields.as_slice() else { continue };
        let used = devices.get(&format!("{major}:{minor}"));
        let of = |key| used.and_then(|used| used.get(key)).copied().unwrap_or(0);
        let field = |index: usize| match index {
            0 => of("rios"),
            2 => of("rbytes") / SECTOR,
            4 => of("wios"),
            6 => of("wbytes") / SECTOR,
            11 => of("dios"),
            13 => of("dbytes") / SECTOR,
            _ => 0,
        };
        let numbers: Vec<String> = (0..rest.len()).map(|index| field(index).to_string()).collect();
        text.push_str(&format!("{major:>4} {minor:>7} {name} {}\n", numbers.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "   7       0 loop0 1 2 3 4 5 6 7 8 9 10 11\n\
                        \x20254       0 vda 88754 9966 7815130 103679 77882 2154 534 259929 0 30916 367729 20410 68 60 3600 10183 519\n";

    #[test]
    fn every_disk_is_there_with_what_the_group_did() {
        let expected = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n \
                        254       0 vda 31 0 8 0 2 0 16 0 0 0 0 1 0 9 0 0 0\n";
        let two = unified("254:0 rbytes=4096 wbytes=8192 rios=31 wios=2 dbytes=4608 dios=1\n8:0 \n");
        assert_eq!(render(HOST, &two), expected);
        let bytes = "254:0 Read 4096\n254:0 Write 8192\n254:0 Discard 4608\n254:0 Total 16896\nTotal 16896\n";
        let one = v1(bytes, "254:0 Read 31\n254:0 Write 2\n254:0 Discard 1\nTotal 34\n");
        assert_eq!(render(HOST, &one), expected);
    }

    #[test]
    fn without_a_controller_all_is_zero() {
        assert_eq!(
            render(HOST, &v1("", "")).lines().nth(1).unwrap(),
            " 254       0 vda 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
        );
    }
}
