//! The base deny filter: what no process of a container may call, whatever its spec says.
//!
//! It lies beneath the spec's profile, also where that is `unconfined` or missing, and holds for init, for every exec'd
//! process and for hooks that run inside. [`ROWS`] is all of it; docs/security-model.md repeats the table. A call has a row
//! only where the user namespace alone does not keep it away from what is the host's: most of what a privileged container
//! is feared for (kernel modules, kexec, swap, the clock, raw I/O) the kernel permits only to root of the first user
//! namespace (capabilities(7), `capable()`), and tests show that instead.
//!
//! Cost: a row by number alone leaves every other call in the kernel's bitmap of calls that need no run of the filter
//! (seccomp_cache_prepare() of kernel/seccomp.c, Linux 5.11). Only socket(2) is looked at by an argument.
//!
//! Invariant: a row holds on every ABI of the host's kernel that has the call, and a call through any other ABI kills the
//! thread; so no other way into the kernel leads past a row.

use std::fmt;

use oci_spec::runtime::LinuxSeccompOperator;
use policy::Refusal;

use super::Program;
use super::abi::Abi;
use super::profile::{Call, Condition};

/// One refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The calls, by the kernel's names.
    pub calls: &'static [&'static str],
    /// Which of them are meant.
    pub when: When,
    /// What they answer: `EPERM`, or `ENOSYS` where a C library is to take another way.
    pub errno: i32,
    /// What takes the row out.
    pub unless: Option<Unless>,
    /// Why it is here, in Markdown.
    pub reason: &'static str,
}

/// What takes a row out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unless {
    /// The operator's config allows io_uring.
    IoUring,
    /// The trap filter traps the call, and it is served ([`super::trap`]).
    Served,
}

/// What a container may do that the rows refuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The operator's config allows io_uring.
    pub io_uring: bool,
    /// Device programs of inner engines are served.
    pub programs: bool,
}

/// Which calls of a name are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those with this first argument, an `int`: the kernel looks at its lower 32 bits alone, whatever the register holds
    /// above them, and so does the filter.
    First(u32),
}

/// The socket families of linux/socket.h that no network namespace keeps apart.
const AF_VSOCK: u32 = 40;
const AF_QIPCRTR: u32 = 42;

const ALWAYS: Row = Row { calls: &[], when: When::Always, errno: libc::EPERM, unless: None, reason: "" };

/// Every row.
pub const ROWS: &[Row] = &[
    Row {
        calls: &["socket"],
        when: When::First(AF_VSOCK),
        reason: "AF_VSOCK knows no network namespace: from a container it reaches the hypervisor of the host, and the host's \
                 virtual machines.",
        ..ALWAYS
    },
    Row {
        calls: &["socket"],
        when: When::First(AF_QIPCRTR),
        reason: "AF_QIPCRTR knows no network namespace: it reaches the modems and signal processors of the board.",
        ..ALWAYS
    },
    Row {
        calls: &["socketcall"],
        errno: libc::ENOSYS,
        reason: "The way of 32-bit x86 to every socket call, with the arguments in memory, which no filter can read. C \
                 libraries that know `socket` of 32-bit x86 (Linux 4.3) use that.",
        ..ALWAYS
    },
    Row {
        calls: &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        unless: Some(Unless::IoUring),
        reason: "Its operations (sockets, opens, connects) pass no filter, neither this one nor the spec's.",
        ..ALWAYS
    },
    Row {
        calls: &["bpf"],
        unless: Some(Unless::Served),
        reason: "Where `kernel.unprivileged_bpf_disabled` is 0 the kernel lets anybody load socket filters and make maps, \
                 and its verifier and compiler are a way into the host's kernel.",
        ..ALWAYS
    },
    Row {
        calls: &["perf_event_open"],
        reason: "Where `kernel.perf_event_paranoid` is 2 (the kernel's default) or less anybody may count events of the \
                 host's processors: a side channel to its other containers, and much of the kernel to talk to.",
        ..ALWAYS
    },
    Row {
        calls: &["open_by_handle_at"],
        reason: "A handle names a file by its number, past every directory above it. Since Linux 6.11 the root of a user \
                 namespace may open directories so.",
        ..ALWAYS
    },
    Row {
        calls: &["syslog"],
        reason: "Where `kernel.dmesg_restrict` is 0 anybody may read the host's kernel log.",
        ..ALWAYS
    },
];

/// The row as docs/security-model.md has it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(|call| format!("`{call}`")).collect();
        let when = match self.when {
            When::Always => String::new(),
            When::First(AF_VSOCK) => " of AF_VSOCK".to_owned(),
            When::First(AF_QIPCRTR) => " of AF_QIPCRTR".to_owned(),
            When::First(value) => format!(" of {value}"),
        };
        let errno = if self.errno == libc::ENOSYS { "ENOSYS" } else { "EPERM" };
        let unless = match self.unless {
            None => "",
            Some(Unless::IoUring) => ", unless `container.io_uring`",
            Some(Unless::Served) => ", unless [served](syscalls.md)",
        };
        write!(f, "| {}{when} | {errno}{unless} | {} |", calls.join(", "), self.reason)
    }
}

/// The program for this host.
///
/// # Errors
/// None that a test would not have shown: the table is too large for the kernel.
pub fn base(allowed: Allowed) -> Result<Program, Refusal> {
    base_for(Abi::HOST, allowed)
}

/// [`base`] for the kernel whose native ABI is `native`.
pub(super) fn base_for(native: Abi, allowed: Allowed) -> Result<Program, Refusal> {
    let taken_out = |row: &&Row| match row.unless {
        None => false,
        Some(Unless::IoUring) => allowed.io_uring,
        Some(Unless::Served) => allowed.programs,
    };
    let rows = ROWS.iter().filter(|row| !taken_out(row));
    super::of_table(native, rows.map(call).collect(), 0)
}

/// Where the trap filter cannot be installed: what it would have served is refused after all.
///
/// # Errors
/// As [`base`].
pub fn unserved() -> Result<Program, Refusal> {
    let rows = ROWS.iter().filter(|row| row.unless == Some(Unless::Served));
    super::of_table(Abi::HOST, rows.map(call).collect(), 0)
}

fn call(row: &Row) -> Call {
    let conditions = match row.when {
        When::Always => Vec::new(),
        When::First(value) => vec![Condition {
            argument: 0,
            op: LinuxSeccompOperator::ScmpCmpMaskedEq,
            value: u64::from(value),
            mask: u64::from(u32::MAX),
        }],
    };
    Call {
        field: "base filter".to_owned(),
        names: row.calls.iter().map(|&name| name.to_owned()).collect(),
        action: libc::SECCOMP_RET_ERRNO | row.errno.unsigned_abs(),
        alternatives: vec![conditions],
    }
}
