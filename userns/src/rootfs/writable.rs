//! The directory that a container writes to, by which its lease knows that the container was not removed yet.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use policy::plan::RootMount;

use super::open_directory;
use super::options::Options;
use super::overlay::Overlay;
use crate::lease::LayerId;
use crate::{Error, Result};

/// The writable layer of a container whose root filesystem is made of `mounts`, or, when these are empty, of what the
/// engine has at `root_path`: an overlay's upper directory, a bind mount's source, the directory itself. None for a root
/// filesystem that is read-only by its mounts. Nothing is changed; it may be called from any thread.
///
/// # Errors
/// A line that names the directory when it is missing, or options that make no sense.
pub fn writable_layer(mounts: &[RootMount], root_path: &Path) -> Result<Option<LayerId>> {
    let path = match mounts.iter().rfind(|mount| super::is_root(mount)) {
        Some(mount) => of_mount(mount)?,
        None => match Overlay::mounted_at(root_path)? {
            Some(overlay) => overlay.upper.map(|(upper, _)| upper),
            None => Some(root_path.to_owned()),
        },
    };
    let Some(path) = path else { return Ok(None) };
    LayerId::of(&path)
        .map(Some)
        .map_err(|error| Error::failed("find the root filesystem's directory", path.display(), error))
}

/// An overlay with a writable layer that the engine has mounted itself.
#[derive(Debug)]
pub(crate) struct EngineOverlay {
    /// The root of the engine's mount, an `O_PATH` descriptor: while it is open the mount is busy.
    pub(crate) root: OwnedFd,
    /// The upper directory, of both overlays.
    pub(crate) upper: PathBuf,
    /// The work directory of our own overlay.
    pub(crate) work: PathBuf,
}

impl EngineOverlay {
    /// The one at `path`; none when there is no overlay, or one without a writable layer.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>> {
        let Some((upper, work)) = Overlay::mounted_at(path)?.and_then(Overlay::into_writable) else { return Ok(None) };
        Ok(Some(Self { root: open_directory(path)?, upper, work }))
    }
}

fn of_mount(mount: &RootMount) -> Result<Option<PathBuf>> {
    let options = Options::parse(&mount.options);
    match mount.fstype.as_str() {
        "overlay" => Ok(Overlay::from_options(&options)?.upper.map(|(upper, _)| upper)),
        fstype if !super::is_supported(fstype) => Err(super::unsupported(fstype)),
        _ if options.read_only => Ok(None),
        // A block device or a dataset is its own layer: the node that names it goes with it.
        _ => Ok(Some(PathBuf::from(&mount.source))),
    }
}
