//! The clocks of a container: its time namespace.

use std::os::fd::{AsFd, BorrowedFd};

use policy::plan::NamespaceKind;
use rustix::time::ClockId;

use super::message::{BuildOrder, Failure};
use super::namespaces::{host_has, join, open_time_for_children_of, read_below, write_below};

/// Whether the container gets a time namespace of its own.
pub(super) fn has_own(order: &BuildOrder) -> bool {
    !order.joins.joined.contains(&NamespaceKind::Time) && host_has(NamespaceKind::Time)
}

/// When a container boots: the host's clocks, in whole seconds.
///
/// The host's also where we are in a time namespace ourselves, since offsets are to those at any depth; whole seconds, because
/// neither clock may become negative (both proc_timens_set_offset() of kernel/time/namespace.c). Taken before
/// init is cloned: what started before the boot shows as started in billions of years (`timens_add_boottime_ns()` of
/// fs/proc/array.c is unsigned).
#[derive(Debug, Clone, Copy)]
pub(super) struct Boot {
    monotonic: i64,
    boottime: i64,
}

impl Boot {
    pub(super) fn now(proc: BorrowedFd<'_>) -> Result<Self, Failure> {
        let own = match host_has(NamespaceKind::Time) {
            true => read_below(proc, "self/timens_offsets")?,
            false => String::new(),
        };
        let seconds = |clock, name| rustix::time::clock_gettime(clock).tv_sec - offset(&own, name);
        Ok(Self {
            monotonic: seconds(ClockId::Monotonic, "monotonic"),
            boottime: seconds(ClockId::Boottime, "boottime"),
        })
    }
}

/// The whole seconds that `/proc/PID/timens_offsets` (time_namespaces(7)) has of a clock.
fn offset(text: &str, clock: &str) -> i64 {
    let seconds = |line: &str| line.strip_prefix(clock)?.split_whitespace().next()?.parse().ok();
    text.lines().find_map(seconds).unwrap_or_default()
}

/// Sets the clocks of the time namespace that init has made for its children. The host's root does it, because init, which
/// nobody inside may trace, is not let near its own file.
pub(super) fn set(order: &BuildOrder, proc: BorrowedFd<'_>, init: i32, boot: Boot) -> Result<(), Failure> {
    if !has_own(order) {
        return Ok(());
    }
    let offsets = format!("monotonic -{} 0\nboottime -{} 0\n", boot.monotonic, boot.boottime);
    write_below(proc, &format!("{init}/timens_offsets"), &offsets)
}

/// Init's part after that: unshare(2) makes a time namespace for children only; pid 1 moves in by setns(2), which needs
/// no fork (time_namespaces(7)). From then on the offsets cannot be changed.
pub(super) fn enter_own(proc: BorrowedFd<'_>) -> Result<(), Failure> {
    join(NamespaceKind::Time, open_time_for_children_of(proc, "thread-self")?.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_the_one_of_its_clock() {
        let text = "monotonic       -4213         0\nboottime           12 500000000\n";
        assert_eq!((offset(text, "monotonic"), offset(text, "boottime")), (-4213, 12));
        assert_eq!(offset("", "boottime"), 0, "a kernel without time namespaces");
    }
}
