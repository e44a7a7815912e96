//! `[sysctl]`: ceilings for settings of the host's that containers want raised.
//!
//! Short on purpose. Each is a limit of the kernel's that is one for all containers, that programs refuse to work below,
//! and by which nobody is protected from anybody: more of it costs the memory of whoever uses it, as a rule accounted to
//! his group. `nf_conntrack_buckets` is none: the kernel builds a new table for each change, and holds the others up.

/// How far a container's write raises the host's own value; none: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sysctl {
    /// `nf_conntrack_max.max`: connections that are tracked, of all network namespaces; kube-proxy sets it.
    pub nf_conntrack_max: Option<u32>,
    /// `max_map_count.max`: mappings of one process; search engines and databases ask for 262144 or more.
    pub max_map_count: Option<u32>,
    /// `aio-max-nr.max`: events of asynchronous I/O, of all processes; databases reserve them by the ten thousand.
    pub aio_max_nr: Option<u32>,
    /// `inotify_max_user_watches.max`: watched files of one user. The kernel counts the containers as their maker, too.
    pub inotify_max_user_watches: Option<u32>,
    /// `inotify_max_user_instances.max`: the same for instances, of which systemd needs dozens.
    pub inotify_max_user_instances: Option<u32>,
}

impl Sysctl {
    /// Each ceiling with the path of its setting.
    pub const fn ceilings(&self) -> [(&'static str, Option<u32>); 5] {
        [
            ("/proc/sys/net/netfilter/nf_conntrack_max", self.nf_conntrack_max),
            ("/proc/sys/vm/max_map_count", self.max_map_count),
            ("/proc/sys/fs/aio-max-nr", self.aio_max_nr),
            ("/proc/sys/fs/inotify/max_user_watches", self.inotify_max_user_watches),
            ("/proc/sys/fs/inotify/max_user_instances", self.inotify_max_user_instances),
        ]
    }

    /// The ceiling of the setting at `path`.
    pub fn ceiling(&self, path: &str) -> Option<u32> {
        self.ceilings().iter().find(|(of, _)| *of == path).and_then(|(_, ceiling)| *ceiling)
    }
}
