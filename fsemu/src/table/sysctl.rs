//! Rows of the table: sysctls that no namespace keeps apart, and that something that runs in containers writes or must not
//! see.
//!
//! Each is a value of the container's own: the kernel goes by the host's. Ranges are those of Linux 6.18, in the file that
//! each group names. What is not here stays the kernel's own file: a sysctl of a namespace, which is the container's to
//! write, or one of the host's, which answers EACCES because the host's root owns it. That holds above all for those by which the
//! kernel would do something on the host, or protects it: nothing may seem to have set them.

use std::io;

use super::sysfs::FOR_EVER;
use super::{Check, Kept, Kind, Live, Node, Seed, Tie};
use crate::Emulation;

const INT: Check = Check::Integer(i32::MIN as i64, i32::MAX as i64);
const NATURAL: Check = Check::Integer(0, i32::MAX as i64);
const POSITIVE: Check = Check::Integer(1, i32::MAX as i64);
const BOOL: Check = Check::Integer(0, 1);
const UP_TO_2: Check = Check::Integer(0, 2);
const PERCENT: Check = Check::Integer(0, 100);
const ULONG: Check = Check::Unsigned(0, u64::MAX);
const LONG: Check = Check::Unsigned(0, i64::MAX as u64);
/// An `unsigned long` between 0 and INT_MAX.
const UNSIGNED: Check = Check::Unsigned(0, i32::MAX as u64);

const KUBELET: &str = "The kubelet sets it, or refuses to start.";
const SYSTEMD: &str = "systemd sets it at boot.";
const DATABASE: &str = "Databases set it, or refuse to start.";
const KEYS: &str = "The kubelet sets it. What the host allows remains the limit of each user.";
const WRITEBACK: &str = "Databases set it. The host writes back by its own value.";
const MEMORY: &str = "Databases and installers set it. The host reclaims by its own value.";
const GUARD: &str = "systemd sets it at boot. The host's value protects this container too.";
const LIMIT: &str = "Installers and services raise it. What the host allows remains the limit.";
const BUFFERS: &str = "One for all network namespaces. What the host allows remains the limit.";
const CONNTRACK: &str = "kube-proxy sets it. One table for all network namespaces, of the host's size.";

/// Every row.
pub(super) const NODES: &[Node] = &[
    // kernel/panic.c, kernel/printk/sysctl.c, kernel/sysctl.c.
    kept("/proc/sys/kernel/panic", INT, KUBELET),
    kept("/proc/sys/kernel/panic_on_oops", INT, KUBELET),
    kept(
        "/proc/sys/kernel/printk",
        Check::Integers(4, i32::MIN as i64, i32::MAX as i64),
        "Init systems set it at boot.",
    ),
    kept("/proc/sys/kernel/kptr_restrict", UP_TO_2, GUARD),
    kept("/proc/sys/kernel/dmesg_restrict", BOOL, GUARD),
    kept("/proc/sys/kernel/sysrq", INT, SYSTEMD),
    kept("/proc/sys/kernel/core_uses_pid", INT, SYSTEMD),
    kept("/proc/sys/kernel/numa_balancing", Check::Integer(0, 4), DATABASE),
    // PID_MAX_LIMIT; the least is RESERVED_PIDS + 1, or more where there are many CPUs.
    kept("/proc/sys/kernel/pid_max", Check::Integer(301, 1 << 22), SYSTEMD),
    // sysctl_max_threads() of kernel/fork.c: FUTEX_TID_MASK.
    kept("/proc/sys/kernel/threads-max", Check::Integer(1, 0x3fff_ffff), LIMIT),
    // yama_dointvec_minmax().
    kept("/proc/sys/kernel/yama/ptrace_scope", Check::Latch(0, 3), GUARD),
    // security/keys/sysctl.c.
    kept("/proc/sys/kernel/keys/maxkeys", POSITIVE, KEYS),
    kept("/proc/sys/kernel/keys/maxbytes", POSITIVE, KEYS),
    kept("/proc/sys/kernel/keys/root_maxkeys", POSITIVE, KEYS),
    kept("/proc/sys/kernel/keys/root_maxbytes", POSITIVE, KEYS),
    Node {
        path: "/proc/sys/kernel/random/boot_id",
        mode: 0o444,
        kind: Kind::Live(Live { render: boot_id, fresh: FOR_EVER, steady: true }),
        own_proc_only: false,
        reason: "journald and others tell boots apart by it: one for each start of a container.",
    },
    // mm/util.c, mm/mmap.c, mm/vmscan.c, mm/page_alloc.c, mm/oom_kill.c, security/min_addr.c.
    kept("/proc/sys/vm/overcommit_memory", UP_TO_2, KUBELET),
    tied("/proc/sys/vm/overcommit_ratio", INT, Tie::Zeroes("/proc/sys/vm/overcommit_kbytes"), DATABASE),
    tied("/proc/sys/vm/overcommit_kbytes", ULONG, Tie::Zeroes("/proc/sys/vm/overcommit_ratio"), DATABASE),
    kept("/proc/sys/vm/panic_on_oom", UP_TO_2, KUBELET),
    kept("/proc/sys/vm/oom_kill_allocating_task", INT, MEMORY),
    kept("/proc/sys/vm/oom_dump_tasks", INT, MEMORY),
    limit(
        "/proc/sys/vm/max_map_count",
        NATURAL,
        "Elasticsearch wants 262144, systemd sets it at boot. What the host allows remains the limit.",
    ),
    kept("/proc/sys/vm/mmap_min_addr", ULONG, GUARD),
    kept("/proc/sys/vm/swappiness", Check::Integer(0, 200), MEMORY),
    kept("/proc/sys/vm/vfs_cache_pressure", NATURAL, MEMORY),
    kept("/proc/sys/vm/min_free_kbytes", NATURAL, MEMORY),
    kept("/proc/sys/vm/admin_reserve_kbytes", ULONG, MEMORY),
    kept("/proc/sys/vm/user_reserve_kbytes", ULONG, MEMORY),
    kept("/proc/sys/vm/zone_reclaim_mode", NATURAL, MEMORY),
    kept("/proc/sys/vm/page-cluster", Check::Integer(0, 31), MEMORY),
    kept("/proc/sys/vm/watermark_scale_factor", Check::Integer(1, 3000), MEMORY),
    kept("/proc/sys/vm/watermark_boost_factor", NATURAL, MEMORY),
    kept("/proc/sys/vm/compaction_proactiveness", PERCENT, MEMORY),
    // mm/page-writeback.c, fs/fs-writeback.c. dirty_bytes is two pages at least.
    tied("/proc/sys/vm/dirty_ratio", PERCENT, Tie::ChangeZeroes("/proc/sys/vm/dirty_bytes"), WRITEBACK),
    tied(
        "/proc/sys/vm/dirty_bytes",
        Check::Unsigned(8192, u64::MAX),
        Tie::ChangeZeroes("/proc/sys/vm/dirty_ratio"),
        WRITEBACK,
    ),
    tied("/proc/sys/vm/dirty_background_ratio", PERCENT, Tie::Zeroes("/proc/sys/vm/dirty_background_bytes"), WRITEBACK),
    tied(
        "/proc/sys/vm/dirty_background_bytes",
        Check::Unsigned(1, u64::MAX),
        Tie::Zeroes("/proc/sys/vm/dirty_background_ratio"),
        WRITEBACK,
    ),
    kept("/proc/sys/vm/dirty_expire_centisecs", NATURAL, WRITEBACK),
    kept("/proc/sys/vm/dirty_writeback_centisecs", INT, WRITEBACK),
    kept("/proc/sys/vm/dirtytime_expire_seconds", NATURAL, WRITEBACK),
    // fs/file_table.c, fs/aio.c, fs/pipe.c, fs/namei.c, fs/coredump.c, fs/notify, fs/eventpoll.c, fs/locks.c.
    kept("/proc/sys/fs/file-max", LONG, LIMIT),
    kept("/proc/sys/fs/nr_open", Check::Integer(64, i32::MAX as i64 & -64), LIMIT),
    limit("/proc/sys/fs/aio-max-nr", ULONG, LIMIT),
    kept("/proc/sys/fs/pipe-max-size", Check::PipeSize, LIMIT),
    kept("/proc/sys/fs/pipe-user-pages-hard", ULONG, LIMIT),
    kept("/proc/sys/fs/pipe-user-pages-soft", ULONG, LIMIT),
    kept("/proc/sys/fs/protected_hardlinks", BOOL, GUARD),
    kept("/proc/sys/fs/protected_symlinks", BOOL, GUARD),
    kept("/proc/sys/fs/protected_fifos", UP_TO_2, GUARD),
    kept("/proc/sys/fs/protected_regular", UP_TO_2, GUARD),
    kept("/proc/sys/fs/suid_dumpable", UP_TO_2, GUARD),
    limit("/proc/sys/fs/inotify/max_user_watches", UNSIGNED, LIMIT),
    limit("/proc/sys/fs/inotify/max_user_instances", UNSIGNED, LIMIT),
    kept("/proc/sys/fs/inotify/max_queued_events", NATURAL, LIMIT),
    kept("/proc/sys/fs/fanotify/max_user_groups", UNSIGNED, LIMIT),
    kept("/proc/sys/fs/fanotify/max_user_marks", UNSIGNED, LIMIT),
    kept("/proc/sys/fs/fanotify/max_queued_events", NATURAL, LIMIT),
    kept("/proc/sys/fs/epoll/max_user_watches", LONG, LIMIT),
    kept("/proc/sys/fs/lease-break-time", INT, LIMIT),
    // net/core/sysctl_net_core.c: SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF on 64 bits.
    kept("/proc/sys/net/core/rmem_max", Check::Integer(2304, i32::MAX as i64), BUFFERS),
    kept("/proc/sys/net/core/rmem_default", Check::Integer(2304, i32::MAX as i64), BUFFERS),
    kept("/proc/sys/net/core/wmem_max", Check::Integer(4608, i32::MAX as i64), BUFFERS),
    kept("/proc/sys/net/core/wmem_default", Check::Integer(4608, i32::MAX as i64), BUFFERS),
    // net/ipv4/sysctl_net_ipv4.c.
    kept(
        "/proc/sys/net/ipv4/tcp_allowed_congestion_control",
        Check::Names("/proc/sys/net/ipv4/tcp_available_congestion_control"),
        "One for all network namespaces. What the host allows remains all that `tcp_congestion_control` takes.",
    ),
    // net/netfilter/nf_conntrack_standalone.c.
    limit("/proc/sys/net/netfilter/nf_conntrack_max", NATURAL, CONNTRACK),
    kept("/proc/sys/net/netfilter/nf_conntrack_expect_max", POSITIVE, CONNTRACK),
    kept("/proc/sys/net/netfilter/nf_conntrack_buckets", Check::Buckets, CONNTRACK),
];

const fn kept(path: &'static str, check: Check, reason: &'static str) -> Node {
    tied(path, check, Tie::None, reason)
}

const fn tied(path: &'static str, check: Check, tie: Tie, reason: &'static str) -> Node {
    let kind = Kind::Kept(Kept { seed: Seed::Host, check, tie, may_raise: false });
    Node { path, mode: 0o644, kind, own_proc_only: is_of_the_network(path), reason }
}

/// A limit of which the operator's config may let a container raise the host's value ([`policy::config::Sysctl`]).
const fn limit(path: &'static str, check: Check, reason: &'static str) -> Node {
    let kind = Kind::Kept(Kept { seed: Seed::Host, check, tie: Tie::None, may_raise: true });
    Node { kind, ..kept(path, check, reason) }
}

/// Whether an OCI config may set it: only what is below `net` (policy::spec::sysctl) can be both that and here.
const fn is_of_the_network(path: &str) -> bool {
    matches!(path.as_bytes(), [b'/', b'p', b'r', b'o', b'c', b'/', b's', b'y', b's', b'/', b'n', b'e', b't', b'/', ..])
}

/// The kernel's own maker of random ids gives it.
fn boot_id(emulation: &Emulation) -> io::Result<Vec<u8>> {
    if let Some(made) = emulation.boot_id.get() {
        return Ok(made.clone());
    }
    let made = std::fs::read("/proc/sys/kernel/random/uuid")?;
    Ok(emulation.boot_id.get_or_init(|| made).clone())
}

#[cfg(test)]
mod tests;
