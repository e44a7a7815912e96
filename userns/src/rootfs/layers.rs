//! The layers of an overlay, as descriptors whose owners are shown through the container's map.
//!
//! All layers usually lie below one directory of one mount (a snapshotter's or graph driver's). One clone of that mount
//! is then id-mapped for all of them: each further clone would cost an RCU grace period when it is closed. Layers that
//! are mounts of their own are cloned one by one. Upper and work directory must be reached through the same mount,
//! and are always opened below one clone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use policy::idmap::{IdMap, RANGE_SIZE};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};

use super::open_directory;
use crate::mount::{Detached, MountIds};
use crate::{Error, Result};

/// Layers as they are given to the overlay, in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// The clones that layers lie in: a detached mount is dissolved when its own descriptor is closed.
    clones: Vec<Detached>,
}

impl Layers {
    /// Opens `lowers`, then the upper and the work directory when there are any.
    pub(super) fn open(lowers: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>, ids: MountIds<'_>) -> Result<Self> {
        let mut layers: Vec<Layer> = lowers.iter().map(|path| Layer::look(path, ids)).collect::<Result<_>>()?;
        if let Some((upper, work)) = upper {
            let upper = Layer::look(upper, ids)?;
            let work = Layer { mapped: upper.mapped, ..Layer::open(work)? };
            layers.extend([upper, work]);
        }
        let mut clones = Vec::new();
        if !map_together(&mut layers, ids, &mut clones).unwrap_or(false) {
            clones.clear();
            let (lowers, upper) = layers.split_at_mut(lowers.len());
            for layer in lowers.iter_mut().filter(|layer| layer.mapped) {
                layer.map_alone(ids, &mut clones)?;
            }
            let together = map_together(upper, ids, &mut clones)?;
            if let (false, Some(upper)) = (together, upper.first()) {
                let reason = "does not lie on the same mount as its work directory";
                return Err(Error::refused(upper.path.display(), reason));
            }
        }
        Ok(Self { layers, clones })
    }

    /// The layers' descriptors.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.layers.iter().map(|layer| layer.fd.as_fd())
    }

    /// Each layer's place: the index of a clone and the path in it, or none and the path on the host.
    pub(super) fn places(&self) -> impl Iterator<Item = (Option<usize>, &Path)> {
        self.layers.iter().map(|layer| (layer.clone, layer.place.as_path()))
    }

    /// The id-mapped clones.
    pub(super) fn clones(&self) -> &[Detached] {
        &self.clones
    }
}

/// One layer.
#[derive(Debug)]
struct Layer {
    path: PathBuf,
    fd: OwnedFd,
    /// Device and inode, to know it again below a clone.
    identity: (u32, u32, u64),
    uid: u32,
    /// Whether its owners are to be shown through the map.
    mapped: bool,
    /// The clone that it is reached through, once it is mapped, and the path in that; on the host before.
    clone: Option<usize>,
    place: PathBuf,
}

impl Layer {
    fn open(path: &Path) -> Result<Self> {
        let fd = open_directory(path)?;
        let (identity, uid) = identify(fd.as_fd(), path)?;
        Ok(Self { path: path.to_owned(), fd, identity, uid, mapped: false, clone: None, place: path.to_owned() })
    }

    /// Opens it and lets its owner decide.
    fn look(path: &Path, ids: MountIds<'_>) -> Result<Self> {
        let layer = Self::open(path)?;
        let mapped = owner_decides(layer.uid, path, ids.own)?;
        Ok(Self { mapped, ..layer })
    }

    fn map_alone(&mut self, ids: MountIds<'_>, clones: &mut Vec<Detached>) -> Result<()> {
        let name = self.path.display().to_string();
        let clone = Detached::clone_of(&self.fd, false, &name)?;
        clone.id_map(&self.fd, ids, false)?;
        self.fd = clone.fd().try_clone_to_owned().map_err(|error| Error::failed("duplicate", name, error))?;
        (self.clone, self.place) = (Some(clones.len()), PathBuf::from("."));
        clones.push(clone);
        Ok(())
    }
}

/// Maps all layers that need it below one clone of their common directory. False when one of them does not lie on the
/// same mount: then the layers are as before.
fn map_together(layers: &mut [Layer], ids: MountIds<'_>, clones: &mut Vec<Detached>) -> Result<bool> {
    let mut mapped = layers.iter_mut().filter(|layer| layer.mapped);
    let Some(first) = mapped.next() else { return Ok(true) };
    let parent = first.path.parent().unwrap_or(&first.path).to_owned();
    let common = mapped.fold(parent, |common, layer| common_directory(&common, &layer.path));
    let source = open_directory(&common)?;
    let clone = Detached::clone_of(&source, false, &common.display().to_string())?;
    clone.id_map(&source, ids, false)?;
    let mut found = Vec::with_capacity(layers.len());
    for layer in layers.iter().filter(|layer| layer.mapped) {
        let Some(fd) = open_below(clone.fd(), &common, layer) else { return Ok(false) };
        found.push(fd);
    }
    for (layer, (fd, place)) in layers.iter_mut().filter(|layer| layer.mapped).zip(found) {
        (layer.fd, layer.clone, layer.place) = (fd, Some(clones.len()), place);
    }
    clones.push(clone);
    Ok(true)
}

/// The layer below a clone of directory `common`; none when it is another directory there: a mount of its own covers it.
fn open_below(clone: BorrowedFd<'_>, common: &Path, layer: &Layer) -> Option<(OwnedFd, PathBuf)> {
    let relative = layer.path.strip_prefix(common).ok()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let fd = rustix::fs::openat2(clone, relative, flags, Mode::empty(), resolve).ok()?;
    let (identity, _) = identify(fd.as_fd(), &layer.path).ok()?;
    (identity == layer.identity).then(|| (fd, relative.to_owned()))
}

/// The longest directory that both paths begin with.
fn common_directory(one: &Path, other: &Path) -> PathBuf {
    let parts = one.components().zip(other.components());
    parts.take_while(|(one, other)| one == other).map(|(part, _)| part).collect()
}

fn identify(fd: BorrowedFd<'_>, path: &Path) -> Result<((u32, u32, u64), u32)> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::UID)
        .map_err(|errno| Error::failed("stat", path.display(), errno))?;
    Ok(((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino), stat.stx_uid))
}

/// Whether the owners below a directory are to be shown through the map: its own owner decides.
pub(super) fn is_mapped(directory: BorrowedFd<'_>, path: &Path, ids: MountIds<'_>) -> Result<bool> {
    owner_decides(identify(directory, path)?.1, path, ids.own)
}

fn owner_decides(uid: u32, path: &Path, own: Option<IdMap>) -> Result<bool> {
    match own.and_then(|own| own.to_container(uid)) {
        Some(_) => Ok(false),
        None if uid < RANGE_SIZE => Ok(true),
        None => {
            let reason = format!("belongs to host id {uid}, which is neither below {RANGE_SIZE} nor the container's");
            Err(Error::refused(path.display(), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_decides() {
        let map = Some(IdMap { host: 100_000, size: 65536 });
        let decide = |uid| owner_decides(uid, Path::new("/layer"), map);
        assert!(decide(0).expect("mapped") && decide(65535).expect("mapped"));
        assert!(!decide(100_000).expect("left") && !decide(165_535).expect("left"));
        for other in [65536, 99_999, 165_536] {
            let error = decide(other).expect_err("somebody else's").to_string();
            assert_eq!(
                error,
                format!("/layer: belongs to host id {other}, which is neither below 65536 nor the container's")
            );
        }
    }

    #[test]
    fn the_common_directory_is_one_of_whole_components() {
        let common = |one, other| common_directory(Path::new(one), Path::new(other));
        assert_eq!(common("/a/snapshots/1", "/a/snapshots/12/fs"), Path::new("/a/snapshots"));
        assert_eq!(common("/a", "/b/c"), Path::new("/"));
    }
}
