//! `/proc/vmstat`: the host's file, but for what the container's groups count: kilobytes that went through disks, pages of
//! swap, faults, and kills for want of memory. vmstat(8) divides such sums by the uptime, which is the container's.

use std::collections::HashMap;
use std::io;

use super::diskstats;
use super::groups::{Groups, flat};
use super::memory::Memory;
use crate::Emulation;

/// See the module.
pub(crate) fn vmstat(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&super::host("/proc/vmstat")?, &sample(emulation)).into_bytes())
}

/// By the file's keys. What no group counts is absent.
fn sample(emulation: &Emulation) -> HashMap<&'static str, u64> {
    let (read, written) = diskstats::transferred(emulation);
    let mut own = HashMap::from([("pgpgin", read / 1024), ("pgpgout", written / 1024)]);
    let memory = Memory::sample(emulation);
    let groups = Groups::of(&emulation.facts, "memory");
    let swaps = ["pswpin", "pswpout"].map(|key| (key, memory.stat.get(key).copied().unwrap_or(0)));
    let faults = ["pgfault", "pgmajfault"].into_iter().filter_map(|key| Some((key, *memory.stat.get(key)?)));
    own.extend(faults.chain(swaps.into_iter().filter(|_| groups.own().is_some())));
    let kills = groups.read(if groups.v2 { "memory.events" } else { "memory.oom_control" });
    own.extend(kills.and_then(|text| Some(("oom_kill", *flat(&text).get("oom_kill")?))));
    own
}

fn render(host: &str, own: &HashMap<&'static str, u64>) -> String {
    let mut text = String::with_capacity(host.len());
    for line in host.lines() {
        match line.split_once(' ').and_then(|(key, _)| Some((key, own.get(key)?))) {
            Some((key, value)) => text.push_str(&format!("{key} {value}\n")),
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{emulation, groups, write};

    const HOST: &str =
        "nr_free_pages 7\npgpgin 1000\npgpgout 2000\npswpin 5\npswpout 6\npgfault 70\npgmajfault 80\noom_kill 9\n";

    #[test]
    fn what_the_group_counts_is_its_own() {
        let root = tempfile::tempdir().unwrap();
        let group = groups(root.path(), "own");
        write(&group, "io.stat", "254:0 rbytes=4096 wbytes=8192 rios=1\n8:0 rbytes=1024\n");
        write(&group, "memory.stat", "anon 1\npgfault 3\npgmajfault 2\npswpin 4\n");
        write(&group, "memory.events", "max 5\noom 2\noom_kill 1\n");
        let own = sample(&emulation(root.path(), &group));
        assert_eq!(
            render(HOST, &own),
            "nr_free_pages 7\npgpgin 5\npgpgout 8\npswpin 4\npswpout 0\npgfault 3\npgmajfault 2\noom_kill 1\n"
        );
    }

    #[test]
    fn what_no_group_counts_is_the_hosts() {
        assert_eq!(render(HOST, &HashMap::new()), HOST);
    }
}
