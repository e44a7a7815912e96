//! The state directory: its files are reached from one descriptor, and changed only under the allocation lock.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::error::LeaseError;
use super::lock;
use super::name::LeaseName;

const LOCK: &str = "lock";
const NEW: &str = "new";

/// The directory, opened once.
#[derive(Debug)]
pub(super) struct StateDir {
    fd: OwnedFd,
    path: PathBuf,
}

/// The allocation lock; dropping it gives it up. Held for a few system calls, never while waiting for anything.
pub(super) struct Allocation<'a> {
    dir: &'a StateDir,
    _lock: OwnedFd,
}

impl StateDir {
    /// Opens the directory, making it with mode 0700 if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, LeaseError> {
        let io = |step| move |source| LeaseError::Io { step, path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| io("open")(errno.into()))?;
        let stat = fstat(&fd).map_err(|errno| io("look at")(errno.into()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(LeaseError::Untrusted { path: path.to_owned() });
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The error of a failed step on one of the files.
    pub(super) fn error(&self, step: &'static str, name: impl AsRef<Path>, source: impl Into<io::Error>) -> LeaseError {
        LeaseError::Io { step, path: self.path.join(name), source: source.into() }
    }

    /// Waits for the allocation lock.
    pub(super) fn lock(&self) -> Result<Allocation<'_>, LeaseError> {
        // A description of its own each time: threads of one process must exclude each other, too.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(&self.fd, LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| self.error("open", LOCK, errno))?;
        lock::wait(&file).map_err(|error| self.error("lock", LOCK, error))?;
        Ok(Allocation { dir: self, _lock: file })
    }

    fn remove_file(&self, name: &str) -> Result<(), LeaseError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }
}

impl Allocation<'_> {
    pub(super) fn error(&self, step: &'static str, name: impl AsRef<Path>, source: impl Into<io::Error>) -> LeaseError {
        self.dir.error(step, name, source)
    }

    pub(super) fn dir(&self) -> &StateDir {
        self.dir
    }

    /// The names of all leases, lowest range first.
    pub(super) fn names(&self) -> Result<Vec<LeaseName>, LeaseError> {
        let io = |errno| self.dir.error("list", "", errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir.fd).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_str();
            names.extend(name.and_then(LeaseName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a lease to look at it.
    pub(super) fn open(&self, name: LeaseName) -> Result<File, LeaseError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir.fd, name.to_string(), flags, Mode::empty());
        file.map(File::from).map_err(|errno| self.dir.error("open", name.to_string(), errno))
    }

    /// The content of a lease.
    pub(super) fn read(&self, name: LeaseName, mut file: File) -> Result<Vec<u8>, LeaseError> {
        let mut content = Vec::with_capacity(1024);
        file.read_to_end(&mut content).map_err(|error| self.dir.error("read", name.to_string(), error))?;
        Ok(content)
    }

    /// Makes a lease and holds it: complete and locked before it has its name, so that nobody ever sees it otherwise.
    pub(super) fn create(&self, name: LeaseName, content: &[u8]) -> Result<File, LeaseError> {
        self.dir.remove_file(NEW)?;
        let text = name.to_string();
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.dir.fd, NEW, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|errno| self.dir.error("create", &text, errno))?);
        let result = lock::take(&file)
            .and_then(|()| file.write_all(content))
            .and_then(|()| Ok(renameat(&self.dir.fd, NEW, &self.dir.fd, &text)?));
        match result {
            Ok(()) => Ok(file),
            Err(error) => {
                // What remains would be removed by the next allocation; a full filesystem wants it back now.
                let _ = self.dir.remove_file(NEW);
                Err(self.dir.error("write", &text, error))
            }
        }
    }

    /// Removes a lease. The caller has made sure that nobody needs it.
    pub(super) fn remove(&self, name: LeaseName) -> Result<(), LeaseError> {
        self.dir.remove_file(&name.to_string())
    }

    /// Removes what an allocation that was killed half-way has left.
    pub(super) fn remove_leftover(&self) -> Result<(), LeaseError> {
        self.dir.remove_file(NEW)
    }
}
