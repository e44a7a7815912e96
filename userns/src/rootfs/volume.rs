//! What lies on an overlay of the host, as a read-only volume: the content of an image, which containerd's CRI mounts so
//! for a pod (Kubernetes' image volumes).
//!
//! An overlay to which nothing was written is what its lower layers are: it is assembled anew over them, as a root
//! filesystem is. One that has been written to would be a second overlay over the same upper directory, of which the
//! behaviour is undefined (overlayfs of the kernel's documentation, "Sharing and copying layers").

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags};

use super::attached::Scratch;
use super::overlay::{OVERLAY_MAGIC, Overlay};
use super::{LayerRoute, Request};
use crate::mount::{Detached, MountIds, open_below};
use crate::mountinfo::{self, MountEntry};
use crate::{Error, Result};

/// What a read-only bind mount of `source` is; none where a bind mount has to do: `source` is on no overlay, or on one that
/// has been written to, is shown only in part, has (for a `recursive` bind) other mounts below, or belongs to ids of the
/// container's own range.
///
/// It is called in a mount namespace of the stage's own, under the filesystem ids of the container's root.
///
/// # Errors
/// A layer that cannot be id-mapped or is owned by ids of neither kind, by its path; what the kernel says.
pub fn volume(
    source: BorrowedFd<'_>,
    recursive: bool,
    ids: MountIds<'_>,
    route: LayerRoute,
) -> Result<Option<Detached>> {
    let fail = |error: std::io::Error| Error::failed("look at", "the source of a volume", error);
    // Before anything that costs more: few binds are of an overlay.
    if rustix::fs::fstatfs(source).map_err(|errno| fail(errno.into()))?.f_type as u32 != OVERLAY_MAGIC {
        return Ok(None);
    }
    let mask = StatxFlags::MNT_ID | StatxFlags::UID;
    let stat = rustix::fs::statx(source, c"", AtFlags::EMPTY_PATH, mask).map_err(|errno| fail(errno.into()))?;
    if ids.are_of(stat.stx_uid) {
        return Ok(None);
    }
    let entries = mountinfo::read()?;
    let Some(entry) = entries.iter().find(|entry| entry.id == stat.stx_mnt_id) else { return Ok(None) };
    let path = std::fs::read_link(format!("/proc/thread-self/fd/{}", source.as_raw_fd())).map_err(fail)?;
    let below = path.strip_prefix(&entry.mount_point);
    let (true, Ok(below)) = (entry.root == Path::new("/"), below) else { return Ok(None) };
    if recursive && !mountinfo::below(&entries, entry.id, &path).is_empty() {
        return Ok(None);
    }
    let Some(overlay) = unwritten(entry)? else { return Ok(None) };
    let request = Request { mounts: &[], path: &entry.mount_point, userns: ids.userns.as_fd(), route };
    part(overlay.mount(ids, &request)?, below, &entry.mount_point).map(Some)
}

/// What lies at `below` in a detached mount. Mounts can be cloned only from attached ones (before Linux 6.15): it is
/// attached on a tmpfs that covers `path` meanwhile.
fn part(whole: Detached, below: &Path, path: &Path) -> Result<Detached> {
    if below.as_os_str().is_empty() {
        return Ok(whole);
    }
    let name = path.join(below).display().to_string();
    let scratch = Scratch::mount(path)?;
    scratch.attach(&whole, "whole")?;
    let part = open_below(whole.fd(), below).map_err(|errno| Error::failed("open", &name, errno))?;
    Detached::clone_of(part, false, &name)
}

/// The lower layers of a mounted overlay, when there is nothing above them.
fn unwritten(entry: &MountEntry) -> Result<Option<Overlay>> {
    let overlay = Overlay::from_mountinfo(entry, &entry.mount_point)?;
    if let Some((upper, _)) = &overlay.upper {
        let mut content = match std::fs::read_dir(upper) {
            Ok(content) => content,
            // Made elsewhere: its layers have no path here.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::failed("read directory", upper.display(), error)),
        };
        if content.next().is_some() {
            return Ok(None);
        }
    }
    Ok(Some(Overlay { upper: None, read_only: true, ..overlay }))
}
