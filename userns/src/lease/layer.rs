//! The identity of a writable layer's directory.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};

/// Which directory a container's writable layer is: while it exists, the container may be started again, and its range
/// stays its own.
///
/// The inode number alone would not do: filesystems give it to the next directory, often at once. The birth time tells
/// the two apart where the filesystem keeps one (ext4, xfs, btrfs, tmpfs); elsewhere a reused inode at the same path
/// counts as the same layer, which only keeps a range too long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerId {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// `st_dev`, as major and minor number.
    pub dev: (u32, u32),
    /// `st_ino`
    pub ino: u64,
    /// Birth time, seconds and nanoseconds since the epoch, where the filesystem keeps it.
    pub btime: Option<(i64, u32)>,
}

impl LayerId {
    /// The identity of what is at `path` now.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn of(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME)?;
        let has_btime = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        Ok(Self {
            path: path.to_owned(),
            dev: (stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            btime: has_btime.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        })
    }

    /// Whether the directory is still there. Anything but certainty that it is gone counts as there.
    pub(super) fn exists(&self) -> bool {
        match Self::of(&self.path) {
            Ok(now) => now == *self,
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LayerId;

    #[test]
    fn a_directory_is_itself_until_it_is_removed_or_replaced() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("fs");
        std::fs::create_dir(&path).expect("mkdir");
        let id = LayerId::of(&path).expect("statx");
        std::fs::write(path.join("file"), "x").expect("write");
        assert!(id.exists(), "writing into a layer does not change it");
        std::fs::remove_dir_all(&path).expect("rmdir");
        assert!(!id.exists());
        std::fs::create_dir(&path).expect("mkdir");
        assert!(!id.exists(), "a new directory at the same path is another one");
    }

    #[test]
    fn a_reused_inode_is_told_apart_by_its_birth_time() {
        let temp = tempfile::tempdir().expect("a directory");
        let now = LayerId::of(temp.path()).expect("statx");
        let (seconds, nanoseconds) = now.btime.expect("a filesystem with birth times");
        let former = LayerId { btime: Some((seconds - 1, nanoseconds)), ..now.clone() };
        assert!(now.exists() && !former.exists());
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_there() {
        let temp = tempfile::tempdir().expect("a directory");
        let id = LayerId::of(temp.path()).expect("statx");
        assert!(LayerId { path: format!("/{}", "x".repeat(5000)).into(), ..id }.exists());
    }
}
