//! The table of emulated nodes: what is shown in place of the kernel's own file, and why.
//!
//! Each row is one [`Node`]. docs/emulation.md is made of this table; a test holds them together.

mod resources;
mod sysctl;
mod sysfs;

use std::time::Duration;

/// Every row, in the order of the files.
pub fn nodes() -> impl Iterator<Item = &'static Node> {
    [resources::NODES, sysctl::NODES, sysfs::NODES].into_iter().flatten()
}

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
    /// A file with this text for ever; writes answer EACCES.
    Fixed(&'static str),
    /// A directory with nothing in it.
    Empty,
    /// A directory of the host's, seen through a filter, read-only.
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
}

/// The first value.
#[derive(Debug, Clone, Copy)]
pub enum Seed {
    /// That of the host when the container is made.
    Host,
    /// This text.
    Text(&'static str),
}

/// What the kernel takes.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Nothing: a write answers EACCES.
    Nothing,
    /// An integer of this range, as proc_dointvec_minmax() reads it; EINVAL otherwise.
    Integer(i64, i64),
    /// This many integers of this range, separated by white space.
    Integers(usize, i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// See [`Kind::Mirror`].
#[derive(Debug, Clone, Copy)]
pub struct Mirror {
    /// Which entries of the first level show.
    pub shows: crate::render::Shows,
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
            Kind::Live(_) | Kind::Fixed(_) | Kind::Empty | Kind::Mirror(_) => Part::Cached,
        }
    }

    /// The name of its entry in the root directory of the FUSE filesystem: its path, with dots for slashes.
    pub fn name(&self) -> String {
        self.path.trim_start_matches('/').replace('/', ".")
    }
}
