//! Bind mounts of the plan: a file or directory of the host, with owners that the container can see.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use policy::plan::{BindIds, ContainerPath};
use rustix::fs::{FileType, Mode, OFlags};
use userns::mount::{Detached, MountIds};
use userns::rootfs::{LayerRoute, Volume, volume};
use userns::tree::Tree;

use super::message::Failure;
use super::mounts::Builder;

/// One of them.
pub(super) struct Bind<'a> {
    /// What is bound.
    pub(super) source: &'a Path,
    /// With the mounts below it.
    pub(super) recursive: bool,
    /// Whether it is to be read-only; its flags are the caller's to set.
    pub(super) read_only: bool,
    /// Through which ids its owners are shown.
    pub(super) ids: &'a BindIds,
    /// Its place among the spec's mounts.
    pub(super) index: usize,
}

impl Bind<'_> {
    /// Makes it. Beside it, whether the source is a directory.
    pub(super) fn make(&self, builder: &Builder<'_>) -> Result<(Detached, bool), Failure> {
        let name = self.source.display().to_string();
        let fd = rustix::fs::open(self.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(Failure::at("open source", &name))?;
        let stat = rustix::fs::fstat(&fd).map_err(Failure::at("stat source", &name))?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let detached = match self.ids {
            BindIds::Container => self.as_container(builder, fd.as_fd(), &name)?,
            BindIds::Explicit { uid, gid, recursive: mapped } => {
                let namespace = userns::idmap::user_namespace(builder.proc, uid, gid)?;
                let ids = MountIds { userns: namespace.as_fd(), own: None };
                let detached = Detached::clone_of(&fd, self.recursive, &name)?;
                detached.id_map(fd.as_fd(), ids, *mapped)?;
                detached
            }
        };
        Ok((detached, directory))
    }

    fn as_container(&self, builder: &Builder<'_>, source: BorrowedFd<'_>, name: &str) -> Result<Detached, Failure> {
        let ids = MountIds { userns: builder.user, own: Some(builder.order.id_map) };
        if self.read_only
            && let Some(volume) = volume(source, self.recursive, ids, LayerRoute::Auto)?
        {
            return self.part(builder, volume, name);
        }
        Ok(Detached::bind(source, self.recursive, ids, name)?)
    }

    /// The part of a volume that is asked for. It is cloned from where no container has a path to: mounts can be cloned
    /// only from attached ones (before Linux 6.15).
    fn part(&self, builder: &Builder<'_>, volume: Volume, name: &str) -> Result<Detached, Failure> {
        let Volume { whole, below } = volume;
        if below.as_os_str().is_empty() {
            return Ok(whole);
        }
        let keep = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(Failure::at("keep", name));
        let path = |text: String| {
            ContainerPath::parse(&text).map_err(|reason| Failure::line(format!("{name}: {text:?} {reason}")))
        };
        let place = path(format!("/volume-{}", self.index))?;
        whole.attach(&Tree::new(keep(builder.scratch.fd())?).mountpoint_dir(&place)?)?;
        let part = Tree::new(keep(whole.fd())?).open(&path(format!("/{}", below.display()))?)?;
        Ok(Detached::clone_of(part, false, name)?)
    }
}
