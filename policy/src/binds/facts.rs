//! What the caller has found out about a file of the host, on the very descriptor that is then mounted.

use std::path::{Path, PathBuf};

/// Which file it is: `st_dev` and `st_ino` of stat(2). A hard link and a bind mount of a file have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The device, `major << 32 | minor`.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// Where a file is on its filesystem: what two bind mounts of it have in common, and what shows which of two directories lies
/// below the other, whatever paths lead to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The superblock's `major:minor`, as proc_pid_mountinfo(5) has it.
    pub filesystem: String,
    /// The path from the filesystem's own root: the mount's root in mountinfo, and the path below its mountpoint.
    pub path: PathBuf,
    /// How the file's own path goes on from there, through the mounts on top; empty at its own place.
    pub on: PathBuf,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file, or a fifo.
    File,
    /// A unix socket.
    Socket,
    /// A character or block device.
    Device,
}

/// A file of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which one.
    pub identity: Identity,
    /// What kind.
    pub kind: Kind,
    /// How many names it has.
    pub links: u64,
    /// The type of its filesystem (`ext4`, `proc`).
    pub fstype: String,
    /// The directories above it, up to the root of the host's tree, across mounts: what `..` leads to.
    pub parents: Vec<Identity>,
    /// Its own place; then that of its mount's mountpoint, of that one's mount's mountpoint, and so on.
    pub places: Vec<Place>,
}

/// What a path of the policy leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file; where there is none, the deepest directory on the way to it that exists.
    pub object: Object,
    /// Whether the file itself exists.
    pub exists: bool,
}

/// A mount below a source, which a recursive bind mount carries along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its path below the source.
    pub relative: PathBuf,
    /// Its root. `parents` may be left out, and so may all places but the first.
    pub object: Object,
}

/// The source of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub object: Object,
    /// The mounts that come along with it; none of a bind mount that is not recursive.
    pub carried: Vec<Carried>,
}

impl Place {
    /// The path below `above`, where this is `above` or lies below it.
    pub fn below<'a>(&'a self, above: &Place) -> Option<&'a Path> {
        if self.filesystem != above.filesystem {
            return None;
        }
        self.path.strip_prefix(&above.path).ok()
    }
}

impl Object {
    /// Its own place.
    pub fn place(&self) -> Option<&Place> {
        self.places.first()
    }

    /// Whether it is `other` or lies below it, by the identities of its parents.
    pub fn is_at_or_below(&self, other: Identity) -> bool {
        self.identity == other || self.parents.contains(&other)
    }
}
