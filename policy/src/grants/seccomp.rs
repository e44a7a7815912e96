//! An engine's seccomp profile with what system software calls.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

/// Calls that a system container may make whatever the arguments.
///
/// The first lines are what Sysbox adds to Docker's default set (sysbox-runc, libsysbox/syscont/syscalls.go). Then what
/// Docker's and containerd's default profiles (moby/profiles/seccomp/default_linux.go, contrib/seccomp/seccomp_default.go) give
/// with CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_BOOT, CAP_SYS_NICE and CAP_SYS_TTY_CONFIG: the engine wrote
/// the spec for a container without them. The kernel decides on each by the container's own user namespace. Not among them is
/// what the base filter refuses, and what is the host's alone (modules, kexec, swap, the clock, accounting, raw ports).
pub const SYSTEM_CALLS: &[&str] = &[
    // Sysbox
    "add_key",
    "arch_prctl",
    "chroot",
    "clone",
    "close_range",
    "gethostname",
    "keyctl",
    "modify_ldt",
    "mount",
    "personality",
    "pivot_root",
    "request_key",
    "sethostname",
    "setns",
    "umount",
    "umount2",
    "unshare",
    // CAP_SYS_ADMIN
    "clone3",
    "fanotify_init",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "quotactl",
    "quotactl_fd",
    "setdomainname",
    // CAP_SYS_PTRACE
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    // CAP_SYS_BOOT: reboot(2) ends a pid namespace
    "reboot",
    // CAP_SYS_NICE
    "get_mempolicy",
    "mbind",
    "name_to_handle_at",
    "set_mempolicy",
    "set_mempolicy_home_node",
    // CAP_SYS_TTY_CONFIG
    "vhangup",
];

/// Calls whose rules keep their arguments: what a profile says of them is about what the argument names (the personality, the
/// family of a socket), not about a namespace or a mount.
const BY_ARGUMENT: &[&str] = &["personality", "socket"];

/// A profile that allows what it lists, with [`SYSTEM_CALLS`] among it. One that allows what it does not list is somebody's own
/// list of refusals, and stays as it is.
pub(super) fn loosened(mut profile: LinuxSeccomp) -> LinuxSeccomp {
    if !refuses(profile.default_action()) {
        return profile;
    }
    let rules = profile.syscalls().clone().unwrap_or_default();
    let by_argument = |name: &&str| BY_ARGUMENT.contains(name) && rules.iter().any(|rule| allows(rule, name));
    let given: Vec<String> =
        SYSTEM_CALLS.iter().filter(|name| !by_argument(name)).map(|&name| name.to_owned()).collect();
    let mut loosened: Vec<LinuxSyscall> = rules.into_iter().filter_map(|rule| without(rule, &given)).collect();
    let mut all = LinuxSyscall::default();
    all.set_names(given).set_action(Action::ScmpActAllow);
    loosened.push(all);
    profile.set_syscalls(Some(loosened));
    profile
}

fn refuses(action: Action) -> bool {
    matches!(
        action,
        Action::ScmpActErrno
            | Action::ScmpActKill
            | Action::ScmpActKillProcess
            | Action::ScmpActKillThread
            | Action::ScmpActTrap
    )
}

fn allows(rule: &LinuxSyscall, name: &str) -> bool {
    rule.action() == Action::ScmpActAllow && rule.names().iter().any(|listed| listed == name)
}

/// A rule without the names that are `given` now, where it refuses or allows them by argument; none when it has no other.
fn without(mut rule: LinuxSyscall, given: &[String]) -> Option<LinuxSyscall> {
    if refuses(rule.action()) || rule.action() == Action::ScmpActAllow {
        let names: Vec<String> = rule.names().iter().filter(|name| !given.contains(name)).cloned().collect();
        rule.set_names(names);
    }
    (!rule.names().is_empty()).then_some(rule)
}
