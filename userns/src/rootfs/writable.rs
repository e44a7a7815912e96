//! The directory that a container writes to, by which its lease knows that the container was not removed yet.

use std::path::{Path, PathBuf};

use policy::plan::RootMount;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::options::Options;
use super::overlay::Overlay;
use crate::{Error, Result};

/// A directory's identity: while a directory with all of it exists, the container's writable layer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritableLayer {
    /// Its absolute path on the host.
    pub path: PathBuf,
    /// Major and minor number of its device.
    pub device: (u32, u32),
    /// Its inode number.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970 (`STATX_BTIME`); 0 where the filesystem does not tell. It tells an
    /// inode number that is used again.
    pub born: i128,
}

impl WritableLayer {
    /// The identity of the directory at `path` now; none when there is none.
    ///
    /// # Errors
    /// What statx(2) says, except for `ENOENT` and `ENOTDIR`.
    pub fn at(path: &Path) -> Result<Option<Self>> {
        let mask = StatxFlags::INO | StatxFlags::BTIME;
        let stat = match rustix::fs::statx(CWD, path, AtFlags::empty(), mask) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(Error::failed("stat", path.display(), errno)),
        };
        let born = i128::from(stat.stx_btime.tv_sec) * 1_000_000_000 + i128::from(stat.stx_btime.tv_nsec);
        Ok(Some(Self {
            path: path.to_owned(),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: if stat.stx_mask & StatxFlags::BTIME.bits() == 0 { 0 } else { born },
        }))
    }

    /// Whether the directory is still there.
    ///
    /// # Errors
    /// As [`WritableLayer::at`].
    pub fn exists(&self) -> Result<bool> {
        Ok(Self::at(&self.path)?.as_ref() == Some(self))
    }
}

/// The writable layer of a container whose root filesystem is made of `mounts`, or, when these are empty, of what the
/// engine has at `root_path`: an overlay's upper directory, a bind mount's source, the directory itself. None for a root
/// filesystem that is read-only by its mounts. Nothing is changed; it may be called from any thread.
///
/// # Errors
/// A line that names the directory when it is missing, or options that make no sense.
pub fn writable_layer(mounts: &[RootMount], root_path: &Path) -> Result<Option<WritableLayer>> {
    let path = match mounts.iter().rfind(|mount| super::is_root(mount)) {
        Some(mount) => of_mount(mount)?,
        None => match Overlay::mounted_at(root_path)? {
            Some(overlay) => overlay.upper.map(|(upper, _)| upper),
            None => Some(root_path.to_owned()),
        },
    };
    let Some(path) = path else { return Ok(None) };
    match WritableLayer::at(&path)? {
        Some(layer) => Ok(Some(layer)),
        None => Err(Error::refused(path.display(), "the root filesystem's directory does not exist")),
    }
}

fn of_mount(mount: &RootMount) -> Result<Option<PathBuf>> {
    let options = Options::parse(&mount.options);
    match mount.fstype.as_str() {
        "overlay" => Ok(Overlay::from_options(&options)?.upper.map(|(upper, _)| upper)),
        // A block device or a dataset is its own layer: the node that names it goes with it.
        _ if options.read_only => Ok(None),
        _ => Ok(Some(PathBuf::from(&mount.source))),
    }
}
