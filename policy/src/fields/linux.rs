//! The rows of `linux`.

use serde_json::Value;

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

const RESOURCES: &[Field] = &[
    carried("devices", &Shape::List(&Shape::Object(DEVICE_RULE))),
    carried("memory", &Shape::Object(MEMORY)),
    carried("cpu", &Shape::Object(CPU)),
    carried("pids", &Shape::Object(&[carried("limit", &Shape::I64)])),
    // dockerd sends {"weight": 0} and empty lists with every container.
    refused("blockIO", NOT_YET, is_zero),
    // The kubelet sends every page size of the node with limit 0, which few hosts have pages for anyway; that it is not
    // enforced yet goes to the log.
    refused("hugepageLimits", NOT_YET, sets_no_huge_pages),
    refused("network", NOT_YET, is_zero),
    refused("rdma", NOT_YET, has_no_entries),
    refused("unified", NOT_YET, has_no_entries),
];

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
    refused("kernelTCP", NOT_YET, is_no_limit),
    carried("swappiness", &Shape::U64),
    carried("disableOOMKiller", &Shape::Flag),
    harmless("useHierarchy", &Shape::Flag, None),
    // A new group uses no memory that a limit could be below.
    harmless("checkBeforeUpdate", &Shape::Flag, None),
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

/// Whether a list of huge page limits has limits of 0 alone.
fn sets_no_huge_pages(value: &Value) -> bool {
    match value {
        Value::Array(limits) => limits.iter().all(|limit| limit.get("limit").is_none_or(is_zero)),
        other => is_zero(other),
    }
}
