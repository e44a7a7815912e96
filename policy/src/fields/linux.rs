//! The rows of `linux`.

use super::common::TEXTS;
use super::{Field, Shape, carried, harmless, has_no_entries, is_no_limit, is_zero, refused, required, seccomp};

const NOT_YET: &str = "is not implemented yet";

/// `linux`
pub const LINUX: &[Field] = &[
    carried("uidMappings", ID_MAPPINGS),
    carried("gidMappings", ID_MAPPINGS),
    carried("sysctl", &Shape::Map(&Shape::Text)),
    carried("resources", &Shape::Object(RESOURCES)),
    carried("cgroupsPath", &Shape::Text),
    carried("namespaces", &Shape::List(&Shape::Object(NAMESPACE))),
    carried("devices", &Shape::List(&Shape::Object(DEVICE))),
    refused("netDevices", NOT_YET, has_no_entries),
    carried("seccomp", &Shape::Object(seccomp::SECCOMP)),
    carried("rootfsPropagation", &Shape::Text),
    carried("maskedPaths", TEXTS),
    carried("readonlyPaths", TEXTS),
    carried("mountLabel", &Shape::Text),
    refused("intelRdt", NOT_YET, is_zero),
    refused("memoryPolicy", NOT_YET, is_zero),
    carried("personality", &Shape::Object(PERSONALITY)),
    refused("timeOffsets", NOT_YET, is_zero),
];

/// A list of id mappings.
pub(super) const ID_MAPPINGS: &Shape = &Shape::List(&Shape::Object(ID_MAPPING));

const ID_MAPPING: &[Field] =
    &[carried("containerID", &Shape::U32), carried("hostID", &Shape::U32), carried("size", &Shape::U32)];

const NAMESPACE: &[Field] = &[
    required("type", &Shape::Name(&["user", "mount", "pid", "ipc", "uts", "network", "cgroup", "time"])),
    carried("path", &Shape::Text),
];

const DEVICE: &[Field] = &[
    required("path", &Shape::Text),
    required("type", &Shape::Name(&["c", "b", "u", "p"])),
    carried("major", &Shape::I64),
    carried("minor", &Shape::I64),
    carried("fileMode", &Shape::U32),
    carried("uid", &Shape::U32),
    carried("gid", &Shape::U32),
];

const PERSONALITY: &[Field] = &[
    carried("domain", &Shape::NameOrEmpty(&["LINUX", "LINUX32"])),
    // The specification has the list but no name for it yet.
    refused("flags", "no flag is known", has_no_entries),
];

/// `linux.resources`, also of an update.
pub const RESOURCES: &[Field] = &[
    carried("devices", &Shape::List(&Shape::Object(DEVICE_RULE))),
    carried("memory", &Shape::Object(MEMORY)),
    carried("cpu", &Shape::Object(CPU)),
    carried("pids", &Shape::Object(&[carried("limit", &Shape::I64)])),
    carried("blockIO", &Shape::Object(BLOCK_IO)),
    carried("hugepageLimits", &Shape::List(&Shape::Object(HUGEPAGE_LIMIT))),
    carried("network", &Shape::Object(NETWORK)),
    carried("rdma", &Shape::Map(&Shape::Object(RDMA))),
    carried("unified", &Shape::Map(&Shape::Text)),
];

const BLOCK_IO: &[Field] = &[
    carried("weight", &Shape::U16),
    refused("leafWeight", NO_LEAF_WEIGHT, is_zero),
    carried("weightDevice", &Shape::List(&Shape::Object(WEIGHT_DEVICE))),
    carried("throttleReadBpsDevice", THROTTLE_DEVICES),
    carried("throttleWriteBpsDevice", THROTTLE_DEVICES),
    carried("throttleReadIOPSDevice", THROTTLE_DEVICES),
    carried("throttleWriteIOPSDevice", THROTTLE_DEVICES),
];

const NO_LEAF_WEIGHT: &str = "was the CFQ scheduler's, which the kernel has no more since 5.0";

const WEIGHT_DEVICE: &[Field] = &[
    required("major", &Shape::U32),
    required("minor", &Shape::U32),
    carried("weight", &Shape::U16),
    refused("leafWeight", NO_LEAF_WEIGHT, is_zero),
];

const THROTTLE_DEVICES: &Shape = &Shape::List(&Shape::Object(&[
    required("major", &Shape::U32),
    required("minor", &Shape::U32),
    required("rate", &Shape::U64),
]));

const HUGEPAGE_LIMIT: &[Field] =
    &[required("pageSize", &Shape::Text), required("limit", &Shape::Whole(0, i64::MAX as i128))];

const NETWORK: &[Field] = &[
    carried("classID", &Shape::U32),
    carried(
        "priorities",
        &Shape::List(&Shape::Object(&[required("name", &Shape::Text), required("priority", &Shape::U32)])),
    ),
];

const RDMA: &[Field] = &[carried("hcaHandles", &Shape::U32), carried("hcaObjects", &Shape::U32)];

const DEVICE_RULE: &[Field] = &[
    carried("allow", &Shape::Flag),
    carried("type", &Shape::NameOrEmpty(&["a", "c", "b"])),
    carried("major", &Shape::I64),
    carried("minor", &Shape::I64),
    carried("access", &Shape::Text),
];

const MEMORY: &[Field] = &[
    carried("limit", &Shape::I64),
    carried("reservation", &Shape::I64),
    carried("swap", &Shape::I64),
    refused("kernel", "the kernel has no such limit since 5.16", is_no_limit),
    // The same buffers count for memory.limit on cgroup v2. runc drops both of these without an effect.
    refused("kernelTCP", "is obsolete: the kernel deprecates this limit, and cgroup v2 has none", is_no_limit),
    carried("swappiness", &Shape::U64),
    carried("disableOOMKiller", &Shape::Flag),
    harmless("useHierarchy", &Shape::Flag, None),
    carried("checkBeforeUpdate", &Shape::Flag),
];

const CPU: &[Field] = &[
    carried("shares", &Shape::U64),
    carried("quota", &Shape::I64),
    carried("burst", &Shape::U64),
    carried("period", &Shape::U64),
    carried("realtimeRuntime", &Shape::I64),
    carried("realtimePeriod", &Shape::U64),
    carried("cpus", &Shape::Text),
    carried("mems", &Shape::Text),
    carried("idle", &Shape::I64),
];
