//! Overlays on kernels that take no detached mounts as layers (before Linux 6.15).
//!
//! The id-mapped clones are attached below a tmpfs that covers `root.path` in the stage's own mount namespace, and each
//! layer gets a symlink there whose name is a number: mount(2)'s options must fit into one page, however many layers
//! there are. The overlay keeps private clones of its layers, so that the tmpfs goes again before this returns.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Mode;
use rustix::mount::{MountFlags, UnmountFlags};

use super::layers::Layers;
use super::open_directory;
use super::overlay::Overlay;
use crate::mount::Detached;
use crate::{Error, Result};

/// What mount(2) takes as its data, less the final NUL, bytes.
const OPTIONS_MAX: usize = 4095;
/// Where the overlay is mounted, in the scratch directory.
const MERGED: &str = "merged";

/// Mounts `overlay` over `layers`.
pub(super) fn mount(overlay: &Overlay, layers: &Layers, path: &Path) -> Result<Detached> {
    let scratch = Scratch::mount(path)?;
    for (index, clone) in layers.clones().iter().enumerate() {
        scratch.attach(clone, &clone_name(index))?;
    }
    for (index, (clone, place)) in layers.places().enumerate() {
        let target = clone.map_or_else(|| place.to_owned(), |clone| Path::new(&clone_name(clone)).join(place));
        scratch.link(&target, &index.to_string())?;
    }
    scratch.make(MERGED)?;
    let options = option_string(overlay)?;
    scratch.enter()?;
    let mounted = rustix::mount::mount("overlay", MERGED, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(|errno| Error::failed("mount overlay at", path.display(), errno))
        .and_then(|()| Detached::clone_of_path(Path::new(MERGED), false));
    scratch.leave()?;
    mounted
}

/// The name of a clone in the scratch directory.
fn clone_name(index: usize) -> String {
    format!("c{index}")
}

fn option_string(overlay: &Overlay) -> Result<CString> {
    let merged = overlay.lowers.len() - overlay.data_only;
    let number = |index: usize| if index < merged { format!(":{index}") } else { format!("::{index}") };
    let lowers: String = (0..overlay.lowers.len()).map(number).collect();
    let mut text = format!("lowerdir={}", lowers.trim_start_matches(':'));
    if overlay.upper.is_some() {
        text += &format!(",upperdir={},workdir={}", overlay.lowers.len(), overlay.lowers.len() + 1);
    }
    for (key, value) in &overlay.options {
        text += &value.as_ref().map_or_else(|| format!(",{key}"), |value| format!(",{key}={value}"));
    }
    if text.len() > OPTIONS_MAX {
        return Err(Error::refused("rootfs", format!("the overlay's {} layers need too long options", merged)));
    }
    CString::new(text).map_err(|_| Error::refused("rootfs", "the overlay's options have a NUL byte"))
}

/// A tmpfs over a directory, for as long as this lives, and the working directory to return to.
pub(super) struct Scratch<'a> {
    path: &'a Path,
    root: OwnedFd,
    before: OwnedFd,
}

impl<'a> Scratch<'a> {
    pub(super) fn mount(path: &'a Path) -> Result<Self> {
        let data = [("mode".to_owned(), Some("0700".to_owned()))];
        let tmpfs = Detached::filesystem("tmpfs", Some("tmpfs"), &data, &[])?;
        let before = open_directory(Path::new("."))?;
        tmpfs
            .attach_at(open_directory(path)?)
            .map_err(|errno| Error::failed("mount a scratch directory on", path.display(), errno))?;
        Ok(Self { path, root: tmpfs.into_fd(), before })
    }

    fn make(&self, name: &str) -> Result<OwnedFd> {
        let fail = |errno| Error::failed("create a scratch directory on", self.path.display(), errno);
        rustix::fs::mkdirat(&self.root, name, Mode::RWXU).map_err(fail)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, name, flags, Mode::empty()).map_err(fail)
    }

    pub(super) fn attach(&self, clone: &Detached, name: &str) -> Result<()> {
        clone
            .attach_at(self.make(name)?)
            .map_err(|errno| Error::failed("attach a layer on", self.path.display(), errno))
    }

    fn link(&self, target: &Path, name: &str) -> Result<()> {
        rustix::fs::symlinkat(target, &self.root, name)
            .map_err(|errno| Error::failed("create a symlink on", self.path.display(), errno))
    }

    fn enter(&self) -> Result<()> {
        rustix::process::fchdir(&self.root).map_err(|errno| Error::failed("enter", self.path.display(), errno))
    }

    fn leave(&self) -> Result<()> {
        rustix::process::fchdir(&self.before).map_err(|errno| Error::failed("leave", self.path.display(), errno))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // Where it cannot be removed it goes with the stage's mount namespace.
        let _ = rustix::mount::unmount(self.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}
