//! The sources of bind mounts: opened once, looked at, judged by policy, and cloned from the very descriptor that was looked
//! at.
//!
//! It happens before anything of the container is mounted in this stage's mount namespace, so that no source can lead to what
//! is made here.
//!
//! * [`Sources`]: those of all mounts, in the order of the plan.
//! * [`Source`]: the clone for one bind mount, ready to be attached, and what of it is to be covered then.
//! * [`layers`]: the layers of an overlay that the spec asks for, which show the host's directories as a bind mount does.
//! * [`probe`]: the facts.
//!
//! Invariant: no path is resolved twice, and none through a magic link of procfs: what these name (`/proc/self/fd/3`) depends
//! on who opens them.

mod layers;
mod probe;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::binds::facts::{self, Kind};
use policy::binds::{self, Cover, Known};
use policy::plan::{BindIds, Mount, MountKind};
use rustix::io::Errno;
use userns::mount::{Detached, MountIds};
use userns::mountinfo::{self, MountEntry};
use userns::rootfs::{LayerRoute, volume};

use super::channel::Channel;
use super::dev::Covers;
use super::message::{BuildOrder, Failure, Report};
pub(super) use layers::Layers;

/// The sources of a plan's mounts.
pub(super) struct Sources(pub(super) Vec<Opened>);

/// What was opened for one mount.
pub(super) enum Opened {
    /// Nothing: it shows no file of the host.
    Nothing,
    /// The source of a bind mount.
    Bind(Source),
    /// The layers of an overlay.
    Layers(Layers),
}

/// The source of one bind mount.
pub(super) struct Source {
    /// Its clone.
    pub(super) detached: Detached,
    /// Whether it is a directory.
    pub(super) directory: bool,
    covers: Vec<Cover>,
}

/// What the spec says of one.
struct Bind<'a> {
    path: &'a Path,
    recursive: bool,
    /// Whether every mount that comes with it is read-only.
    read_only: bool,
    ids: &'a BindIds,
}

/// Whether nothing can be written through a mount.
fn is_read_only(mount: &Mount) -> bool {
    (mount.flags.set | mount.recursive_flags.set) & !mount.recursive_flags.clear & libc::MOUNT_ATTR_RDONLY != 0
}

/// What judging a source takes.
struct Bench<'a> {
    order: &'a BuildOrder,
    /// The container's user namespace.
    user: BorrowedFd<'a>,
    /// The host's procfs.
    proc: BorrowedFd<'a>,
    mounts: Vec<MountEntry>,
    known: Known,
}

impl Sources {
    /// Opens, judges and clones the source of every bind mount of the order. What is weaker than the spec asks is reported
    /// over `control`.
    ///
    /// # Errors
    /// A denial, or the step that failed.
    pub(super) fn open(
        control: &Channel,
        order: &BuildOrder,
        user: BorrowedFd<'_>,
        proc: BorrowedFd<'_>,
    ) -> Result<Self, Failure> {
        let shows = |mount: &&Mount| matches!(mount.kind, MountKind::Bind { .. } | MountKind::Filesystem { .. });
        let mounts = &order.plan.mounts;
        if !mounts.iter().any(|mount| shows(&mount)) {
            return Ok(Self(mounts.iter().map(|_| Opened::Nothing).collect()));
        }
        let entries = mountinfo::read()?;
        let known = probe::known(&order.binds, &entries)?;
        let bench = Bench { order, user, proc, mounts: entries, known };
        let open = |mount| bench.mount(mount).map_err(|failure| mount_failed(mount, failure));
        let sources = Self(mounts.iter().map(open).collect::<Result<_, _>>()?);
        for note in sources.0.iter().flat_map(Opened::notes) {
            control.send(&Report::Note(note.to_owned()), &[]).map_err(Failure::at("report to", "the shim"))?;
        }
        Ok(sources)
    }
}

impl Opened {
    /// What is weaker than the spec asks.
    fn notes(&self) -> Vec<&str> {
        match self {
            Self::Bind(source) => source.detached.notes(),
            Self::Nothing | Self::Layers(_) => Vec::new(),
        }
    }
}

/// A failure at one of the spec's mounts, with its index and destination in front. A denial has a line of its own.
pub(super) fn mount_failed(mount: &Mount, failure: Failure) -> Failure {
    match failure.denial {
        Some(_) => failure,
        None => Failure::line(format!("mounts[{}] {}: {}", mount.index, mount.destination, failure.line)),
    }
}

impl Bench<'_> {
    fn mount(&self, mount: &Mount) -> Result<Opened, Failure> {
        match &mount.kind {
            MountKind::Bind { source, recursive, id_map } => {
                let bind = Bind { path: source, recursive: *recursive, read_only: is_read_only(mount), ids: id_map };
                self.source(&bind).map(Opened::Bind)
            }
            MountKind::Filesystem { fstype, source, data } if fstype == "overlay" => {
                layers::open(self, source.clone(), data).map(Opened::Layers)
            }
            _ => Ok(Opened::Nothing),
        }
    }

    fn source(&self, bind: &Bind<'_>) -> Result<Source, Failure> {
        let (fd, kind, covers) = self.judged(bind.path, bind.recursive)?;
        let detached = self.cloned(&fd, bind, &covers)?;
        Ok(Source { detached, directory: kind == Kind::Directory, covers })
    }

    /// Opens a path of the host and lets policy judge it.
    fn judged(&self, path: &Path, recursive: bool) -> Result<(OwnedFd, Kind, Vec<Cover>), Failure> {
        let at = |cause: &dyn std::fmt::Display| Failure::at("open source", path.display())(cause);
        let fd = probe::open(path).map_err(|errno| match errno {
            Errno::LOOP => at(&"leads through a magic link of procfs, or through too many symbolic links"),
            errno => at(&errno),
        })?;
        let looked = probe::look(fd.as_fd(), path, &self.mounts)?;
        let kind = looked.object.kind;
        let carries = recursive && kind == Kind::Directory;
        let carried = if carries { probe::carried(fd.as_fd(), &looked, &self.mounts)? } else { Vec::new() };
        let source = facts::Source { object: looked.object, carried };
        let covers = self.order.binds.judge(&self.known, path, &looked.path, &source)?;
        Ok((fd, kind, covers))
    }

    fn cloned(&self, fd: &OwnedFd, bind: &Bind<'_>, covers: &[Cover]) -> Result<Detached, Failure> {
        let Bind { path, recursive, .. } = *bind;
        let name = path.display().to_string();
        let cloned = match bind.ids {
            BindIds::Container => {
                let own = Some(self.order.id_map);
                let ids = MountIds { userns: self.user, own, plain: self.order.binds.plain };
                // An overlay takes no id map. What is only read can be shown by its layers instead.
                let layers = bind.read_only && covers.is_empty();
                if let Some(volume) =
                    layers.then(|| volume(fd.as_fd(), recursive, ids, LayerRoute::Auto)).transpose()?.flatten()
                {
                    return Ok(volume);
                }
                let without: Vec<_> = covers.iter().map(|cover| cover.relative.clone()).collect();
                Detached::bind(fd, recursive, ids, &name, &without)
            }
            BindIds::Explicit { uid, gid, recursive: mapped } => {
                let namespace = userns::idmap::user_namespace(self.proc, uid, gid)?;
                let ids = MountIds { userns: namespace.as_fd(), own: None, plain: false };
                let detached = Detached::clone_of(fd, recursive, &name)?;
                detached.id_map(fd.as_fd(), ids, *mapped).map(|()| detached)
            }
        };
        cloned.map_err(|error| match error {
            userns::Error::Unmappable { path: mount, fstype } => binds::unmappable(path, &mount, &fstype).into(),
            error => error.into(),
        })
    }
}

impl Source {
    /// Covers what is restricted below the source, once that is attached. The covers are locked with everything else.
    pub(super) fn cover(&self, covers: &Covers) -> Result<(), Failure> {
        for cover in &self.covers {
            let place = userns::mount::open_below(self.detached.fd(), &cover.relative)
                .map_err(Failure::at("open what is to be covered:", cover.relative.display()))?;
            let (identity, kind, _) =
                probe::identify(place.as_fd()).map_err(Failure::at("stat", cover.relative.display()))?;
            if cover.identity.is_some_and(|expected| expected != identity) {
                return Err(probe::moved(&cover.relative));
            }
            covers
                .of(kind == Kind::Directory)?
                .attach_at(&place)
                .map_err(Failure::at("cover", cover.relative.display()))?;
        }
        Ok(())
    }

    /// Whether anything is to be covered.
    pub(super) fn has_covers(&self) -> bool {
        !self.covers.is_empty()
    }
}
