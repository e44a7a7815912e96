//! Inode numbers: 1 is the root, the nodes follow in their order, then for each view (by its number) its nodes and its directory.
//! What lies below a mirrored directory gets the next free number above [`BELOW`] for as long as the kernel refers to it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::Snapshot;
use crate::table::Node;

/// The root directory, `FUSE_ROOT_ID`.
pub(super) const ROOT: u64 = 1;
const FIRST: u64 = 2;
/// As many views as a container makes in its life have their inodes below.
const BELOW: u64 = 1 << 48;

/// What an inode stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Root,
    /// The directory of the view of this number.
    View(u64),
    /// The node of this index.
    Node(Index),
    /// What lies below the mirrored directory of this index.
    Below(Index, PathBuf),
}

/// Which node it is, and of which view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Index {
    /// Its number; 0 for the container's own.
    pub(super) view: u64,
    /// In the order of the nodes.
    node: usize,
}

/// The inodes that the kernel may name, and the texts it knows.
#[derive(Debug)]
pub(super) struct Inodes {
    nodes: Vec<&'static Node>,
    /// The nodes by their directory, none for the root, and their name in it.
    names: HashMap<(Option<usize>, Vec<u8>), usize>,
    below: HashMap<u64, Below>,
    numbers: HashMap<(Index, PathBuf), u64>,
    next: u64,
    /// The last text of each file.
    pub(super) texts: HashMap<u64, Arc<Snapshot>>,
}

#[derive(Debug)]
struct Below {
    node: Index,
    path: PathBuf,
    /// References of the kernel's.
    lookups: u64,
}

impl Inodes {
    pub(super) fn new(nodes: Vec<&'static Node>) -> Self {
        let directories: Vec<_> = nodes.iter().enumerate().filter(|(_, node)| node.holds_rows()).collect();
        let place = |node: &Node| {
            let within = directories.iter().find_map(|(index, it)| Some((Some(*index), it.entry(node.path)?.into())));
            within.unwrap_or_else(|| (None, node.name().into_bytes()))
        };
        let names = nodes.iter().enumerate().map(|(index, node)| (place(node), index)).collect();
        Self { nodes, names, below: HashMap::new(), numbers: HashMap::new(), next: BELOW, texts: HashMap::new() }
    }

    /// What the number stands for. None for one that the kernel was never told, or has forgotten.
    pub(super) fn place(&self, inode: u64) -> Option<Place> {
        if inode == ROOT {
            return Some(Place::Root);
        }
        if inode >= BELOW {
            let below = self.below.get(&inode)?;
            return Some(Place::Below(below.node, below.path.clone()));
        }
        let (view, slot) = (inode.checked_sub(FIRST)? / self.stride(), inode.checked_sub(FIRST)? % self.stride());
        let index = Index { view, node: usize::try_from(slot).ok()? };
        match self.node(index) {
            Some(node) if view == 0 || node.goes_by_groups() => Some(Place::Node(index)),
            // The last one is the directory's.
            None if view > 0 => Some(Place::View(view)),
            _ => None,
        }
    }

    /// How many numbers a view has.
    fn stride(&self) -> u64 {
        u64::try_from(self.nodes.len()).unwrap_or(0) + 1
    }

    pub(super) fn node(&self, index: Index) -> Option<&'static Node> {
        self.nodes.get(index.node).copied()
    }

    /// The node that bears this name in the directory of a view, or (0) in the root.
    pub(super) fn named(&self, view: u64, name: &[u8]) -> Option<Index> {
        self.find(view, (None, name.to_vec()))
    }

    /// The node that bears this name in the directory of another one.
    pub(super) fn within(&self, directory: Index, name: &[u8]) -> Option<Index> {
        self.find(directory.view, (Some(directory.node), name.to_vec()))
    }

    fn find(&self, view: u64, name: (Option<usize>, Vec<u8>)) -> Option<Index> {
        let index = Index { view, node: *self.names.get(&name)? };
        (view == 0 || self.node(index)?.goes_by_groups()).then_some(index)
    }

    /// What the directory of a view, or (0) the root, lists.
    pub(super) fn all(&self, view: u64) -> impl Iterator<Item = (Index, &'static Node)> {
        let all = self.nodes.iter().enumerate().map(move |(node, it)| (Index { view, node }, *it));
        all.filter(move |(index, node)| self.named(view, node.name().as_bytes()) == Some(*index))
    }

    fn of_node(&self, Index { view, node }: Index) -> u64 {
        let first = view.saturating_mul(self.stride()).saturating_add(FIRST);
        first.saturating_add(u64::try_from(node).unwrap_or(0)).min(BELOW - 1)
    }

    /// The number for a directory's listing: 0xffffffff for what the kernel does not refer to, as libfuse has it.
    pub(super) fn number(&self, place: &Place) -> u64 {
        match place {
            Place::Root => ROOT,
            Place::View(view) => self.of_node(Index { view: *view, node: self.nodes.len() }),
            Place::Node(index) => self.of_node(*index),
            Place::Below(index, path) => {
                self.numbers.get(&(*index, path.clone())).copied().unwrap_or(u64::from(u32::MAX))
            }
        }
    }

    /// The number of what lies below a mirrored directory, with one reference of the kernel's more.
    pub(super) fn refer(&mut self, node: Index, path: PathBuf) -> u64 {
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

    /// Drops the texts of the views that are not `kept`: nobody else would.
    pub(super) fn keep_views(&mut self, kept: impl Fn(u64) -> bool) {
        let mut texts = std::mem::take(&mut self.texts);
        texts.retain(|inode, _| match self.place(*inode) {
            Some(Place::Node(index) | Place::Below(index, _)) => index.view == 0 || kept(index.view),
            _ => false,
        });
        self.texts = texts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lives_as_long_as_the_kernel_refers_to_it() {
        let mut inodes = Inodes::new(Vec::new());
        let node = Index { view: 0, node: 0 };
        let one = inodes.refer(node, "a".into());
        assert_eq!(inodes.refer(node, "a".into()), one);
        let two = inodes.refer(node, "b".into());
        assert_ne!(one, two);
        inodes.forget(one, 1);
        assert_eq!(inodes.place(one), Some(Place::Below(node, "a".into())));
        inodes.forget(one, 1);
        assert_eq!(inodes.place(one), None);
        assert!(inodes.refer(node, "a".into()) > two, "numbers are not used again");
        inodes.forget(two, u64::MAX);
        inodes.forget(two, 1);
        inodes.forget(ROOT, 7);
        assert_eq!((inodes.place(two), inodes.place(ROOT)), (None, Some(Place::Root)));
    }

    #[test]
    fn a_view_has_numbers_of_its_own_for_what_goes_by_groups() {
        let inodes = Inodes::new(crate::table::nodes().collect());
        for view in [0, 1, 7, 1 << 32] {
            for (index, node) in inodes.all(view) {
                let place = Place::Node(index);
                assert_eq!(inodes.place(inodes.number(&place)), Some(place), "{} of {view}", node.path);
                assert_eq!(inodes.named(view, node.name().as_bytes()), Some(index));
            }
        }
        let view = inodes.number(&Place::View(7));
        assert_eq!(inodes.place(view), Some(Place::View(7)));
        let panic = b"proc.sys.kernel.panic";
        assert!(inodes.named(0, panic).is_some() && inodes.named(7, panic).is_none());
        let wrong = inodes.of_node(Index { view: 7, ..inodes.named(0, panic).unwrap() });
        assert_eq!(inodes.place(wrong), None, "of a view, and not by groups");
    }
}
