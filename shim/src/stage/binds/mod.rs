//! The sources of bind mounts: opened once, looked at, judged by policy, and cloned from the very descriptor that was looked
//! at.
//!
//! It happens before anything of the container is mounted in this stage's mount namespace, so that no source can lead to what
//! is made here.
//!
//! * [`Sources`]: the clones of all of them, in the order of the plan's mounts.
//! * [`Source`]: one clone, ready to be attached, and what of it is to be covered then.
//! * [`probe`]: the facts.
//!
//! Invariant: no path is resolved twice, and none through a magic link of procfs: what these name (`/proc/self/fd/3`) depends
//! on who opens them.

mod probe;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::binds::{self, Cover, Known, Rules};
use policy::plan::{BindIds, MountKind};
use userns::mount::{Detached, MountIds};
use userns::mountinfo::{self, MountEntry};

use super::channel::Channel;
use super::dev::Covers;
use super::message::{BuildOrder, Failure, Report};

/// The sources of a plan's mounts; none for a mount that is no bind mount.
pub(super) struct Sources(pub(super) Vec<Option<Source>>);

/// The source of one bind mount.
pub(super) struct Source {
    /// Its clone.
    pub(super) detached: Detached,
    /// Whether it is a directory.
    pub(super) directory: bool,
    covers: Vec<Cover>,
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
        let mounts = &order.plan.mounts;
        if !mounts.iter().any(|mount| matches!(mount.kind, MountKind::Bind { .. })) {
            return Ok(Self(mounts.iter().map(|_| None).collect()));
        }
        let entries = mountinfo::read()?;
        let known = probe::known(&order.binds, &entries)?;
        let bench = Bench { order, user, proc, mounts: entries, known };
        let mut sources = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let MountKind::Bind { source, recursive, id_map } = &mount.kind else {
                sources.push(None);
                continue;
            };
            let source = bench.source(source, *recursive, id_map).map_err(|failure| mount_failed(mount, failure))?;
            for note in source.detached.notes() {
                control.send(&Report::Note(note.to_owned()), &[]).map_err(Failure::at("report to", "the shim"))?;
            }
            sources.push(Some(source));
        }
        Ok(Self(sources))
    }
}

/// A failure at one of the spec's mounts, with its index and destination in front. A denial has a line of its own.
pub(super) fn mount_failed(mount: &policy::plan::Mount, failure: Failure) -> Failure {
    match failure.denial {
        Some(_) => failure,
        None => Failure::line(format!("mounts[{}] {}: {}", mount.index, mount.destination, failure.line)),
    }
}

impl Bench<'_> {
    fn source(&self, path: &Path, recursive: bool, ids: &BindIds) -> Result<Source, Failure> {
        let fd = probe::open(path).map_err(Failure::at("open source", path.display()))?;
        let looked = probe::look(fd.as_fd(), path, &self.mounts)?;
        let rules: &Rules = &self.order.binds;
        let directory = looked.object.kind == binds::facts::Kind::Directory;
        let carried =
            if recursive && directory { probe::carried(fd.as_fd(), &looked, &self.mounts)? } else { Vec::new() };
        let source = binds::facts::Source { object: looked.object, carried };
        let covers = rules.judge(&self.known, path, &looked.path, &source)?;
        let detached = self.cloned(&fd, path, recursive, ids, &covers)?;
        Ok(Source { detached, directory, covers })
    }

    fn cloned(
        &self,
        fd: &OwnedFd,
        path: &Path,
        recursive: bool,
        ids: &BindIds,
        covers: &[Cover],
    ) -> Result<Detached, Failure> {
        let name = path.display().to_string();
        let cloned = match ids {
            BindIds::Container => {
                let own = Some(self.order.id_map);
                let ids = MountIds { userns: self.user, own, plain: self.order.binds.plain };
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
                .of(kind == binds::facts::Kind::Directory)?
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
