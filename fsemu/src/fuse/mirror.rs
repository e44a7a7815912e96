//! What lies in a mirrored directory, as an inode: its shape and its contents.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::Emulation;
use crate::mirror::{self, MirrorNode};
use crate::table::{Kind, Node};

/// An entry of a mirrored tree.
pub(super) struct Entry<'a> {
    emulation: &'a Emulation,
    mirror: MirrorNode,
    path: PathBuf,
    /// Type and permission bits.
    pub(super) mode: u32,
}

impl<'a> Entry<'a> {
    /// What lies at `path`, relative to the mirrored directory of `node`.
    pub(super) fn find(emulation: &'a Emulation, node: &Node, path: &Path) -> io::Result<Self> {
        let Kind::Mirror(mirror) = node.kind else { return Err(Errno::NOTDIR.into()) };
        let mirror = MirrorNode::open(Path::new(node.path), mirror)?;
        let entry = mirror.lookup(emulation, path, OsStr::new(""))?.ok_or(Errno::NOENT)?;
        Ok(Self { emulation, mirror, path: path.to_owned(), mode: mode(&entry) })
    }

    /// Whether the directory has something of this name on the host.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.mirror.has(OsStr::from_bytes(name))
    }

    /// The text of a file.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        self.mirror.read(self.emulation, &self.path)
    }

    /// Where a symlink leads: from where it shows, as it does on the host.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(self.mirror.readlink(self.emulation, &self.path)?.as_os_str().as_bytes().to_owned())
    }

    /// A directory's entries, sorted by their names, with the mode of each.
    pub(super) fn list(&self) -> io::Result<Vec<(OsString, u32)>> {
        let entry = |entry| {
            let mode = mode(&entry);
            (entry.name, mode)
        };
        let mut listed: Vec<_> = self.mirror.list(self.emulation, &self.path)?.into_iter().map(entry).collect();
        listed.sort();
        Ok(listed)
    }
}

/// Type and permission bits.
fn mode(entry: &mirror::Entry) -> u32 {
    let kind = match entry.kind {
        FileType::Directory => libc::S_IFDIR,
        FileType::Symlink => libc::S_IFLNK,
        _ => libc::S_IFREG,
    };
    kind | entry.mode
}

/// A name as the kernel sent it, below `path`. `.` and `..` are never asked for.
pub(super) fn join(path: &Path, name: &[u8]) -> io::Result<PathBuf> {
    match name {
        b"." | b".." => Err(Errno::NOENT.into()),
        name => Ok(path.join(OsStr::from_bytes(name))),
    }
}
