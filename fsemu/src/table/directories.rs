//! Rows of the table: directories of the kernel's in which most is emulated, each bound as a whole.
//!
//! A mount for each file in them would cost every new procfs so many more. The rows with paths below show as they are, and
//! whatever else this kernel has there shows as the host has it, for anybody to read who may read it on the host, and for nobody to
//! write. So they are directories in which no namespace has anything of its own.

use super::{Kind, Mirror, Node};

/// See the module.
pub(super) const NODES: &[Node] = &[
    directory("/proc/pressure", true),
    directory("/proc/sys/kernel/keys", false),
    directory("/proc/sys/vm", false),
    directory("/proc/sys/fs/inotify", false),
    directory("/proc/sys/fs/fanotify", false),
    directory("/proc/sys/fs/epoll", false),
];

/// A directory with rows that go by groups, or with none that do.
const fn directory(path: &'static str, by_groups: bool) -> Node {
    let kind = Kind::Mirror(Mirror { shows: |_, _| true, files: &[], native: true, by_groups });
    let reason = "One mount for the rows below it; whatever else is in it is the host's, as the host's root owns it.";
    Node { path, mode: 0o555, kind, own_proc_only: false, reason }
}

/// Whether a path lies right in one of them.
pub(super) fn has(path: &str) -> bool {
    NODES.iter().any(|node| node.entry(path).is_some())
}

#[cfg(test)]
mod tests {
    use crate::table::{Kind, Part, nodes, tops};

    #[test]
    fn what_is_in_a_directory_is_served_with_it_and_is_no_mount() {
        for directory in super::NODES {
            let within: Vec<_> = nodes().filter(|node| directory.entry(node.path).is_some()).collect();
            assert!(!within.is_empty(), "{}", directory.path);
            assert!(tops().any(|top| top.path == directory.path));
            for node in within {
                assert!(!matches!(node.kind, Kind::Mirror(_)), "{}", node.path);
                assert_eq!((node.part(), directory.part()), (Part::Direct, Part::Direct), "{}", node.path);
                assert_eq!(node.goes_by_groups(), directory.goes_by_groups(), "{}", node.path);
                assert!(!node.own_proc_only && !tops().any(|top| top.path == node.path), "{}", node.path);
            }
        }
        let tops: Vec<_> = tops().map(|top| top.path).collect();
        assert!(tops.contains(&"/proc/sys/kernel/panic") && tops.contains(&"/proc/vmstat"));
        // Nothing lies deeper in one of them.
        for node in nodes().filter(|node| !tops.contains(&node.path)) {
            assert!(super::has(node.path), "{}", node.path);
        }
    }
}
