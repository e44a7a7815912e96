//! `/proc/swaps`: one line with what the container has of the host's swap, as meminfo tells it; none without.

use std::io;

use super::memory::{Level, Memory, least};
use crate::Emulation;

/// See the module.
pub(crate) fn swaps(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&super::host("/proc/swaps")?, &Memory::sample(emulation).swap).into_bytes())
}

/// The line is the host's first one but for its numbers, in kB. Without a limit the host's file is told.
fn render(host: &str, limits: &[Level]) -> String {
    if limits.is_empty() {
        return host.to_owned();
    }
    let mut lines = host.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"));
    let areas: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let sum = |field: usize| -> u64 {
        let number = |area: &Vec<&str>| area.get(field)?.parse::<u64>().ok();
        areas.iter().filter_map(number).sum()
    };
    let (size, used) = (sum(2), sum(3));
    let (total, free) = least(limits, size.saturating_mul(1024), size.saturating_sub(used).saturating_mul(1024));
    let (total, used) = (total / 1024, total.saturating_sub(free) / 1024);
    if let [name, kind, _, _, priority] = areas.first().map(Vec::as_slice).unwrap_or_default()
        && total > 0
    {
        text.push_str(&format!("{name:<40}{kind}\t{total}\t\t{used}\t\t{priority}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    const AREAS: &str = "/dev/vda2                               partition\t8000\t\t1000\t\t-2\n/swap file 1 1 1\n";

    fn limit(limit: u64, usage: u64) -> Level {
        Level { limit: limit * 1024, usage: usage * 1024, reclaimable: 0 }
    }

    #[test]
    fn without_swap_of_its_own_there_is_the_head_only() {
        let host = format!("{HEAD}{AREAS}");
        assert_eq!(render(&host, &[limit(0, 0)]), HEAD);
        assert_eq!(render(HEAD, &[limit(100, 0)]), HEAD);
        assert_eq!(render("", &[limit(100, 0)]), HEAD);
        assert_eq!(render(&host, &[]), host);
    }

    #[test]
    fn a_limit_is_one_line() {
        let text = render(&format!("{HEAD}{AREAS}"), &[limit(500, 20), limit(4000, 100)]);
        assert_eq!(text, format!("{HEAD}/dev/vda2                               partition\t500\t\t20\t\t-2\n"));
    }
}
