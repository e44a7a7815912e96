//! A directory of the host's sysfs or procfs, seen through a filter, read-only.
//!
//! Knows nothing of FUSE: names and paths in, entries and bytes out. Paths are relative to the mirrored directory; the empty
//! one is the directory itself.
//!
//! Invariant: nothing outside the directory's own mount is opened, no symbolic link is followed, and nothing is shown that
//! the host would not show to anybody (the server is root on the host, the container is not).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::table::{Mirror, Text};
use crate::{Emulation, cpuset};

/// The most that is read of a file: sysfs gives one page, and up to this of binary attributes.
const MOST: u64 = 64 * 1024;

/// A mirrored directory.
#[derive(Debug)]
pub struct MirrorNode {
    mirror: Mirror,
    root: OwnedFd,
}

/// One entry of a mirrored directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// A regular file, a directory or a symbolic link: nothing else shows.
    pub kind: FileType,
    /// Permission bits: what others may do on the host, but write, for everybody; in a native directory
    /// ([`Mirror::native`]) the host's, but that others may not write.
    pub mode: u32,
}

impl MirrorNode {
    /// The directory at `path` on the host.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, mirror: Mirror) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { mirror, root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Whether the host has something of this name there, shown or not.
    pub fn has(&self, name: &OsStr) -> bool {
        rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The entry `name` of the directory `parent`; none where there is none, or it does not show. The empty name is
    /// `parent` itself.
    ///
    /// # Errors
    /// Those of the host's directory, and of the values that the filter reads.
    pub fn lookup(&self, emulation: &Emulation, parent: &Path, name: &OsStr) -> io::Result<Option<Entry>> {
        let path = if name.is_empty() { parent.to_owned() } else { parent.join(name) };
        match self.at(emulation, &path, OFlags::PATH) {
            Ok(file) => Ok(self.entry(name, &rustix::fs::fstat(file)?)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries of a directory, without `.` and `..`.
    ///
    /// # Errors
    /// See [`MirrorNode::lookup`]; ENOENT for a directory that does not show, EACCES for one that is not for everybody.
    pub fn list(&self, emulation: &Emulation, directory: &Path) -> io::Result<Vec<Entry>> {
        self.readable(emulation, directory)?;
        let opened = self.at(emulation, directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let device = rustix::fs::fstat(&opened)?.st_dev;
        let mut entries = Vec::new();
        for found in Dir::read_from(&opened)? {
            let name = OsString::from_vec(found?.file_name().to_bytes().to_vec());
            if name == "." || name == ".." || !self.entry_shows(emulation, &directory.join(&name)) {
                continue;
            }
            match rustix::fs::statat(&opened, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // What lies over an entry of the kernel's directory on this host (a shim in a container) does not hide its row.
                Ok(stat) if stat.st_dev == device || self.mirror.native => entries.extend(self.entry(&name, &stat)),
                // Another filesystem, or a CPU that has just gone.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    /// The text of a file, at most 64 KiB.
    ///
    /// # Errors
    /// See [`MirrorNode::list`]; EISDIR for a directory, and what the file itself answers.
    pub fn read(&self, emulation: &Emulation, path: &Path) -> io::Result<Vec<u8>> {
        let entry = self.readable(emulation, path)?;
        if entry.kind == FileType::Directory {
            return Err(Errno::ISDIR.into());
        }
        let text = self.mirror.files.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, text)| text);
        if let Some(Text::Made(render)) = text {
            return render(emulation);
        }
        let mut read = Vec::new();
        let file = self.at(emulation, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        File::from(file).take(MOST).read_to_end(&mut read)?;
        let utf8 = |read| String::from_utf8(read).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        match text {
            Some(Text::List(of)) => Ok(cpuset::cut_list(&utf8(read)?, &of(emulation)?)?.into_bytes()),
            Some(Text::Map(of)) => Ok(cpuset::cut_map(&utf8(read)?, &of(emulation)?).into_bytes()),
            _ => Ok(read),
        }
    }

    /// What a symbolic link says.
    ///
    /// # Errors
    /// See [`MirrorNode::list`]; EINVAL for what is no link.
    pub fn readlink(&self, emulation: &Emulation, path: &Path) -> io::Result<PathBuf> {
        let link = self.at(emulation, path, OFlags::PATH)?;
        match self.entry(OsStr::new(""), &rustix::fs::fstat(&link)?) {
            Some(Entry { kind: FileType::Symlink, .. }) => {
                let target = rustix::fs::readlinkat(link, "", Vec::new())?;
                Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// The entry of what anybody may read.
    fn readable(&self, emulation: &Emulation, path: &Path) -> io::Result<Entry> {
        let entry = self.lookup(emulation, path, OsStr::new(""))?.ok_or(Errno::NOENT)?;
        if entry.mode & 0o004 == 0 { Err(Errno::ACCESS.into()) } else { Ok(entry) }
    }

    /// Opens what shows.
    fn at(&self, emulation: &Emulation, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if !self.shows(emulation, path) {
            return Err(Errno::NOENT);
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        #[expect(
            clippy::disallowed_methods,
            reason = "below a directory of the host's sysfs or procfs, never of a container's tree"
        )]
        rustix::fs::openat2(self.root.as_fd(), path, flags, Mode::empty(), resolve)
    }

    /// Whether the path and every directory that leads to it shows.
    fn shows(&self, emulation: &Emulation, path: &Path) -> bool {
        let mut prefix = PathBuf::new();
        path.components().all(|component| {
            let Component::Normal(name) = component else { return false };
            prefix.push(name);
            self.entry_shows(emulation, &prefix)
        })
    }

    /// Whether an entry shows in a directory that does.
    fn entry_shows(&self, emulation: &Emulation, path: &Path) -> bool {
        path.to_str().is_some_and(|path| (self.mirror.shows)(emulation, path))
    }

    fn entry(&self, name: &OsStr, stat: &Stat) -> Option<Entry> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let others = stat.st_mode & 0o5;
        let mode = match kind {
            FileType::Symlink => 0o777,
            _ if self.mirror.native => stat.st_mode & 0o775,
            _ => others << 6 | others << 3 | others,
        };
        let shown = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
        shown.then(|| Entry { name: name.to_owned(), kind, mode })
    }
}

/// Whether the path is one of the pattern's.
fn matches(pattern: &str, path: &Path) -> bool {
    let component = |(pattern, name): (&str, &OsStr)| match pattern.split_once('*') {
        None => name == pattern,
        Some((start, end)) => {
            let name = name.as_bytes();
            name.len() >= start.len() + end.len()
                && name.starts_with(start.as_bytes())
                && name.ends_with(end.as_bytes())
        }
    };
    pattern.split('/').count() == path.iter().count() && pattern.split('/').zip(path.iter()).all(component)
}

#[cfg(test)]
mod tests;
