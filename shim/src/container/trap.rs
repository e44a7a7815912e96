//! Who answers the system calls that the trap filters of a container's processes trap ([`syscall_trap`]): one supervisor for its
//! init and all of its execs, and the container's own machine, of which sysinfo(2) tells, or that of an inner container
//! ([`super::inner`]).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use fsemu::Emulation;
use fsemu::render::machine;
use rustix::system::sysinfo;
use syscall_trap::act::{Act, Outcome};
use syscall_trap::calls::sysinfo::Sysinfo;
use syscall_trap::programs::Programs;
use syscall_trap::supervisor::{self, Counts, Machine, Supervisor};

use super::hands::Hands;
use super::inner::Inner;
use super::lock;
use crate::stage::act::Asked;

/// Answers for one container, from its first process to its deletion. When the shim dies before, the kernel answers ENOSYS.
pub(super) struct Traps {
    supervisor: Supervisor,
    machine: Arc<Own>,
    acts: Arc<Acts>,
}

impl Traps {
    /// Nothing is trapped yet.
    pub(super) fn new() -> Self {
        let machine = Arc::new(Own::default());
        let acts = Arc::new(Acts { hands: Mutex::default(), programs: Mutex::default(), machine: machine.clone() });
        Self { supervisor: Supervisor::new(machine.clone(), acts.clone()), machine, acts }
    }

    /// From here on `hands` do what is done on behalf.
    pub(super) fn take_hands(&self, hands: Hands) {
        *lock(&self.acts.hands) = Some(Arc::new(hands));
    }

    /// From here on its inner engines have device programs.
    pub(super) fn take_programs(&self, programs: Programs) {
        *lock(&self.acts.programs) = Some(Arc::new(programs));
    }

    /// Init exists: from here on the machine is that of `emulation`.
    pub(super) fn know(&self, emulation: Arc<Emulation>) {
        let _known = self.machine.0.set(Inner::of(emulation));
    }

    /// Serves the traps of one more process and all that it forks.
    pub(super) fn serve(&self, listener: OwnedFd) -> io::Result<()> {
        self.supervisor.serve(listener)
    }

    /// The container is gone.
    pub(super) fn end(&self, container: &str) {
        self.supervisor.end();
        // With them go the stage and what it holds of the emulated files.
        lock(&self.acts.hands).take();
        lock(&self.acts.programs).take();
        let counts = self.supervisor.counts();
        if counts != Counts::default() {
            let Counts { served, continued, refused } = counts;
            log::debug!(container = container; "traps: {served} served, {continued} continued, {refused} refused");
        }
    }
}

/// What is done on behalf; without hands the kernel judges what is asked of it.
struct Acts {
    hands: Mutex<Option<Arc<Hands>>>,
    programs: Mutex<Option<Arc<Programs>>>,
    machine: Arc<Own>,
}

impl supervisor::Hands for Acts {
    fn act(&self, tid: u32, process: BorrowedFd<'_>, act: &Act, still: &dyn Fn() -> bool) -> Outcome {
        let Some(hands) = lock(&self.hands).clone() else { return Outcome::Continue };
        let is_new = matches!(act, Act::Proc { .. } | Act::Sysfs { .. });
        let view = self.machine.0.get().filter(|_| is_new).and_then(|inner| inner.view(tid));
        hands.act(process, &Asked { act: act.clone(), view }, still)
    }

    fn programs(&self) -> Option<Arc<Programs>> {
        lock(&self.programs).clone()
    }
}

/// The container's machine, as its emulated files tell of it.
#[derive(Default)]
struct Own(OnceLock<Inner>);

impl Machine for Own {
    fn sysinfo(&self, tid: u32) -> Sysinfo {
        // Whoever's init is gone has nobody who asks.
        self.0.get().and_then(|inner| inner.emulation(tid).machine().ok()).map_or_else(host, |own| of(&own))
    }
}

fn of(machine: &machine::Machine) -> Sysinfo {
    Sysinfo {
        uptime: machine.up.as_secs() + u64::from(machine.up.subsec_nanos() > 0),
        loads: machine.loads.map(fixed),
        total_ram: machine.total_ram,
        free_ram: machine.free_ram,
        shared_ram: machine.shared_ram,
        buffer_ram: machine.buffer_ram,
        total_swap: machine.total_swap,
        free_swap: machine.free_swap,
        processes: machine.tasks,
    }
}

/// A load average as sysinfo(2) has it: times 65536. It counts tasks, of which there are not more than fit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 2^53, which a u64 has exactly"
)]
fn fixed(load: f64) -> u64 {
    (load * 65536.0).round().clamp(0.0, 9_007_199_254_740_992.0) as u64
}

fn host() -> Sysinfo {
    let host = sysinfo();
    let bytes = |units: u64| units.saturating_mul(u64::from(host.mem_unit));
    Sysinfo {
        uptime: u64::try_from(host.uptime).unwrap_or(0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_told_in_the_kernels_units() {
        let up = std::time::Duration::from_millis(1001);
        let told =
            of(&machine::Machine { up, loads: [0.0, 0.5, 1.25], total_ram: 4096, tasks: 3, ..Default::default() });
        assert_eq!((told.uptime, told.total_ram, told.processes), (2, 4096, 3));
        assert_eq!(told.loads, [0, 32768, 81920]);
        assert_eq!((fixed(-1.0), fixed(f64::NAN)), (0, 0));
    }

    #[test]
    fn before_there_is_a_container_it_is_the_hosts() {
        let own = Own::default().sysinfo(std::process::id());
        assert!(own.uptime > 0 && own.total_ram > 0 && own.processes > 0, "{own:?}");
    }
}
