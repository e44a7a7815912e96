//! Every key of the config, in the order of the file.

use std::ops::RangeInclusive;

use super::Config;
use super::setting::Setting;

/// A key.
pub struct Key {
    /// Its table and its name, which may be that of a key in a table of its own: `ranges.first`, `sysctl.nf_conntrack_max.max`.
    pub path: &'static str,
    /// What it decides, in one line of Markdown.
    pub meaning: &'static str,
    /// What holds where no file names it.
    pub default: &'static str,
    /// The numbers that it takes, if it is one.
    pub(super) bounds: RangeInclusive<u32>,
    /// Whether it is about the host as a whole, so that no runtime of its own can change it.
    pub host_only: bool,
    /// Where its value is.
    pub(super) field: fn(&mut Config) -> &mut dyn Setting,
}

/// A key that every runtime may have its own value of.
const PER_RUNTIME: Key = Key {
    path: "",
    meaning: "",
    default: "",
    bounds: 0..=u32::MAX,
    host_only: false,
    field: |config| &mut config.container.io_uring,
};

/// How far a setting of the host's may be raised. The kernel holds each of them in an `int`, or takes no more than one has.
const CEILING: Key = Key { default: "never", bounds: 1..=0x7fff_ffff, ..PER_RUNTIME };

/// Every key.
pub const KEYS: &[Key] = &[
    Key {
        path: "ranges.first",
        meaning: "The first host id of the pool of id ranges.",
        default: "what `/etc/subuid` and `/etc/subgid` give to `eci`, else 100000",
        bounds: 65536..=u32::MAX,
        host_only: true,
        field: |config| &mut config.ranges.first,
    },
    Key {
        path: "ranges.count",
        meaning: "How many ranges of 65536 ids the pool has.",
        default: "what `/etc/subuid` and `/etc/subgid` give to `eci`, else 4096",
        bounds: 1..=u32::MAX,
        host_only: true,
        field: |config| &mut config.ranges.count,
    },
    Key {
        path: "container.grants",
        meaning: "What a plain container gets: what its spec says, or what system software needs (every capability inside, \
                  writable `/proc/sys`, `/sys` and cgroup tree).",
        default: "\"spec\"",
        field: |config| &mut config.container.grants,
        ..PER_RUNTIME
    },
    Key {
        path: "container.io_uring",
        meaning: "Whether containers may use io_uring, whose operations no seccomp filter sees.",
        default: "false",
        field: |config| &mut config.container.io_uring,
        ..PER_RUNTIME
    },
    Key {
        path: "container.max_user_namespaces",
        meaning: "How many user namespaces a container may have at a time, of all its users and at any depth; 0: none.",
        default: "the kernel's own limit",
        bounds: 0..=0x7fff_fffe,
        field: |config| &mut config.container.max_user_namespaces,
        ..PER_RUNTIME
    },
    Key {
        path: "namespaces.missing",
        meaning: "What a spec means that leaves out its pid, ipc, uts or network namespace: the host's, which is refused, or \
                  one of its own.",
        default: "\"refuse\"",
        field: |config| &mut config.namespaces.missing,
        ..PER_RUNTIME
    },
    Key {
        path: "mounts.shared",
        meaning: "The only directories of the host that may be bound into containers.",
        default: "everything that is not restricted",
        field: |config| &mut config.mounts.shared,
        ..PER_RUNTIME
    },
    Key {
        path: "mounts.restricted",
        meaning: "Files and directories of the host that may not be bound, besides those that never may.",
        default: "none",
        field: |config| &mut config.mounts.restricted,
        ..PER_RUNTIME
    },
    Key {
        path: "mounts.ancestors",
        meaning: "What becomes of a bind that would bring something restricted along below it: it is refused, or the \
                  restricted part is covered.",
        default: "\"refuse\"",
        field: |config| &mut config.mounts.ancestors,
        ..PER_RUNTIME
    },
    Key {
        path: "mounts.unmappable",
        meaning: "What becomes of a bind from a filesystem that takes no id map (FUSE, NFS, 9p, overlay): it is refused, or \
                  bound as it is, and owners outside the container's range show as 65534.",
        default: "\"refuse\"",
        field: |config| &mut config.mounts.unmappable,
        ..PER_RUNTIME
    },
    Key {
        path: "devices.privileged",
        meaning: "Devices of the host that a privileged container gets besides the harmless ones.",
        default: "[\"/dev/fuse\", \"/dev/net/tun\"]",
        field: |config| &mut config.devices.privileged,
        ..PER_RUNTIME
    },
    Key {
        path: "sysctl.nf_conntrack_max.max",
        meaning: "Up to where `/proc/sys/net/netfilter/nf_conntrack_max` of the host is raised when a container sets it.",
        field: |config| &mut config.sysctl.nf_conntrack_max,
        ..CEILING
    },
    Key {
        path: "sysctl.max_map_count.max",
        meaning: "Up to where `/proc/sys/vm/max_map_count` of the host is raised when a container sets it.",
        field: |config| &mut config.sysctl.max_map_count,
        ..CEILING
    },
    Key {
        path: "sysctl.aio-max-nr.max",
        meaning: "Up to where `/proc/sys/fs/aio-max-nr` of the host is raised when a container sets it.",
        field: |config| &mut config.sysctl.aio_max_nr,
        ..CEILING
    },
    Key {
        path: "sysctl.inotify_max_user_watches.max",
        meaning: "Up to where `/proc/sys/fs/inotify/max_user_watches` of the host is raised when a container sets it.",
        field: |config| &mut config.sysctl.inotify_max_user_watches,
        ..CEILING
    },
    Key {
        path: "sysctl.inotify_max_user_instances.max",
        meaning: "Up to where `/proc/sys/fs/inotify/max_user_instances` of the host is raised when a container sets it.",
        field: |config| &mut config.sysctl.inotify_max_user_instances,
        ..CEILING
    },
];

impl Key {
    /// Its table: `ranges`.
    pub fn table(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(table, _)| table)
    }

    /// Its name in its table: `first`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }

    /// What values it takes, in words.
    pub fn kind(&self) -> String {
        (self.field)(&mut Config::default()).kind(self)
    }
}

/// What stands directly below `path` (`""`: the tables), by its whole path, in the order of the file.
pub(super) fn below(path: &str) -> Vec<&'static str> {
    let start = if path.is_empty() { 0 } else { path.len() + 1 };
    let below = |key: &&Key| path.is_empty() || key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let end = |key: &'static str| key[start..].find('.').map_or(key.len(), |length| start + length);
    let mut names: Vec<_> = KEYS.iter().filter(below).map(|key| &key.path[..end(key.path)]).collect();
    names.dedup();
    names
}

/// The whole config as a file says it.
pub(super) fn show(mut config: Config) -> String {
    let mut text = String::new();
    for table in below("") {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("[{table}]\n");
        for key in KEYS.iter().filter(|key| key.table() == table) {
            text += &match (key.field)(&mut config).show() {
                Some(value) => format!("{} = {value}\n", key.name()),
                None => format!("# {}: {}\n", key.name(), key.default),
            };
        }
    }
    text
}
