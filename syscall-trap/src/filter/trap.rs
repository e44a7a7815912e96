//! The trap filter: which calls of a container the shim answers, before or instead of the kernel.
//!
//! It lies between the base filter and the spec's profile, and what either refuses is refused: of several answers the kernel
//! takes the strictest, and `SECCOMP_RET_USER_NOTIF` is weaker than every refusal but `SECCOMP_RET_TRACE`, so that no trap
//! lies beneath a profile that has this ([`Program::traces`]). [`TRAPS`] is all of it; docs/syscalls.md
//! repeats the table.
//!
//! Cost: nothing on the data path is trapped. Calls that are decided by number alone, either way, leave every other call in
//! the kernel's bitmap of calls that need no run of the filter (see [`super::base`]); a call that is decided by an argument
//! runs some dozen instructions.
//!
//! Invariant: the filter looks at the bits that the kernel looks at, so a call that it lets through is one that the kernel
//! takes for what the table says of it.

use std::fmt;

use oci_spec::runtime::LinuxSeccompOperator;
use policy::Refusal;

use super::Program;
use super::abi::Abi;
use super::profile::{Call, Condition};

/// One trapped call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// The calls, by the kernel's names. An ABI need not have all of them.
    pub calls: &'static [&'static str],
    /// Which of them are meant, in words; empty: all.
    pub which: &'static str,
    /// Which of them are meant: any of these holds; empty: all.
    pub when: &'static [When],
    /// What is answered, in Markdown.
    pub answer: &'static str,
    /// Why it is here, in Markdown.
    pub reason: &'static str,
}

/// A look at one argument: its bits of `mask` are `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Its index, 0 to 5.
    pub argument: u8,
    /// The bits that count.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// Flags of mount(2) (linux/mount.h).
pub(crate) const MS_REMOUNT: u32 = 0x20;
pub(crate) const MS_BIND: u32 = 0x1000;
pub(crate) const MS_MOVE: u32 = 0x2000;
pub(crate) const MS_REC: u32 = 0x4000;
/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`.
pub(crate) const MS_PROPAGATION: u32 = 0x001e_0000;
/// Old programs put this number in the upper half, and the kernel then takes no flags from there (path_mount() of
/// fs/namespace.c).
pub(crate) const MS_MAGIC: u32 = 0xc0ed_0000;
pub(crate) const MS_MAGIC_MASK: u32 = 0xffff_0000;
/// umount2(2)
pub(crate) const MNT_DETACH: u32 = 2;
/// open_tree(2), mount_setattr(2)
pub(crate) const OPEN_TREE_CLONE: u32 = 1;
pub(crate) const AT_RECURSIVE: u32 = 0x8000;
/// The file type in the mode of mknod(2).
pub(crate) const S_IFMT: u32 = libc::S_IFMT;
pub(crate) const S_IFCHR: u32 = libc::S_IFCHR;

/// The kernel's order of deciding what a mount(2) is: remount, bind, propagation, move, new (path_mount()).
const MOUNTS: &[When] = &[
    When { argument: 3, mask: MS_REMOUNT, value: MS_REMOUNT },
    When { argument: 3, mask: MS_REMOUNT | MS_BIND | MS_REC, value: MS_BIND },
    When { argument: 3, mask: MS_REMOUNT | MS_BIND | MS_MOVE | MS_PROPAGATION, value: 0 },
    When { argument: 3, mask: MS_REMOUNT | MS_BIND | MS_MOVE | MS_MAGIC_MASK, value: MS_MAGIC },
];

/// Every trapped call.
pub const TRAPS: &[Trap] = &[
    Trap {
        calls: &["mount"],
        which: "of a new filesystem, a remount, or a bind without `MS_REC`",
        when: MOUNTS,
        answer: "proc, sysfs, remounts and plain binds are looked at; every other type is the kernel's",
        reason: "A new proc or sysfs gets the emulated files; a plain bind of a directory with locked mounts below is refused \
                 by the kernel. What makes a proc, or a part of it, read-only means the emulated files too, and those below \
                 `/proc/sys/net` have names in the container's own network namespace only. A filter cannot read the type, so \
                 every new mount is seen. Moves, changes of propagation and recursive binds are not.",
    },
    Trap {
        calls: &["umount2"],
        which: "",
        when: &[],
        answer: "locked mounts below are taken along; EBUSY for the container's own `/proc` and `/sys`; else the kernel's",
        reason: "The emulated files on a proc are mounts below it, for which the kernel answers EBUSY. To the kernel the \
                 container's own `/proc` is a mount of the host's: EINVAL.",
    },
    Trap {
        calls: &["umount"],
        which: "",
        when: &[],
        answer: "as `umount2` without flags",
        reason: "The old umount of 32-bit x86.",
    },
    Trap {
        calls: &["fsopen"],
        which: "",
        when: &[],
        answer: "ENOSYS for proc and sysfs; else the kernel's",
        reason: "The mount of such a context could not be given back; tools then take mount(2), which is served.",
    },
    Trap {
        calls: &["open_tree", "open_tree_attr"],
        which: "but with both `OPEN_TREE_CLONE` and `AT_RECURSIVE`",
        when: &[
            When { argument: 2, mask: OPEN_TREE_CLONE, value: 0 },
            When { argument: 2, mask: AT_RECURSIVE, value: 0 },
        ],
        answer: "ENOSYS for a clone that the kernel refuses for locked mounts below, and for a proc, a sysfs or a tmpfs whose \
                 remount is served; else the kernel's",
        reason: "A plain bind and a remount begin so, by the new calls; tools then take mount(2), which is served. After \
                 fspick(2) util-linux knows no way back, so this is where it is led away.",
    },
    Trap {
        calls: &["mount_setattr"],
        which: "without `AT_RECURSIVE`",
        when: &[When { argument: 2, mask: AT_RECURSIVE, value: 0 }],
        answer: "what makes a mount of a proc, a sysfs or a part of one read-only or writable is done, and to the emulated files \
                 on it, too; else the kernel's",
        reason: "The emulated files are mounts of their own, and would stay writable: so crun (1.28) makes the `/proc/sys` of its \
                 containers read-only.",
    },
    Trap {
        calls: &["mknod"],
        which: "of a character device",
        when: &[When { argument: 1, mask: S_IFMT, value: S_IFCHR }],
        answer: "harmless devices are made, and of the console the container's own, or null where it has none; else the \
                 kernel's",
        reason: "The kernel lets no root of a user namespace make a device, not even null.",
    },
    Trap {
        calls: &["mknodat"],
        which: "of a character device",
        when: &[When { argument: 2, mask: S_IFMT, value: S_IFCHR }],
        answer: "as `mknod`",
        reason: "As `mknod`.",
    },
    Trap {
        calls: &["bpf"],
        which: "",
        when: &[],
        answer: "cgroup device programs are loaded, attached below the container's own group, detached, asked for; else EPERM",
        reason: "The kernel lets no root of a user namespace load one, and cgroup v2 limits devices by nothing else. Where the \
                 base filter refuses the call ([security-model.md](security-model.md)), it does so before.",
    },
    Trap {
        calls: &["sysinfo"],
        which: "",
        when: &[],
        answer: "the numbers of the emulated `meminfo`, `loadavg` and `uptime` ([emulation.md](emulation.md)): memory and swap within the \
                 limits of the caller's container and of the groups above it, its own load, uptime and tasks",
        reason: "The kernel tells of the whole host, whatever the cgroup and the time namespace.",
    },
];

/// The row as docs/syscalls.md has it.
impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(|call| format!("`{call}`")).collect();
        let space = if self.which.is_empty() { "" } else { " " };
        write!(f, "| {}{space}{} | {} | {} |", calls.join(", "), self.which, self.answer, self.reason)
    }
}

/// The program for this host. It makes a listener ([`crate::sys::listen`]).
///
/// # Errors
/// None that a test would not have shown: the table is too large for the kernel.
pub fn trap() -> Result<Program, Refusal> {
    trap_for(Abi::HOST)
}

/// [`trap`] for the kernel whose native ABI is `native`.
pub(super) fn trap_for(native: Abi) -> Result<Program, Refusal> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    super::of_table(native, TRAPS.iter().map(call).collect(), flags)
}

fn call(trap: &Trap) -> Call {
    let condition = |when: &When| Condition {
        argument: when.argument,
        op: LinuxSeccompOperator::ScmpCmpMaskedEq,
        value: u64::from(when.value),
        mask: u64::from(when.mask),
    };
    let always = trap.when.is_empty().then(Vec::new);
    Call {
        field: "trap filter".to_owned(),
        names: trap.calls.iter().map(|&name| name.to_owned()).collect(),
        action: libc::SECCOMP_RET_USER_NOTIF,
        alternatives: always.into_iter().chain(trap.when.iter().map(|when| vec![condition(when)])).collect(),
    }
}

/// A trapped call's name, and how its ABI passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trapped {
    pub(crate) name: &'static str,
    /// Whether `long` has 64 bits in what the kernel writes, and arguments count in full: x32 shares the calls of x86-64
    /// here (arch/x86/entry/syscalls/syscall_64.tbl has them as `common`).
    pub(crate) wide: bool,
}

/// The trapped call with this `seccomp_data.arch` and `nr`, on the kernel whose native ABI is `native`; none for any other.
pub(crate) fn trapped_for(native: Abi, arch: u32, nr: u32) -> Option<Trapped> {
    let abis = Abi::family(native).iter().filter(|abi| abi.audit_arch() == arch);
    let mut names = abis.flat_map(|&abi| TRAPS.iter().flat_map(|trap| trap.calls).map(move |&name| (abi, name)));
    names
        .find(|&(abi, name)| abi.number(name) == Some(nr))
        .map(|(abi, name)| Trapped { name, wide: !matches!(abi, Abi::I386 | Abi::Arm) })
}
