//! The table of emulated nodes: what is shown in place of the kernel's own file, and why.
//!
//! Each row is one [`Node`]. docs/emulation.md is made of this table; a test holds them together.

mod directories;
mod resources;
mod row;
mod sysctl;
mod sysfs;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::Emulation;

/// One emulated file or directory.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Where it shows, absolute, below `/proc` or `/sys`.
    pub path: &'static str,
    /// Permission bits. The owner is the container's root.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it stays away from the procfs of an inner container: an OCI config may set it there, and a runtime
    /// refuses to write to a file that is a mount of its own (openat2(2), `RESOLVE_NO_XDEV`).
    pub own_proc_only: bool,
    /// Why it is not the kernel's own, in Markdown.
    pub reason: &'static str,
}

/// What a node is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A file whose text is made at each reading, no more often than `fresh`.
    Live(Live),
    /// A value of the container's own: a sysctl, or what looks like one.
    Kept(Kept),
    /// A directory with nothing in it.
    Empty,
    /// A directory of the host's, seen through a filter, read-only but for the rows in it.
    Mirror(Mirror),
}

/// See [`Kind::Live`].
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// Makes the text.
    pub render: crate::render::Render,
    /// For how long it is as good as new: the value's own resolution.
    pub fresh: Duration,
    /// Whether its length hardly ever changes, so that it is served from the page cache.
    pub steady: bool,
}

/// See [`Kind::Kept`].
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// What it is before it is written.
    pub seed: Seed,
    /// What the kernel takes, and how it shows it.
    pub check: Check,
    /// What a write changes besides.
    pub tie: Tie,
    /// Whether [`crate::Raise`] is told of it: the operator's config may have a ceiling for the host's value
    /// ([`policy::config::Sysctl`]).
    pub may_raise: bool,
}

/// How one value hangs on another, which is named by its node's path.
#[derive(Debug, Clone, Copy)]
pub enum Tie {
    /// Not at all.
    None,
    /// They are two names of one value.
    Same(&'static str),
    /// A write that is taken makes the other one 0.
    Zeroes(&'static str),
    /// A write that changes this one makes the other one 0.
    ChangeZeroes(&'static str),
}

/// The first value.
#[derive(Debug, Clone, Copy)]
pub enum Seed {
    /// That of the host when the container is made.
    Host,
    /// This text.
    Text(&'static str),
}

/// What the kernel takes. All read integers as proc_get_long() of kernel/sysctl.c does: decimal, octal (`010`) or hexadecimal
/// (`0x10`), after any white space and before a blank, a tab, a newline or the end; what follows a whole vector is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// An integer of this range, as proc_dointvec_minmax() reads it; EINVAL otherwise.
    Integer(i64, i64),
    /// An integer of this range, as proc_douintvec_minmax() and proc_doulongvec_minmax() read it: no minus sign, not even
    /// before 0; EINVAL otherwise.
    Unsigned(u64, u64),
    /// [`Check::Integer`], but the highest value is final: EINVAL for every other one after it.
    Latch(i64, i64),
    /// This many integers of this range. A shorter write changes the first ones, and so does a write that is refused at a
    /// later one.
    Integers(usize, i64, i64),
    /// Bytes of a pipe: rounded up to a power of two and to a page; EINVAL above 2 GiB (round_pipe_size() of fs/pipe.c).
    PipeSize,
    /// Buckets of a hash table, rounded up to full pages: 0 is EINVAL, and what no table can have ENOMEM
    /// (nf_conntrack_hash_resize()).
    Buckets,
    /// [`Check::Buckets`] as the parameter of a module, read by kstrtouint(): no white space but one newline at the end;
    /// ERANGE above 32 bits.
    Hashsize,
    /// Names from the list that this file of the host's shows, with one blank between each: ENOENT for any other. What follows two
    /// blanks, a newline or a zero byte is ignored. It shows them in the order of the list (tcp_set_allowed_congestion_control()).
    Names(&'static str),
}

/// See [`Kind::Mirror`].
#[derive(Debug, Clone, Copy)]
pub struct Mirror {
    /// Which entries show, by their paths below the directory. Below an entry that does not show, nothing does.
    pub shows: crate::render::Shows,
    /// Which files have another text than the host's: the first whose pattern matches the path below the directory. A `*`
    /// stands for any run of characters in one component.
    pub files: &'static [(&'static str, Text)],
    /// Whether it is the kernel's own directory, of which rows are entries: what has no row keeps its owner, the host's root, and
    /// its mode, as far as nobody else may write. Otherwise all that shows is the container's root's.
    pub native: bool,
    /// See [`Node::goes_by_groups`].
    pub by_groups: bool,
}

/// The text of a file in a mirrored directory.
#[derive(Debug, Clone, Copy)]
pub enum Text {
    /// Made at each reading.
    Made(crate::render::Render),
    /// The host's list (`0-3,8`), without the numbers that are not of this set.
    List(Set),
    /// The host's bitmap (`ff,00000003`), without the bits that are not of this set, at the same width.
    Map(Set),
}

/// The numbers of a container's CPUs, or of its memory nodes.
pub type Set = fn(&Emulation) -> io::Result<BTreeSet<u32>>;

/// Every row.
pub fn nodes() -> impl Iterator<Item = &'static Node> {
    [resources::NODES, sysctl::NODES, sysfs::NODES, directories::NODES].into_iter().flatten()
}

/// The rows that are no entries of another row's directory.
pub fn tops() -> impl Iterator<Item = &'static Node> {
    nodes().filter(|node| !directories::has(node.path))
}

/// The paths of the [`tops`] that this kernel keeps for a container itself ([`Node::is_native`]). `look` tells the owner and the mode
/// of a file as the container's init finds them in its namespaces, `root` is the id of its root in the same terms.
pub fn native(root: u32, look: impl Fn(&str) -> Option<(u32, u32)>) -> Vec<String> {
    let kept = tops().filter(|node| matches!(node.kind, Kind::Kept(_)));
    let its_own = kept.filter(|node| look(node.path).is_some_and(|(owner, mode)| node.is_native(owner, mode, root)));
    its_own.map(|node| node.path.to_owned()).collect()
}

/// The [`tops`] that are bound in a container's procfs and sysfs: all but what is [`native`] there.
pub fn bound(native: &[String]) -> impl Iterator<Item = &'static Node> {
    tops().filter(move |node| !native.iter().any(|path| path == node.path))
}

/// Which of a container's two filesystems has a node: see [`crate::fuse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is only read, and hardly ever changes its length.
    Cached,
    /// All else.
    Direct,
}

impl Node {
    /// The filesystem that it is an entry of.
    pub fn part(&self) -> Part {
        match self.kind {
            Kind::Kept(_) => Part::Direct,
            Kind::Live(live) if !live.steady => Part::Direct,
            Kind::Mirror(mirror) if mirror.native => Part::Direct,
            Kind::Live(_) | Kind::Empty | Kind::Mirror(_) => Part::Cached,
        }
    }

    /// Whether what it shows depends on the groups of who reads ([`crate::views`]).
    pub fn goes_by_groups(&self) -> bool {
        match self.kind {
            Kind::Live(live) => live.fresh < sysfs::FOR_EVER,
            Kind::Mirror(mirror) => mirror.by_groups,
            Kind::Kept(_) | Kind::Empty => false,
        }
    }

    /// Whether a write may raise the host's value: see [`Kept::may_raise`].
    pub fn may_raise(&self) -> bool {
        matches!(self.kind, Kind::Kept(Kept { may_raise: true, .. }))
    }

    /// Whether it is a directory of which rows are entries.
    pub(crate) fn holds_rows(&self) -> bool {
        matches!(self.kind, Kind::Mirror(Mirror { native: true, .. }))
    }

    /// The name in such a directory of what has this path, if it is right in it.
    pub(crate) fn entry<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix(self.path).filter(|_| self.holds_rows())?;
        path.strip_prefix('/').filter(|name| !name.contains('/'))
    }

    /// The name of its entry in the root directory of the FUSE filesystem: its path, with dots for slashes.
    pub fn name(&self) -> String {
        name(self.path)
    }

    /// Whether the kernel lets this container write its own file: then that one is better, and the node is not bound.
    /// `owner` and `mode` are those of the file, looked up from within the container's namespaces (the kernel has
    /// `kernel.pid_max` per pid namespace since Linux 6.14, and moves others): that of a pid namespace shows to nobody outside it,
    /// who finds the host's (`is_seen` of the kernel's `ctl_table_set`). `root` is the id of its root.
    ///
    /// A file that a namespace keeps apart belongs to its root (`set_ownership()` of the kernel's `ctl_table_root`), and one that
    /// it only shows has lost the bit to write.
    pub fn is_native(&self, owner: u32, mode: u32, root: u32) -> bool {
        matches!(self.kind, Kind::Kept(_)) && owner == root && mode & 0o200 != 0
    }
}

/// [`Node::name`] of a path.
pub(crate) fn name(path: &str) -> String {
    path.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_container_may_write_itself_is_not_bound() {
        let own = ["/proc/sys/kernel/pid_max", "/proc/meminfo", "/proc/sys/vm/swappiness"];
        let look = |path: &str| match path {
            "/proc/sys/kernel/panic" => None,
            "/proc/sys/kernel/sysrq" => Some((7, 0o444)),
            _ => Some((if own.contains(&path) { 7 } else { 0 }, 0o644)),
        };
        let native = native(7, look);
        assert_eq!(native, own[..1], "a setting that is a mount of its own, and its root's to write");
        let missing: Vec<_> = tops().filter(|node| !bound(&native).any(|it| it.path == node.path)).collect();
        assert_eq!(missing.iter().map(|node| node.path).collect::<Vec<_>>(), native);
        assert_eq!(bound(&[]).count(), tops().count());
    }
}
