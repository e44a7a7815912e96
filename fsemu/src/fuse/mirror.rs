//! What lies in a directory of the host's that a node mirrors, as [`crate::mirror`] has it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::Emulation;
use crate::mirror::MirrorNode;
use crate::table::{Kind, Node};

/// An entry of a mirrored tree.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    emulation: &'a Emulation,
    tree: MirrorNode,
    path: PathBuf,
    /// Type and permission bits.
    pub(super) mode: u32,
}

impl<'a> Entry<'a> {
    /// What lies at `path`, relative to the mirrored directory of `node`.
    pub(super) fn find(emulation: &'a Emulation, node: &Node, path: &Path) -> io::Result<Self> {
        let Kind::Mirror(mirror) = node.kind else { return Err(Errno::NOTDIR.into()) };
        let tree = MirrorNode::open(Path::new(node.path), mirror)?;
        let entry = tree.lookup(emulation, path, OsStr::new(""))?.ok_or(Errno::NOENT)?;
        Ok(Self { emulation, tree, path: path.to_owned(), mode: entry.kind.as_raw_mode() | entry.mode })
    }

    /// The text of a file.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        self.tree.read(self.emulation, &self.path)
    }

    /// Where a symlink leads: from where it shows, as it does on the host.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(self.tree.readlink(self.emulation, &self.path)?.into_os_string().into_vec())
    }

    /// The names of a directory's entries that show, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names: Vec<_> = self.tree.list(self.emulation, &self.path)?.into_iter().map(|it| it.name).collect();
        names.sort();
        Ok(names)
    }
}

/// A name as the kernel sent it, below `path`. `.` and `..` are never asked for.
pub(super) fn join(path: &Path, name: &[u8]) -> io::Result<PathBuf> {
    match name {
        b"." | b".." => Err(Errno::NOENT.into()),
        name => Ok(path.join(OsStr::from_bytes(name))),
    }
}
