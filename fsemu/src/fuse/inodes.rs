//! Inode numbers: 1 is the root, the nodes follow in their order, and what lies below a mirrored directory gets the
//! next free number for as long as the kernel refers to it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::Snapshot;
use crate::table::Node;

/// The root directory, `FUSE_ROOT_ID`.
pub(super) const ROOT: u64 = 1;
const FIRST: u64 = 2;

/// What an inode stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Root,
    /// The node of this index.
    Node(usize),
    /// What lies below the mirrored directory of this index.
    Below(usize, PathBuf),
}

/// The inodes that the kernel may name, and the texts it knows.
#[derive(Debug)]
pub(super) struct Inodes {
    pub(super) nodes: Vec<&'static Node>,
    names: HashMap<Vec<u8>, usize>,
    below: HashMap<u64, Below>,
    numbers: HashMap<(usize, PathBuf), u64>,
    next: u64,
    /// The last text of each file.
    pub(super) texts: HashMap<u64, Arc<Snapshot>>,
}

#[derive(Debug)]
struct Below {
    node: usize,
    path: PathBuf,
    /// References of the kernel's.
    lookups: u64,
}

impl Inodes {
    pub(super) fn new(nodes: Vec<&'static Node>) -> Self {
        let names = nodes.iter().enumerate().map(|(index, node)| (node.name().into_bytes(), index)).collect();
        let next = FIRST + u64::try_from(nodes.len()).unwrap_or(0);
        Self { nodes, names, below: HashMap::new(), numbers: HashMap::new(), next, texts: HashMap::new() }
    }

    /// What the number stands for. None for one that the kernel was never told, or has forgotten.
    pub(super) fn place(&self, inode: u64) -> Option<Place> {
        if inode == ROOT {
            return Some(Place::Root);
        }
        let index = usize::try_from(inode.checked_sub(FIRST)?).ok()?;
        if index < self.nodes.len() {
            return Some(Place::Node(index));
        }
        let below = self.below.get(&inode)?;
        Some(Place::Below(below.node, below.path.clone()))
    }

    /// The node that bears this name in the root directory.
    pub(super) fn named(&self, name: &[u8]) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn of_node(index: usize) -> u64 {
        FIRST + u64::try_from(index).unwrap_or(0)
    }

    /// The number for a directory's listing: 0xffffffff for what the kernel does not refer to, as libfuse has it.
    pub(super) fn number(&self, place: &Place) -> u64 {
        match place {
            Place::Root => ROOT,
            Place::Node(index) => Self::of_node(*index),
            Place::Below(index, path) => {
                self.numbers.get(&(*index, path.clone())).copied().unwrap_or(u64::from(u32::MAX))
            }
        }
    }

    /// The number of what lies below a mirrored directory, with one reference of the kernel's more.
    pub(super) fn refer(&mut self, node: usize, path: PathBuf) -> u64 {
        let inode = *self.numbers.entry((node, path.clone())).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        self.below.entry(inode).or_insert(Below { node, path, lookups: 0 }).lookups += 1;
        inode
    }

    /// Takes references back.
    pub(super) fn forget(&mut self, inode: u64, count: u64) {
        let Some(below) = self.below.get_mut(&inode) else { return };
        below.lookups = below.lookups.saturating_sub(count);
        if below.lookups == 0
            && let Some(below) = self.below.remove(&inode)
        {
            self.numbers.remove(&(below.node, below.path));
            self.texts.remove(&inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lives_as_long_as_the_kernel_refers_to_it() {
        let mut inodes = Inodes::new(Vec::new());
        let one = inodes.refer(0, "a".into());
        assert_eq!(inodes.refer(0, "a".into()), one);
        let two = inodes.refer(0, "b".into());
        assert_ne!(one, two);
        inodes.forget(one, 1);
        assert_eq!(inodes.place(one), Some(Place::Below(0, "a".into())));
        inodes.forget(one, 1);
        assert_eq!(inodes.place(one), None);
        assert!(inodes.refer(0, "a".into()) > two, "numbers are not used again");
        inodes.forget(two, u64::MAX);
        inodes.forget(two, 1);
        inodes.forget(ROOT, 7);
        assert_eq!((inodes.place(two), inodes.place(ROOT)), (None, Some(Place::Root)));
    }
}
