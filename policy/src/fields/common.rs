//! The rows of the properties that every platform has: `process`, `root`, `mounts`, `hooks`, and the sections of other
//! platforms.

use super::{Field, Shape, carried, harmless, is_zero, linux, refused, required};

const OTHER_PLATFORM: &str = "is for another platform; this runtime makes Linux containers";

/// The whole document.
pub const CONFIG: &[Field] = &[
    harmless("ociVersion", &Shape::Text, None),
    carried("process", &Shape::Object(PROCESS)),
    carried("root", &Shape::Object(ROOT)),
    carried("hostname", &Shape::Text),
    carried("domainname", &Shape::Text),
    carried("mounts", &Shape::List(&Shape::Object(MOUNT))),
    carried("hooks", &Shape::Object(HOOKS)),
    carried("annotations", &Shape::Map(&Shape::Text)),
    carried("linux", &Shape::Object(linux::LINUX)),
    refused("solaris", OTHER_PLATFORM, is_zero),
    refused("windows", OTHER_PLATFORM, is_zero),
    refused("vm", OTHER_PLATFORM, is_zero),
    refused("zos", OTHER_PLATFORM, is_zero),
    refused("freebsd", OTHER_PLATFORM, is_zero),
];

const ROOT: &[Field] = &[required("path", &Shape::Text), carried("readonly", &Shape::Flag)];

const MOUNT: &[Field] = &[
    required("destination", &Shape::Text),
    carried("type", &Shape::Text),
    carried("source", &Shape::Text),
    carried("options", TEXTS),
    carried("uidMappings", linux::ID_MAPPINGS),
    carried("gidMappings", linux::ID_MAPPINGS),
];

const HOOKS: &[Field] = &[
    carried("prestart", HOOK_LIST),
    carried("createRuntime", HOOK_LIST),
    carried("createContainer", HOOK_LIST),
    carried("startContainer", HOOK_LIST),
    carried("poststart", HOOK_LIST),
    carried("poststop", HOOK_LIST),
];

const HOOK_LIST: &Shape = &Shape::List(&Shape::Object(HOOK));

const HOOK: &[Field] =
    &[required("path", &Shape::Text), carried("args", TEXTS), carried("env", TEXTS), carried("timeout", &Shape::I64)];

/// `process`, also of an exec request.
pub const PROCESS: &[Field] = &[
    carried("terminal", &Shape::Flag),
    carried("consoleSize", &Shape::Object(CONSOLE_SIZE)),
    carried("user", &Shape::Object(USER)),
    carried("args", TEXTS),
    harmless("commandLine", &Shape::Text, Some("is for Windows; process.args says what runs")),
    carried("env", TEXTS),
    required("cwd", &Shape::Text),
    carried("capabilities", &Shape::Object(CAPABILITIES)),
    carried("rlimits", &Shape::List(&Shape::Object(RLIMIT))),
    carried("noNewPrivileges", &Shape::Flag),
    carried("apparmorProfile", &Shape::Text),
    carried("oomScoreAdj", &Shape::I32),
    carried("scheduler", &Shape::Object(SCHEDULER)),
    carried("selinuxLabel", &Shape::Text),
    carried("ioPriority", &Shape::Object(IO_PRIORITY)),
    carried("execCPUAffinity", &Shape::Object(CPU_AFFINITY)),
];

/// A list of strings.
pub(super) const TEXTS: &Shape = &Shape::List(&Shape::Text);

const CONSOLE_SIZE: &[Field] = &[carried("height", &Shape::U64), carried("width", &Shape::U64)];

const USER: &[Field] = &[
    carried("uid", &Shape::U32),
    carried("gid", &Shape::U32),
    carried("umask", &Shape::U32),
    carried("additionalGids", &Shape::List(&Shape::U32)),
    harmless("username", &Shape::Text, Some("is for Windows; process.user.uid says who runs")),
];

const CAPABILITIES: &[Field] = &[
    carried("bounding", CAPABILITY_SET),
    carried("effective", CAPABILITY_SET),
    carried("inheritable", CAPABILITY_SET),
    carried("permitted", CAPABILITY_SET),
    carried("ambient", CAPABILITY_SET),
];

const CAPABILITY_SET: &Shape = &Shape::List(&Shape::KnownName(&CAPABILITY_NAMES));

/// capabilities(7), each at its number.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const RLIMIT: &[Field] =
    &[required("type", &Shape::Name(&RLIMIT_NAMES)), required("hard", &Shape::U64), required("soft", &Shape::U64)];

/// getrlimit(2), each at its number on the architectures we build for (asm-generic/resource.h).
pub const RLIMIT_NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

const SCHEDULER: &[Field] = &[
    required(
        "policy",
        &Shape::Name(&[
            "SCHED_OTHER",
            "SCHED_FIFO",
            "SCHED_RR",
            "SCHED_BATCH",
            "SCHED_ISO",
            "SCHED_IDLE",
            "SCHED_DEADLINE",
        ]),
    ),
    carried("nice", &Shape::I32),
    carried("priority", &Shape::I32),
    carried(
        "flags",
        &Shape::List(&Shape::Renamed(&[
            ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
            ("SCHED_FLAG_RECLAIM", "SCHED_FLAG_RECLAIM"),
            ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
            ("SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_POLICY"),
            ("SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_KEEP_PARAMS"),
            ("SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MIN"),
            ("SCHED_FLAG_UTIL_CLAMP_MAX", "SCHED_FLAG_UTIL_CLAMP_MAX"),
        ])),
    ),
    carried("runtime", &Shape::U64),
    carried("deadline", &Shape::U64),
    carried("period", &Shape::U64),
];

const IO_PRIORITY: &[Field] = &[
    required("class", &Shape::Name(&["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"])),
    carried("priority", &Shape::I64),
];

const CPU_AFFINITY: &[Field] = &[carried("initial", CPU_LIST), carried("final", CPU_LIST)];

/// The `oci-spec` crate refuses another syntax without naming the property.
const CPU_LIST: &Shape = &Shape::CpuList;
