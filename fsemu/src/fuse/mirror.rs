//! A directory of the host's, seen through a filter, read-only: what everybody may read there.
//!
//! Invariant: what is not readable for others on the host is not readable here, whatever capabilities the container has
//! over the ids that it is shown with.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::Emulation;
use crate::table::{Kind, Node};

/// Longest text of a file, in bytes. sysfs gives a page but for binary attributes.
const LONGEST: u64 = 1 << 20;

/// An entry of a mirrored tree.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    /// Type, and those permission bits for everybody that others have on the host, without writing.
    pub(super) mode: u32,
}

impl Entry {
    /// What lies at `path`, relative to the mirrored directory of `node`.
    pub(super) fn find(emulation: &Emulation, node: &Node, path: &Path) -> io::Result<Self> {
        let Kind::Mirror(mirror) = node.kind else { return Err(Errno::NOTDIR.into()) };
        if let Some(first) = path.iter().next() {
            let shows = first.to_str().is_some_and(|name| (mirror.shows)(emulation, name));
            if !shows {
                return Err(Errno::NOENT.into());
            }
        }
        // No slash at the end: an empty path is the directory itself.
        let path = if path.as_os_str().is_empty() { node.path.into() } else { Path::new(node.path).join(path) };
        let stat = std::fs::symlink_metadata(&path)?;
        let others = stat.mode() & 0o5;
        let kind = stat.mode() & libc::S_IFMT;
        if ![libc::S_IFDIR, libc::S_IFREG, libc::S_IFLNK].contains(&kind) {
            return Err(Errno::NOENT.into());
        }
        let bits = if kind == libc::S_IFLNK { 0o777 } else { others * 0o111 };
        Ok(Self { path, mode: kind | bits })
    }

    fn readable(&self, kind: u32) -> io::Result<()> {
        let right = self.mode & libc::S_IFMT == kind && self.mode & 0o4 != 0;
        if right { Ok(()) } else { Err(Errno::ACCESS.into()) }
    }

    /// The text of a file.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        self.readable(libc::S_IFREG)?;
        let mut text = Vec::new();
        std::fs::File::open(&self.path)?.take(LONGEST).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Where a symlink leads: from where it shows, as it does on the host.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        self.readable(libc::S_IFLNK)?;
        Ok(std::fs::read_link(&self.path)?.into_os_string().as_bytes().to_owned())
    }

    /// The names of a directory's entries, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        self.readable(libc::S_IFDIR)?;
        let mut names =
            std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
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
