//! Processes: who they are, where they run and what they may.

use serde::{Deserialize, Serialize};

use super::ContainerPath;

/// A process: the container's first, or one that is exec'd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Its size, columns and rows, when the spec gives one.
    pub console_size: Option<(u16, u16)>,
    /// Working directory inside the container.
    pub cwd: ContainerPath,
    /// Arguments; the first is the program.
    pub args: Vec<String>,
    /// Environment, `NAME=value` each.
    pub env: Vec<String>,
    /// uid inside.
    pub uid: u32,
    /// gid inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub additional_gids: Vec<u32>,
    /// umask(2), if the spec gives one.
    pub umask: Option<u32>,
    /// The five sets of capabilities(7).
    pub capabilities: Capabilities,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// setrlimit(2): resource number, soft, hard.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): class (1 real time, 2 best effort, 3 idle) and level 0-7.
    pub io_priority: Option<(u8, u8)>,
    /// sched_setaffinity(2) before an exec'd process enters the cgroup, as a list (`0-3,7`). The first process does not
    /// use it (runtime-spec, `execCPUAffinity`); its execs take it over.
    pub cpu_affinity_initial: Option<String>,
    /// sched_setaffinity(2) once an exec'd process is in the cgroup; as above.
    pub cpu_affinity_final: Option<String>,
    /// personality(2).
    pub personality: Option<u64>,
    /// AppArmor profile, with how strictly it is meant.
    pub apparmor: Option<AppArmor>,
    /// SELinux process label.
    pub selinux_label: Option<String>,
    /// The spec's seccomp profile, as its JSON; `syscall-trap` compiles it.
    pub seccomp: Option<oci_spec::runtime::LinuxSeccomp>,
}

/// An AppArmor profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppArmor {
    /// Its name.
    pub profile: String,
    /// Whether it is an engine's default one, which forbids every mount: left off where the container may mount.
    pub engine_default: bool,
}

/// The five sets of capabilities(7), bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `CapBnd`
    pub bounding: u64,
    /// `CapEff`
    pub effective: u64,
    /// `CapPrm`
    pub permitted: u64,
    /// `CapInh`
    pub inheritable: u64,
    /// `CapAmb`
    pub ambient: u64,
}

/// A resource limit of getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*` number.
    pub policy: u32,
    /// `SCHED_FLAG_*` bits.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}
