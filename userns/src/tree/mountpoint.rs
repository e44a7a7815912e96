//! Mountpoints: directories and files of the tree that are made where the image lacks them.
//!
//! What is missing is made one component at a time below the descriptor of a directory that exists, and opened without
//! following symlinks. A dangling symlink is therefore never followed, whoever put it there and when.

use std::os::fd::{AsFd, OwnedFd};

use policy::plan::ContainerPath;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Node, Tree, below_root, open_component, open_in_root};
use crate::{Error, Result};

/// Mode of the directories that are made: what `mkdir` gives under the usual umask.
const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
/// Mode of the files that are made.
const FILE: Mode = Mode::from_raw_mode(0o644);

impl Tree {
    /// The directory `path`, made with its parents where missing (mode 0755 less the caller's umask, owned by the
    /// caller's filesystem ids: [`crate::creds::FsIds`]).
    ///
    /// # Errors
    /// A refusal that names the path when a component is something else than a directory, or a symlink to something
    /// that is not there; otherwise what the kernel says.
    pub fn mountpoint_dir(&self, path: &ContainerPath) -> Result<Node> {
        match self.resolve(path, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => self.make_dirs(path),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.wrong_type(path, "a directory")),
            answer => answer.map_err(|errno| Error::failed("open", path, errno)),
        }
    }

    /// The file `path`, of any type but a directory; made empty, with its parents, where missing (mode 0644).
    ///
    /// # Errors
    /// As [`Tree::mountpoint_dir`], and a refusal when the path is a directory.
    pub fn mountpoint_file(&self, path: &ContainerPath) -> Result<Node> {
        match self.resolve(path, OFlags::empty()) {
            Ok(node) if node.is_dir()? => Err(Error::refused(path, "is a directory where a file must be")),
            Err(Errno::NOENT) => self.make_file(path),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.wrong_type(path, "a file")),
            answer => answer.map_err(|errno| Error::failed("open", path, errno)),
        }
    }

    fn make_dirs(&self, path: &ContainerPath) -> Result<Node> {
        let (mut parent, missing) = self.deepest_directory(path)?;
        let mut end = path.as_str().len() - missing.len();
        for name in missing.split('/') {
            let here = path.as_str().get(..end + name.len()).unwrap_or(path.as_str());
            match rustix::fs::mkdirat(&parent, name, DIRECTORY) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::failed("create directory", here, errno)),
            }
            parent = match open_component(parent.as_fd(), name, OFlags::DIRECTORY) {
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(not_a_directory(&parent, name, here)),
                opened => opened.map_err(|errno| Error::failed("open", here, errno))?,
            };
            end += name.len() + 1;
        }
        Ok(Node::new(parent, path.as_str()))
    }

    fn make_file(&self, path: &ContainerPath) -> Result<Node> {
        let (directory, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let parent = match ContainerPath::parse(if directory.is_empty() { "/" } else { directory }) {
            Ok(directory) => self.mountpoint_dir(&directory)?,
            Err(reason) => return Err(Error::refused(path, reason)),
        };
        // Read-only: a descriptor that is open for writing would keep its mount from becoming read-only.
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        match rustix::fs::openat(parent.fd(), name, flags, FILE) {
            Ok(fd) => Ok(Node::new(fd, path.as_str())),
            // Somebody else made it meanwhile, or it is a dangling symlink.
            Err(Errno::EXIST) => {
                let fd = open_component(parent.fd(), name, OFlags::empty())
                    .map_err(|errno| Error::failed("open", path, errno))?;
                let node = Node::new(fd, path.as_str());
                match node.file_type()? {
                    FileType::Symlink => Err(Error::refused(path, "is a symlink to nothing where a file must be")),
                    FileType::Directory => Err(Error::refused(path, "is a directory where a file must be")),
                    _ => Ok(node),
                }
            }
            Err(errno) => Err(Error::failed("create file", path, errno)),
        }
    }

    /// The deepest existing directory on the way to `path`, and the components below it.
    fn deepest_directory<'a>(&self, path: &'a ContainerPath) -> Result<(OwnedFd, &'a str)> {
        let whole = below_root(path);
        let mut end = whole.len();
        loop {
            end = whole.get(..end).and_then(|prefix| prefix.rfind('/')).unwrap_or(0);
            let (prefix, rest) = whole.split_at(end);
            let opened = match prefix {
                "" => open_in_root(self.root(), ".", OFlags::DIRECTORY),
                prefix => open_in_root(self.root(), prefix, OFlags::DIRECTORY),
            };
            match opened {
                Ok(fd) => return Ok((fd, rest.trim_start_matches('/'))),
                Err(Errno::NOENT) if end > 0 => {}
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.wrong_type(path, "a directory")),
                Err(errno) => return Err(Error::failed("open", path, errno)),
            }
        }
    }

    /// The refusal for a path on which something is not what it must be: names the first component that is wrong.
    fn wrong_type(&self, path: &ContainerPath, wanted: &str) -> Error {
        let whole = below_root(path);
        let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
        for prefix in ends.filter_map(|end| whole.get(..end)) {
            let last = prefix.len() == whole.len();
            if matches!(open_in_root(self.root(), prefix, OFlags::DIRECTORY), Err(Errno::NOTDIR | Errno::LOOP)) {
                let wanted = if last { wanted } else { "a directory" };
                return match open_in_root(self.root(), prefix, OFlags::NOFOLLOW) {
                    Ok(fd) => Node::new(fd, &format!("/{prefix}")).refuse_type(wanted),
                    Err(errno) => Error::failed("open", path, errno),
                };
            }
        }
        Error::failed("open", path, Errno::NOTDIR)
    }
}

/// The refusal for `name` in `parent`, which stood in the way when a directory was to be made.
fn not_a_directory(parent: &OwnedFd, name: &str, path: &str) -> Error {
    match open_component(parent.as_fd(), name, OFlags::empty()) {
        Ok(fd) => Node::new(fd, path).refuse_type("a directory"),
        Err(errno) => Error::failed("open", path, errno),
    }
}
