//! Rows of the table: sysfs.

use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Check, Kept, Kind, Live, Mirror, Node, Seed, Text, Tie};
use crate::Emulation;
use crate::cpuset::mems;
use crate::render::cpus::set as cpus;

/// How long what never changes is as good as new.
pub(super) const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The host's, where it has one.
const PRODUCT_UUID: &str = "/sys/devices/virtual/dmi/id/product_uuid";

/// Every row.
pub(super) const NODES: &[Node] = &[
    Node {
        path: PRODUCT_UUID,
        mode: 0o400,
        kind: Kind::Live(Live { render: product_uuid, fresh: FOR_EVER, steady: true }),
        own_proc_only: false,
        reason: "kubeadm and others want one for each node: the host's first four groups, then 12 digits of a hash of the \
                 container's id. A host without DMI has no such place, and nothing is shown.",
    },
    Node {
        path: "/sys/module/nf_conntrack/parameters/hashsize",
        mode: 0o600,
        kind: Kind::Kept(Kept {
            seed: Seed::Host,
            check: Check::Hashsize,
            tie: Tie::Same("/proc/sys/net/netfilter/nf_conntrack_buckets"),
            may_raise: false,
        }),
        own_proc_only: false,
        reason: "kube-proxy writes it. The kernel has one table for all network namespaces, and keeps its own size.",
    },
    Node {
        path: "/sys/devices/system/cpu",
        mode: 0o555,
        kind: Kind::Mirror(Mirror {
            shows,
            files: &[
                ("online", Text::List(cpus)),
                ("possible", Text::List(cpus)),
                ("present", Text::List(cpus)),
                ("offline", Text::Made(empty_list)),
                ("isolated", Text::List(cpus)),
                ("housekeeping", Text::List(cpus)),
                ("nohz_full", Text::List(cpus)),
                ("cpu*/topology/*_list", Text::List(cpus)),
                ("cpu*/topology/*_cpus", Text::Map(cpus)),
                ("cpu*/topology/*_siblings", Text::Map(cpus)),
                ("cpu*/cache/index*/shared_cpu_list", Text::List(cpus)),
                ("cpu*/cache/index*/shared_cpu_map", Text::Map(cpus)),
            ],
            native: false,
            by_groups: true,
        }),
        own_proc_only: false,
        reason: "C libraries and language runtimes count CPUs here: only those of `/proc/cpuinfo`, by the host's numbers.",
    },
    Node {
        path: "/sys/devices/system/node",
        mode: 0o555,
        kind: Kind::Mirror(Mirror {
            shows,
            files: &[
                ("online", Text::List(mems)),
                ("possible", Text::List(mems)),
                ("has_*", Text::List(mems)),
                ("node*/cpulist", Text::List(cpus)),
                ("node*/cpumap", Text::Map(cpus)),
            ],
            native: false,
            by_groups: true,
        }),
        own_proc_only: false,
        reason: "Only the memory nodes of the container's cpuset, and its CPUs. What a node says of its memory is the host's.",
    },
    Node {
        path: "/sys/devices/system/memory",
        mode: 0o555,
        kind: Kind::Empty,
        own_proc_only: false,
        reason: "The blocks of the host's memory, which lsmem sums: without any it says that it cannot tell.",
    },
    Node {
        path: "/sys/firmware",
        mode: 0o555,
        kind: Kind::Empty,
        own_proc_only: false,
        reason: "Tables of the host's firmware: serial numbers, addresses, EFI variables. Engines mask it for containers that \
                 are not privileged; here it is empty for all.",
    },
];

fn empty_list(_: &Emulation) -> io::Result<Vec<u8>> {
    Ok(b"\n".to_vec())
}

fn product_uuid(emulation: &Emulation) -> io::Result<Vec<u8>> {
    let host = std::fs::read_to_string(PRODUCT_UUID).unwrap_or_default();
    Ok(uuid(&host, &emulation.facts.id).into_bytes())
}

/// The first four groups of the host's, zeros where that is none; then 48 bits of the hash of the id.
fn uuid(host: &str, id: &str) -> String {
    let groups = host.get(..24).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
    let groups = groups.unwrap_or("00000000-0000-0000-0000-");
    let hash = Sha256::digest(id.as_bytes());
    let own: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{groups}{own}\n")
}

/// The number of `cpu3` or `node3`.
fn number(name: &str, kind: &str) -> Option<u32> {
    let digits = name.strip_prefix(kind)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whether an entry is neither a CPU nor a memory node (or a link to one), or one of the container's. Where the set cannot be
/// read, none of them is.
fn shows(emulation: &Emulation, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(cpu) = number(name, "cpu") {
        return emulation.cpus.has(cpu, || cpus(emulation)).unwrap_or(false);
    }
    match number(name, "node") {
        Some(node) => emulation.mems.has(node, || mems(emulation)).unwrap_or(false),
        None => true,
    }
}

#[cfg(test)]
mod tests;
