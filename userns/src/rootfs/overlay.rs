//! An overlay's description, from a request's options or from mountinfo, and its assembly over id-mapped layers.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use policy::plan::MountFlags;
use rustix::fs::{AtFlags, CWD, Mode, StatxFlags};
use rustix::io::Errno;

use super::layers::{self, Layers};
use super::options::Options;
use super::{LayerRoute, Request, attached, open_directory};
use crate::mount::{Context, Detached, MountIds};
use crate::mountinfo::{self, MountEntry};
use crate::{Error, Result};

/// `OVERLAYFS_SUPER_MAGIC` of statfs(2).
pub(super) const OVERLAY_MAGIC: u32 = 0x794c_7630;
/// What is put behind the engine's work directory to name ours.
const WORK_SUFFIX: &str = "-eci";
/// Options of a mounted overlay that are taken over. `volatile` is not: our own work directory is always clean.
/// `index` and `nfs_export` are off: with an index the kernel refuses a second overlay over one upper directory.
const KEPT: [&str; 7] = ["userxattr", "metacopy", "redirect_dir", "xino", "uuid", "verity", "default_permissions"];

/// What an overlay is made of (overlayfs of the kernel's documentation).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Uppermost first.
    pub(super) lowers: Vec<PathBuf>,
    /// How many of `lowers`, at their end, are data-only layers.
    pub(super) data_only: usize,
    /// Upper and work directory.
    pub(super) upper: Option<(PathBuf, PathBuf)>,
    /// Its other options.
    pub(super) options: Vec<(String, Option<String>)>,
    pub(super) read_only: bool,
}

impl Overlay {
    /// From the options of a mount of a request.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let mut overlay = Self { read_only: options.read_only, ..Self::default() };
        let (mut upper, mut work) = (None, None);
        for (key, value) in &options.data {
            match (key.as_str(), value) {
                ("lowerdir", Some(value)) => overlay.add_lowers(value),
                ("lowerdir+", Some(value)) => overlay.lowers.push(value.into()),
                ("datadir+", Some(value)) => {
                    overlay.lowers.push(value.into());
                    overlay.data_only += 1;
                }
                ("upperdir", Some(value)) => upper = Some(PathBuf::from(unescape(value))),
                ("workdir", Some(value)) => work = Some(PathBuf::from(unescape(value))),
                _ => overlay.options.push((key.clone(), value.clone())),
            }
        }
        overlay.upper = match (upper, work) {
            (Some(upper), Some(work)) => Some((upper, work)),
            (None, None) => None,
            (Some(upper), None) => return Err(Error::refused(upper.display(), "is an upperdir without a workdir")),
            (None, Some(work)) => return Err(Error::refused(work.display(), "is a workdir without an upperdir")),
        };
        if overlay.lowers.is_empty() {
            return Err(Error::refused("rootfs", "the overlay mount has no lowerdir"));
        }
        Ok(overlay)
    }

    /// The overlay whose root is mounted at `path`, with a work directory of our own; none when there is no overlay.
    pub(super) fn mounted_at(path: &Path) -> Result<Option<Self>> {
        let fd = open_directory(path)?;
        let fail = |errno| Error::failed("stat", path.display(), errno);
        if rustix::fs::fstatfs(&fd).map_err(fail)?.f_type as u32 != OVERLAY_MAGIC {
            return Ok(None);
        }
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(fail)?;
        let entries = mountinfo::read()?;
        let entry = entries.iter().find(|entry| entry.id == stat.stx_mnt_id);
        let canonical = std::fs::canonicalize(path).map_err(|error| Error::failed("resolve", path.display(), error))?;
        match entry {
            Some(entry) if entry.mount_point == canonical && entry.root == Path::new("/") => {
                Self::from_mountinfo(entry, &canonical).map(Some)
            }
            _ => Err(Error::refused(path.display(), "is a directory on overlay, which cannot be id-mapped")),
        }
    }

    /// Its upper directory, and our own work directory beside the engine's.
    pub(super) fn into_writable(self) -> Option<(PathBuf, PathBuf)> {
        self.upper.filter(|_| !self.read_only)
    }

    /// From the mount whose root is the overlay's, at `path`; the work directory is one of our own.
    pub(super) fn from_mountinfo(entry: &MountEntry, path: &Path) -> Result<Self> {
        let mut options = Options::parse(&entry.super_options);
        options.data.retain(|(key, _)| key.ends_with("dir") || key.ends_with("dir+") || KEPT.contains(&key.as_str()));
        let mut overlay = Self::from_options(&options)?;
        overlay.options.push(("index".into(), Some("off".into())));
        overlay.resolve_relative(path)?;
        if let Some((_, work)) = &mut overlay.upper {
            work.as_mut_os_string().push(WORK_SUFFIX);
        }
        Ok(overlay)
    }

    /// Engines shorten long option strings by a change of directory before mount(2). That directory is one above the
    /// upper directory, or above the mountpoint: the first in which all relative layers exist.
    fn resolve_relative(&mut self, path: &Path) -> Result<()> {
        let upper = self.upper.as_ref().map(|(upper, _)| upper.as_path()).filter(|upper| upper.is_absolute());
        let Some(relative) = self.paths().find(|path| path.is_relative()).cloned() else { return Ok(()) };
        let above = upper.into_iter().chain([path]).flat_map(Path::ancestors);
        let base = above.map(Path::to_owned).find(|base| self.paths().all(|path| base.join(path).is_dir()));
        let Some(base) = base else {
            return Err(Error::refused(relative.display(), "is a relative layer of an overlay of unknown directory"));
        };
        self.paths_mut().for_each(|path| *path = base.join(&*path));
        Ok(())
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.lowers.iter().chain(self.upper.iter().flat_map(|(upper, work)| [upper, work]))
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.lowers.iter_mut().chain(self.upper.iter_mut().flat_map(|(upper, work)| [upper, work]))
    }

    /// Makes the work directory of [`Overlay::mounted_at`], beside the engine's and with the owner of the upper one.
    pub(super) fn make_own_workdir(&self, ids: MountIds<'_>) -> Result<()> {
        let Some((upper, work)) = &self.upper else { return Ok(()) };
        let fail = |errno| Error::failed("create directory", work.display(), errno);
        match rustix::fs::mkdirat(CWD, work, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(fail(errno)),
        }
        if layers::is_mapped(open_directory(upper)?.as_fd(), upper, ids)? {
            // Made under the filesystem ids of the container's root, which the id-mapped clone could not show.
            let root = (Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT));
            rustix::fs::chownat(CWD, work, root.0, root.1, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        }
        Ok(())
    }

    /// Mounts it over its layers, id-mapped as their owners decide.
    pub(super) fn mount(&self, ids: MountIds<'_>, request: &Request<'_>) -> Result<Detached> {
        let layers = Layers::open(&self.lowers, self.upper.as_ref(), ids)?;
        let detached = match (&self.upper, self.lowers.as_slice()) {
            // An overlay needs two layers; one alone is what it would show. Cloned anew: a clone cannot be (before 6.15).
            (None, [lower]) => Detached::bind(open_directory(lower)?, false, ids, &lower.display().to_string(), &[])?,
            _ if request.route == LayerRoute::Attached => attached::mount(self, &layers, request.path)?,
            _ => match self.by_descriptors(&layers)? {
                Some(detached) => detached,
                None => attached::mount(self, &layers, request.path)?,
            },
        };
        if self.read_only {
            detached.set_flags(MountFlags { set: libc::MS_RDONLY, clear: 0 }, false)?;
        }
        Ok(detached)
    }

    /// By descriptors of detached mounts; none when the kernel takes no such layers: before Linux 6.15, and no descriptor at all
    /// before 6.5 (EOPNOTSUPP, for a filesystem of the old mount API).
    fn by_descriptors(&self, layers: &Layers) -> Result<Option<Detached>> {
        let context = Context::open("overlay")?;
        context.set_string("source", "overlay")?;
        let merged = self.lowers.len() - self.data_only;
        for (index, fd) in layers.fds().enumerate() {
            let key = match index.checked_sub(self.lowers.len()) {
                None if index < merged => "lowerdir+",
                None => "datadir+",
                Some(0) => "upperdir",
                Some(_) => "workdir",
            };
            match context.set_fd(key, fd) {
                Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP)) => {
                    return Ok(None);
                }
                answer => answer?,
            }
        }
        for (key, value) in &self.options {
            match value {
                Some(value) => context.set_string(key, value)?,
                None => context.set_flag(key)?,
            }
        }
        context.create(0).map(Some)
    }

    /// Adds the layers of a `lowerdir=` option: separated by `:`, data-only ones after `::`.
    fn add_lowers(&mut self, value: &str) {
        let mut data_only = false;
        for part in split_layers(value) {
            match part.as_str() {
                "" => data_only = true,
                path => {
                    self.lowers.push(path.into());
                    self.data_only += usize::from(data_only);
                }
            }
        }
    }
}

/// Splits a `lowerdir` at `:`, and undoes the escapes of `:` and `\`.
pub fn split_layers(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            ':' => {
                parts.push(String::new());
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(plain);
        }
    }
    parts
}

/// Undoes the escapes of the path of one layer.
pub fn unescape(value: &str) -> String {
    let mut characters = value.chars();
    let mut plain = String::with_capacity(value.len());
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(options: &[&str]) -> Result<Overlay> {
        Overlay::from_options(&Options::parse(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>()))
    }

    #[test]
    fn layers_are_split_and_unescaped() {
        let parsed =
            overlay(&["lowerdir=/a\\:b:/c\\\\d::/data", "upperdir=/u\\:p", "workdir=/w", "index=off"]).expect("one");
        assert_eq!(parsed.lowers, ["/a:b", "/c\\d", "/data"].map(PathBuf::from));
        assert_eq!(parsed.data_only, 1);
        assert_eq!(parsed.upper, Some(("/u:p".into(), "/w".into())));
        assert_eq!(parsed.options, [("index".to_owned(), Some("off".to_owned()))]);
        let appended = overlay(&["lowerdir+=/a:b", "lowerdir+=/c", "datadir+=/d"]).expect("one");
        assert_eq!((appended.lowers.len(), appended.data_only), (3, 1));
        assert_eq!(appended.lowers.first(), Some(&PathBuf::from("/a:b")));
    }

    #[test]
    fn half_an_overlay_is_refused() {
        let refusal = |options: &[&str]| overlay(options).expect_err("refused").to_string();
        assert_eq!(refusal(&["lowerdir=/l", "upperdir=/u"]), "/u: is an upperdir without a workdir");
        assert_eq!(refusal(&["lowerdir=/l", "workdir=/w"]), "/w: is a workdir without an upperdir");
        assert_eq!(refusal(&["upperdir=/u", "workdir=/w"]), "rootfs: the overlay mount has no lowerdir");
    }
}
