//! Namespaces that a container has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The kinds of namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// mount_namespaces(7)
    Mount,
    /// pid_namespaces(7)
    Pid,
    /// ipc_namespaces(7)
    Ipc,
    /// uts_namespaces(7)
    Uts,
    /// network_namespaces(7)
    Network,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
}

impl NamespaceKind {
    /// Every kind, in the order in which a plan lists them.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Pid, Self::Ipc, Self::Uts, Self::Network, Self::Cgroup, Self::Time];
}

impl std::fmt::Display for NamespaceKind {
    /// The name that the runtime spec gives it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        })
    }
}

/// One namespace of the container: made new, or joined by a path of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceWish {
    /// Its kind; each kind occurs once.
    pub kind: NamespaceKind,
    /// The path to join, as the spec gives it; none for a new one (also where the spec leaves the kind out).
    pub path: Option<PathBuf>,
    /// Whether the spec names the kind at all; see [`crate::namespaces`] for what it means that it does not.
    pub named: bool,
}
