//! The directory that a container writes to, by which its lease knows that the container was not removed yet.

use std::path::{Path, PathBuf};

use policy::plan::RootMount;

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
