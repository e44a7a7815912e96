//! `/proc/uptime`: for how long the container has been up, by its time namespace, and for how long its processors have
//! been idle.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::cpus::{self, Usage};
use crate::Emulation;

/// See the module.
pub(crate) fn uptime(emulation: &Emulation) -> io::Result<Vec<u8>> {
    let processors = cpus::shown(emulation)?.len();
    Ok(render(up(emulation)?, processors, Usage::sample(emulation)).into_bytes())
}

fn render(up: Duration, processors: usize, usage: Usage) -> String {
    let all = up.saturating_mul(u32::try_from(processors).unwrap_or(u32::MAX));
    let idle = all.saturating_sub(usage.total());
    let hundredths = |time: Duration| format!("{}.{:02}", time.as_secs(), time.subsec_millis() / 10);
    format!("{} {}\n", hundredths(up), hundredths(idle))
}

/// `CLOCK_BOOTTIME` of the container.
pub(super) fn up(emulation: &Emulation) -> io::Result<Duration> {
    Ok(up_by(shift(emulation)?))
}

/// The same, by what [`shift`] told.
pub(super) fn up_by(shift: i128) -> Duration {
    let ours = clock_gettime(ClockId::Boottime);
    let nanoseconds = i128::from(ours.tv_sec) * 1_000_000_000 + i128::from(ours.tv_nsec) + shift;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// By how much the container's clock is ahead of ours, in nanoseconds: below 0 for a container that began later than
/// the host.
pub(super) fn shift(emulation: &Emulation) -> io::Result<i128> {
    let of = |process: &str| Ok::<_, io::Error>(offset(&super::host(&format!("/proc/{process}/timens_offsets"))?));
    match of("self") {
        Ok(ours) => Ok(of(&emulation.facts.init.to_string())? - ours),
        // A kernel without time namespaces.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// `boottime <seconds> <nanoseconds>` of time_namespaces(7), in nanoseconds.
fn offset(text: &str) -> i128 {
    let boottime = text.lines().find_map(|line| line.strip_prefix("boottime")).unwrap_or_default();
    let mut numbers = boottime.split_whitespace().map(|number| number.parse::<i64>().unwrap_or(0));
    let mut next = || i128::from(numbers.next().unwrap_or(0));
    next() * 1_000_000_000 + next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_that_of_the_processors_less_what_was_used_and_never_below_zero() {
        let usage = Usage { user: Duration::from_millis(1500), system: Duration::from_millis(500) };
        assert_eq!(render(Duration::from_millis(10_459), 2, usage), "10.45 18.91\n");
        assert_eq!(render(Duration::from_millis(999), 1, usage), "0.99 0.00\n");
        assert_eq!(render(Duration::ZERO, 0, Usage::default()), "0.00 0.00\n");
    }

    #[test]
    fn offsets_are_of_the_clock_of_boot() {
        let text = "monotonic           -5         0\nboottime          -100 750000000\n";
        assert_eq!(offset(text), -99_250_000_000);
        assert_eq!((offset(""), offset("boottime x\n")), (0, 0));
    }
}
