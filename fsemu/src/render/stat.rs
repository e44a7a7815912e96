//! `/proc/stat`: the time that the container's processors have spent on it, or idle.
//!
//! What a cgroup counts is user and system time. v1 counts it for each processor (`cpuacct.usage_all`); v2's sum, and
//! what was used of processors that do not show, is spread evenly. The rest of the container's uptime is idle time.
//! Interrupts, context switches and forks are the host's since the container was made: no group counts them.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use super::cpus::{self, Usage};
use super::groups::Groups;
use super::tasks::{Sample, Tasks};
use super::uptime;
use crate::Emulation;

/// See the module.
pub(crate) fn stat(emulation: &Emulation) -> io::Result<Vec<u8>> {
    let shift = uptime::shift(emulation)?;
    let up = uptime::up_by(shift);
    let spent = Spent {
        up,
        total: Usage::sample(emulation),
        each: each(&Groups::of(&emulation.facts, "cpuacct").read("cpuacct.usage_all").unwrap_or_default()),
    };
    let tasks = Tasks::sample(emulation, up);
    let host = super::host("/proc/stat")?;
    let sums = emulation.sums.get_or_init(|| Sums::of(&host));
    Ok(render(&host, &cpus::shown(emulation)?, &spent, shift.div_euclid(1_000_000_000), (sums, &tasks)).into_bytes())
}

/// What the host counts from its boot on.
const SUMS: [&str; 4] = ["intr", "ctxt", "processes", "softirq"];

/// How far the host had counted when the container was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums(HashMap<&'static str, Vec<u64>>);

impl Sums {
    /// Now.
    pub(crate) fn now() -> io::Result<Self> {
        Ok(Self::of(&super::host("/proc/stat")?))
    }

    fn of(host: &str) -> Self {
        let sum = |line: &str| {
            let (name, rest) = line.split_once(' ')?;
            let name = SUMS.into_iter().find(|sum| *sum == name)?;
            Some((name, counts(name, rest).collect()))
        };
        Self(host.lines().filter_map(sum).collect())
    }

    fn since(&self, name: &str, now: &str) -> String {
        let mut before = self.0.get(name).into_iter().flatten();
        let since = counts(name, now).map(|now| now.saturating_sub(before.next().copied().unwrap_or(0)).to_string());
        since.collect::<Vec<_>>().join(" ")
    }
}

/// What is shown of a line's numbers: the sum, and of `softirq` each kind, too. Who parses the line wants all ten (BuildKit, by
/// Prometheus' procfs). Of interrupts a machine may have thousands of sources.
fn counts<'a>(name: &str, numbers: &'a str) -> impl Iterator<Item = u64> + 'a {
    let shown = if name == "softirq" { usize::MAX } else { 1 };
    numbers.split_whitespace().take(shown).map(|number| number.parse().unwrap_or(0))
}

/// The sum, before those of each source.
fn first(numbers: &str) -> &str {
    numbers.split(' ').next().unwrap_or("0")
}

/// What the container has used of its time.
#[derive(Debug, Default)]
struct Spent {
    up: Duration,
    total: Usage,
    /// By processor, as far as that is known.
    each: HashMap<u32, Usage>,
}

/// In `USER_HZ`, which is 100 everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    user: u64,
    system: u64,
    idle: u64,
}

impl Spent {
    fn of(&self, shown: &[u32]) -> Vec<Ticks> {
        let count = u32::try_from(shown.len()).unwrap_or(u32::MAX).max(1);
        let known = |of: fn(&Usage) -> Duration| {
            let sum = shown.iter().filter_map(|number| self.each.get(number)).map(of).sum::<Duration>();
            of(&self.total).saturating_sub(sum) / count
        };
        let (user, system) = (known(|it| it.user), known(|it| it.system));
        let ticks = |number| {
            let own = self.each.get(number).copied().unwrap_or_default();
            let (user, system) = (hundredths(own.user + user), hundredths(own.system + system));
            Ticks { user, system, idle: hundredths(self.up).saturating_sub(user + system) }
        };
        shown.iter().map(ticks).collect()
    }
}

fn hundredths(time: Duration) -> u64 {
    time.as_secs().saturating_mul(100).saturating_add(u64::from(time.subsec_millis() / 10))
}

/// Lines of `cpu user system`, in nanoseconds, after a line of titles.
fn each(text: &str) -> HashMap<u32, Usage> {
    let of = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let number = u32::try_from(next()?).ok()?;
        Some((number, Usage { user: Duration::from_nanos(next()?), system: Duration::from_nanos(next()?) }))
    };
    text.lines().filter_map(of).collect()
}

fn render(host: &str, shown: &[u32], spent: &Spent, shift: i128, (sums, tasks): (&Sums, &Sample)) -> String {
    let each = spent.of(shown);
    let sum = |of: fn(&Ticks) -> u64| each.iter().map(of).sum();
    let all = Ticks { user: sum(|it| it.user), system: sum(|it| it.system), idle: sum(|it| it.idle) };
    let mut text = String::new();
    let mut line = |name: &str, ticks: &Ticks| {
        let Ticks { user, system, idle } = ticks;
        text.push_str(&format!("{name} {user} 0 {system} {idle} 0 0 0 0 0 0\n"));
    };
    line("cpu ", &all);
    shown.iter().zip(&each).for_each(|(number, ticks)| line(&format!("cpu{number}"), ticks));
    for (name, rest) in host.lines().filter_map(|line| line.split_once(' ')) {
        let first = first(rest);
        let own = match name {
            name if SUMS.contains(&name) => sums.since(name, rest),
            "btime" => (first.parse::<i128>().unwrap_or(0) - shift).to_string(),
            "procs_running" => tasks.running.max(1).to_string(),
            "procs_blocked" => tasks.blocked.to_string(),
            _ => continue,
        };
        text.push_str(&format!("{name} {own}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "cpu  64824 12788 27531 157988 1399 0 235 235 0 0\n\
                        cpu0 31516 6691 11291 82361 525 0 45 105 0 0\n\
                        cpu1 33307 6096 16240 75627 873 0 190 130 0 0\n\
                        intr 1369996 0 0 5\nctxt 2537879\nbtime 1795798512\nprocesses 54957\nprocs_running 3\nprocs_blocked 0\nsoftirq 510629 0 67858\n";

    fn usage(user: u64, system: u64) -> Usage {
        Usage { user: Duration::from_millis(user), system: Duration::from_millis(system) }
    }

    #[test]
    fn processors_that_show_sum_up_and_idle_is_the_rest() {
        let spent = Spent { up: Duration::from_secs(10), total: usage(4000, 2000), each: HashMap::new() };
        let tasks = Sample { running: 2, blocked: 1, ..Sample::default() };
        let before = Sums::of("intr 1369000 5 6\nctxt 2537880\nprocesses 54000\nsoftirq 510029 1 67800\n");
        let text = render(HOST, &[0, 3], &spent, -100, (&before, &tasks));
        assert_eq!(
            text,
            "cpu  400 0 200 1400 0 0 0 0 0 0\ncpu0 200 0 100 700 0 0 0 0 0 0\ncpu3 200 0 100 700 0 0 0 0 0 0\n\
             intr 996\nctxt 0\nbtime 1795798612\nprocesses 957\nprocs_running 2\nprocs_blocked 1\nsoftirq 600 0 58\n"
        );
    }

    #[test]
    fn what_a_processor_used_is_its_own_where_it_is_known() {
        let all = each("cpu user system\n0 1000000000 0\n1 3000000000 500000000\n2 2000000000 0\n");
        let spent = Spent { up: Duration::from_secs(10), total: usage(6000, 500), each: all };
        let [zero, one] = spent.of(&[0, 1])[..] else { panic!("two") };
        assert_eq!(zero, Ticks { user: 200, system: 0, idle: 800 });
        assert_eq!(one, Ticks { user: 400, system: 50, idle: 550 });
        let busy = Spent { up: Duration::from_secs(1), total: usage(6000, 0), each: HashMap::new() };
        assert_eq!(busy.of(&[0]), [Ticks { user: 600, system: 0, idle: 0 }]);
        assert!(busy.of(&[]).is_empty());
    }
}
