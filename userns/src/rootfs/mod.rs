//! The root mount of a container, made so that files on disk keep the owners that the container sees.
//!
//! Main functions:
//! * [`assemble`]: the mounts of a Create request, or what the engine has mounted at `root.path` already, become one
//!   [`Detached`] mount whose owners are shown through the container's map.
//! * [`volume`]: what lies on an overlay, as a read-only volume, in the same way.
//! * [`writable_layer`]: the directory that the container writes to, by which a lease knows that the container lives.
//!
//! An overlay cannot be id-mapped itself, so its layers are, and it is assembled anew over them. **The owner decides**: a
//! layer whose root directory belongs to a host id of the container's range (userns-remap, `ctr --uidmap`, mounts with
//! `uidmap=` and `gidmap=`) is left as it is, one that belongs to an id below 65536 is id-mapped, any other belongs to
//! somebody else and is refused.
//!
//! Invariant: no file of an image or of a snapshot is chowned. What is made on the engine's disk is one directory, the
//! second work directory of an overlay that the engine has mounted itself.

mod attached;
mod block;
mod layers;
mod options;
mod overlay;
mod volume;
mod writable;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::plan::{ContainerPath, RootMount};
use rustix::fs::{CWD, Mode, OFlags};

pub use overlay::{split_layers, unescape};
pub use volume::volume;
pub(crate) use writable::EngineOverlay;
pub use writable::writable_layer;

use self::options::Options;
use self::overlay::Overlay;
use crate::creds::FsIds;
use crate::mount::{Detached, MountIds};
use crate::tree::Tree;
use crate::{Error, Result};

/// How an overlay gets its id-mapped layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerRoute {
    /// By descriptors of detached mounts (Linux 6.15), else [`LayerRoute::Attached`].
    Auto,
    /// As mounts that are attached below a private tmpfs at `root.path` meanwhile (Linux 5.19).
    Attached,
}

/// What a root mount is made of.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The mounts of the Create request; empty when the engine has mounted the root filesystem at `path` itself.
    pub mounts: &'a [RootMount],
    /// `root.path`, an absolute path of the host: where the engine expects or has mounted the root filesystem.
    pub path: &'a Path,
    /// A user namespace with the container's map.
    pub userns: BorrowedFd<'a>,
    /// How an overlay gets its layers.
    pub route: LayerRoute,
}

/// Assembles the root mount. It is called in a mount namespace of the stage's own, with private propagation, and under
/// the filesystem ids of the container's root.
///
/// The result has private propagation and the flags that the mounts ask for (`ro`).
///
/// # Errors
/// One line that names the path, layer or option: a root filesystem that is missing, no directory, on a filesystem that
/// cannot be id-mapped or owned by ids of neither kind; a mount type that is not supported; what the kernel says.
pub fn assemble(request: &Request<'_>, ids: &FsIds) -> Result<Detached> {
    let assembly = Assembly { request, ids: MountIds { userns: request.userns, own: Some(ids.map()), plain: false } };
    let Some(root) = request.mounts.iter().rposition(is_root) else {
        if let Some(mount) = request.mounts.first() {
            return Err(Error::refused(&mount.target, "a root filesystem's mounts need one without a target"));
        }
        return assembly.already_mounted();
    };
    let (before, rest) = request.mounts.split_at(root);
    for mount in before {
        assembly.attach_on_host(mount)?;
    }
    let mut rest = rest.iter();
    let detached = rest.next().map(|mount| assembly.mount(mount)).transpose()?;
    let Some(detached) = detached else {
        return Err(Error::refused(request.path.display(), "has no mount for the root filesystem"));
    };
    for mount in rest {
        assembly.attach_below(&detached, mount)?;
    }
    Ok(detached)
}

/// One call of [`assemble`].
#[derive(Debug, Clone, Copy)]
struct Assembly<'a> {
    request: &'a Request<'a>,
    ids: MountIds<'a>,
}

impl Assembly<'_> {
    /// One mount of the request, with its owners shown through the map.
    fn mount(self, mount: &RootMount) -> Result<Detached> {
        let options = Options::parse(&mount.options);
        options.check_id_maps(self.ids)?;
        let detached = match mount.fstype.as_str() {
            "overlay" => Overlay::from_options(&options)?.mount(self.ids, self.request)?,
            "bind" | "rbind" => self.bind(Path::new(&mount.source), options.recursive_bind)?,
            fstype if block::is_supported(fstype) => {
                let detached = block::mount(fstype, &mount.source, &options)?;
                self.id_map_new(&detached, &mount.source)?;
                detached
            }
            fstype => return Err(unsupported(fstype)),
        };
        detached.set_flags(options.flags, false)?;
        Ok(detached)
    }

    /// What the engine has mounted, or simply has, at `root.path`.
    fn already_mounted(self) -> Result<Detached> {
        let path = self.request.path;
        match Overlay::mounted_at(path)? {
            Some(overlay) => {
                overlay.make_own_workdir(self.ids)?;
                overlay.mount(self.ids, self.request)
            }
            None => self.bind(path, true),
        }
    }

    fn bind(self, source: &Path, recursive: bool) -> Result<Detached> {
        let fd = open_directory(source)?;
        layers::is_mapped(fd.as_fd(), source, self.ids)?;
        Detached::bind(&fd, recursive, self.ids, &source.display().to_string(), &[])
    }

    fn id_map_new(self, detached: &Detached, source: &str) -> Result<()> {
        if layers::is_mapped(detached.fd(), Path::new(source), self.ids)? {
            detached.id_map(detached.fd(), self.ids, false)?;
        }
        Ok(())
    }

    /// A mount that a later one uses as its source, by its path on the host: it is left unmapped, the later one maps it.
    fn attach_on_host(self, mount: &RootMount) -> Result<()> {
        let options = Options::parse(&mount.options);
        let detached = match mount.fstype.as_str() {
            "bind" | "rbind" => Detached::clone_of_path(Path::new(&mount.source), options.recursive_bind)?,
            fstype if block::is_supported(fstype) => block::mount(fstype, &mount.source, &options)?,
            fstype => return Err(Error::refused(fstype, "is not a type of mount that a layer may have")),
        };
        detached.set_flags(options.flags, false)?;
        let host = Tree::new(open_directory(self.request.path)?);
        detached.attach(&host.mountpoint_dir(&target(mount)?)?)
    }

    /// A mount of the request below its root mount.
    fn attach_below(self, root: &Detached, mount: &RootMount) -> Result<()> {
        let below = self.mount(mount)?;
        let fd = root.fd().try_clone_to_owned().map_err(|error| Error::failed("duplicate", root.name(), error))?;
        below.attach(&Tree::new(fd).mountpoint_dir(&target(mount)?)?)
    }
}

/// Whether a root filesystem may be a mount of this type.
fn is_supported(fstype: &str) -> bool {
    matches!(fstype, "overlay" | "bind" | "rbind") || block::is_supported(fstype)
}

fn unsupported(fstype: &str) -> Error {
    Error::refused(fstype, "is not a type of mount that a root filesystem may have")
}

fn is_root(mount: &RootMount) -> bool {
    mount.target.trim_matches('/').is_empty()
}

fn target(mount: &RootMount) -> Result<ContainerPath> {
    let absolute = format!("/{}", mount.target);
    ContainerPath::parse(&absolute).map_err(|reason| Error::refused(&mount.target, reason))
}

/// Opens a directory of the host.
fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| Error::failed("open directory", path.display(), errno))
}
