//! Who answers the system calls that the trap filters of a container's processes trap ([`syscall_trap`]): one supervisor for its
//! init and all of its execs, and the container's own machine, of which sysinfo(2) tells.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::system::sysinfo;
use rustix::time::{ClockId, clock_gettime};
use syscall_trap::act::{Act, Outcome};
use syscall_trap::calls::sysinfo::Sysinfo;
use syscall_trap::supervisor::{self, Counts, Machine, Supervisor};

use super::cgroup::Cgroup;
use super::cgroup::stats::memory::Memory;
use super::hands::Hands;
use super::lock;

/// Answers for one container, from its first process to its deletion. When the shim dies before, the kernel answers ENOSYS.
pub(super) struct Traps {
    supervisor: Supervisor,
    machine: Arc<Own>,
    acts: Arc<Acts>,
}

impl Traps {
    /// Nothing is trapped yet.
    pub(super) fn new(cgroup: Cgroup) -> Self {
        let machine = Arc::new(Own { cgroup, clock: OnceLock::new() });
        let acts = Arc::new(Acts::default());
        Self { supervisor: Supervisor::new(machine.clone(), acts.clone()), machine, acts }
    }

    /// From here on `hands` do what is done on behalf.
    pub(super) fn take_hands(&self, hands: Hands) {
        *lock(&self.acts.0) = Some(Arc::new(hands));
    }

    /// Init exists, in its own time namespace.
    pub(super) fn know_init(&self, pid: i32) {
        if let (Some(own), Some(inits)) = (clock_offset("self"), clock_offset(&pid.to_string())) {
            let _known = self.machine.clock.set(inits - own);
        }
    }

    /// Serves the traps of one more process and all that it forks.
    pub(super) fn serve(&self, listener: OwnedFd) -> io::Result<()> {
        self.supervisor.serve(listener)
    }

    /// The container is gone.
    pub(super) fn end(&self, container: &str) {
        self.supervisor.end();
        // With them go the stage and what it holds of the emulated files.
        lock(&self.acts.0).take();
        let counts = self.supervisor.counts();
        if counts != Counts::default() {
            let Counts { served, continued, refused } = counts;
            log::debug!(container = container; "traps: {served} served, {continued} continued, {refused} refused");
        }
    }
}

/// By how much a process's CLOCK_BOOTTIME differs from the host's, in whole seconds: `boottime` of time_namespaces(7). None
/// where the kernel has no time namespaces, or the process is gone.
fn clock_offset(process: &str) -> Option<i64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/timens_offsets")).ok()?;
    offset_of(&text)
}

fn offset_of(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What is done on behalf; without hands the kernel judges what is asked of it.
#[derive(Default)]
struct Acts(Mutex<Option<Arc<Hands>>>);

impl supervisor::Hands for Acts {
    fn act(&self, _tid: u32, process: BorrowedFd<'_>, act: &Act, still: &dyn Fn() -> bool) -> Outcome {
        let hands = lock(&self.0).clone();
        hands.map_or(Outcome::Continue, |hands| hands.act(process, act, still))
    }
}

/// The container's machine: the host's, within the container's limits and its time namespace.
struct Own {
    cgroup: Cgroup,
    /// What its clock shows beyond ours, seconds; unset, the same.
    clock: OnceLock<i64>,
}

impl Machine for Own {
    fn sysinfo(&self) -> Sysinfo {
        // A group that is gone has nobody who asks.
        let memory = self.cgroup.memory().unwrap_or(Memory { limit: u64::MAX, ..Memory::default() });
        let clock = self.clock.get().copied().unwrap_or(0);
        Sysinfo { uptime: uptime().saturating_add_signed(clock), ..within(&host(), &memory) }
    }
}

/// Seconds that the shim's machine is up, rounded up as the kernel does.
fn uptime() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) + u64::from(now.tv_nsec > 0)
}

fn host() -> Sysinfo {
    let host = sysinfo();
    let bytes = |units: u64| units.saturating_mul(u64::from(host.mem_unit));
    Sysinfo {
        uptime: 0,
        loads: host.loads,
        total_ram: bytes(host.totalram),
        free_ram: bytes(host.freeram),
        shared_ram: bytes(host.sharedram),
        buffer_ram: bytes(host.bufferram),
        total_swap: bytes(host.totalswap),
        free_swap: bytes(host.freeswap),
        processes: u64::from(host.procs),
    }
}

/// The host's machine within the container's limits. Without one below the host's memory, what is free is the host's; the
/// host's buffers are nobody's in particular.
fn within(host: &Sysinfo, own: &Memory) -> Sysinfo {
    let limited = own.limit < host.total_ram;
    let total_ram = own.limit.min(host.total_ram);
    let (swap_limit, swap_usage) = own.swap.unwrap_or((u64::MAX, 0));
    let total_swap = swap_limit.min(host.total_swap);
    let free = |total: u64, used: u64, of_host: u64| total.saturating_sub(used).min(of_host);
    Sysinfo {
        total_ram,
        free_ram: if limited { free(total_ram, own.usage, host.free_ram) } else { host.free_ram },
        shared_ram: own.shared,
        buffer_ram: if limited { 0 } else { host.buffer_ram },
        total_swap,
        free_swap: if swap_limit < host.total_swap {
            free(total_swap, swap_usage, host.free_swap)
        } else {
            host.free_swap
        },
        processes: own.processes.unwrap_or(host.processes),
        ..*host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn machine() -> Sysinfo {
        let (total_ram, free_ram, total_swap, free_swap) = (16 * GIB, 4 * GIB, 8 * GIB, 6 * GIB);
        Sysinfo { total_ram, free_ram, total_swap, free_swap, buffer_ram: GIB, processes: 500, ..Sysinfo::default() }
    }

    #[test]
    fn limits_are_the_machine_where_they_are_below_the_hosts() {
        let own = Memory { limit: GIB, usage: GIB / 4, shared: 5, swap: Some((GIB, GIB / 2)), processes: Some(3) };
        let seen = within(&machine(), &own);
        assert_eq!((seen.total_ram, seen.free_ram, seen.shared_ram, seen.buffer_ram), (GIB, GIB / 4 * 3, 5, 0));
        assert_eq!((seen.total_swap, seen.free_swap, seen.processes), (GIB, GIB / 2, 3));
        // No more is free than the host has, and not less than nothing.
        let seen = within(&machine(), &Memory { limit: 8 * GIB, usage: 0, ..own.clone() });
        assert_eq!((seen.total_ram, seen.free_ram), (8 * GIB, 4 * GIB));
        assert_eq!(within(&machine(), &Memory { usage: 2 * GIB, ..own }).free_ram, 0);
    }

    #[test]
    fn without_limits_it_is_the_hosts() {
        let own = Memory { limit: 0x7fff_ffff_ffff_f000, usage: GIB, shared: 0, swap: None, processes: None };
        assert_eq!(within(&machine(), &own), machine());
    }

    #[test]
    fn the_clock_is_that_of_the_time_namespace() {
        assert_eq!(offset_of("monotonic           0         0\nboottime      -86400         0\n"), Some(-86400));
        assert_eq!(offset_of(""), None);
        assert_eq!(clock_offset("self"), Some(0));
        assert!(uptime() > 0);
    }
}
