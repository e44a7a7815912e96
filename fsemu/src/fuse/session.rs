//! Requests and their answers, as bytes: what the kernel may ask of one container's files.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::abi::{self, Ask, Attr, Body, Malformed, Request};
use super::directory::Listing;
use super::handles::Handles;
use super::inodes::{Index, Inodes, Place};
use super::mirror::Entry;
use super::snapshot::{GRACE, Snapshot, since_epoch};
use crate::Emulation;
use crate::table::{Kind, Node, Part};

/// For ever: what never changes.
pub(super) const EVER: Duration = Duration::from_secs(1 << 31);

/// For how long what a mirrored directory has is not looked at again.
pub(super) const MIRROR_FRESH: Duration = Duration::from_secs(1);

/// For how long a reader whose text is no longer fresh is not to ask again: a read each millisecond is not to cost a question.
const MOMENT: Duration = Duration::from_millis(4);

/// Who owns the kernel's own files, a host id.
const HOST_ROOT: u32 = 0;

const DIRECTORY: u32 = libc::S_IFDIR | 0o555;

/// One container's filesystem as its kernel knows it.
#[derive(Debug)]
pub(super) struct Session {
    emulation: Arc<Emulation>,
    /// The views that the kernel knows, by their numbers. Of one that has ended the container's own values are shown.
    views: HashMap<u64, Arc<Emulation>>,
    part: Part,
    pub(super) inodes: Inodes,
    handles: Handles,
    /// What was listed last.
    pub(super) listing: Option<Listing>,
    /// Since the epoch: the time of what has no text.
    started: Duration,
}

impl Session {
    pub(super) fn new(emulation: Arc<Emulation>, part: Part) -> Self {
        let nodes = emulation.nodes.iter().copied().filter(|node| node.part() == part);
        Self {
            inodes: Inodes::new(nodes.collect()),
            handles: Handles::default(),
            listing: None,
            started: since_epoch(),
            views: HashMap::new(),
            emulation,
            part,
        }
    }

    /// The answer to a request; None for those that have none.
    pub(super) fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let request = match Request::parse(request) {
            Ok(request) => request,
            Err(Malformed { unique }) => return unique.map(|unique| abi::error(unique, &Errno::INVAL.into())),
        };
        if let Ask::Forget(forgets) = &request.ask {
            forgets.iter().for_each(|(inode, count)| self.inodes.forget(*inode, *count));
        }
        Some(match self.serve(&request).transpose()? {
            Ok(body) => body.answer(request.unique),
            Err(error) => abi::error(request.unique, &error),
        })
    }

    /// None when there is no answer.
    fn serve(&mut self, request: &Request<'_>) -> io::Result<Option<Body>> {
        let inode = request.node;
        let body = match &request.ask {
            Ask::Init { major, max_readahead, flags } => init(*major, *max_readahead, *flags, self.part),
            Ask::Lookup(name) => self.lookup(inode, name),
            Ask::GetAttr { held } => self.attr(inode, *held).map(|attr| Body::default().attr_out(&attr)),
            // As it is: a truncated value stays.
            Ask::Truncate => self.attr(inode, false).map(|attr| Body::default().attr_out(&attr)),
            Ask::ReadLink => self.entry(&self.place(inode)?)?.target().map(|target| Body::default().bytes(&target)),
            Ask::Open => self.open(inode),
            Ask::Release(handle) => {
                self.handles.close(*handle);
                Ok(Body::default())
            }
            Ask::Read { handle, offset, size } => self.read(inode, *handle, *offset, *size),
            Ask::Write { handle, offset, append, data } => self.write(inode, *handle, (*offset, *append), data),
            // struct fuse_open_out: no handle, no flags.
            Ask::OpenDir => Ok(Body::default().zeros(16)),
            Ask::ReadDir { offset, size, plus } => self.list(inode, *offset, *size, *plus),
            Ask::Done => Ok(Body::default()),
            // struct fuse_kstatfs: no blocks, so that df(1) skips it; block size, longest name.
            Ask::StatFs => Ok(Body::default().zeros(40).u32(4096).u32(255).u32(4096).zeros(28)),
            Ask::Refused(errno) => Err((*errno).into()),
            Ask::Forget(_) | Ask::Silent => return Ok(None),
        };
        body.map(Some)
    }

    pub(super) fn place(&self, inode: u64) -> io::Result<Place> {
        self.inodes.place(inode).ok_or_else(|| Errno::STALE.into())
    }

    /// The directory of a view, which the kernel knows from here on. That is when those that have ended are given up.
    pub(super) fn view(&mut self, name: &[u8]) -> io::Result<Place> {
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Errno::NOENT)?;
        let view = self.emulation.view(number).ok_or(Errno::NOENT)?;
        if self.views.insert(number, view).is_none() {
            self.views.retain(|number, _| self.emulation.view(*number).is_some());
            self.inodes.keep_views(|view| self.views.contains_key(&view));
        }
        Ok(Place::View(number))
    }

    fn emulation_of(&self, index: Index) -> &Emulation {
        self.views.get(&index.view).unwrap_or(&self.emulation)
    }

    /// What `place` is in its mirrored directory; EINVAL for what lies in none.
    pub(super) fn entry(&self, place: &Place) -> io::Result<Entry<'_>> {
        let (index, path) = match place {
            Place::Root | Place::View(_) => return Err(Errno::INVAL.into()),
            Place::Node(index) => (index, Path::new("")),
            Place::Below(index, path) => (index, path.as_path()),
        };
        let node = self.inodes.node(*index).ok_or(Errno::STALE)?;
        match node.kind {
            Kind::Mirror(_) => Entry::find(self.emulation_of(*index), node, path),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Attributes without a size that holds: nothing is rendered for them, and the kernel asks before it reads.
    pub(super) fn shape(&self, inode: u64, place: &Place) -> io::Result<Attr> {
        self.shape_of(inode, place, None)
    }

    /// The same, of an entry of a mirrored directory of which the mode is known.
    pub(super) fn shape_of(&self, inode: u64, place: &Place, known: Option<u32>) -> io::Result<Attr> {
        let mut size = 0;
        let native = self.is_native(place);
        let owner = if native { HOST_ROOT } else { self.emulation.facts.root };
        let (mode, valid) = match place {
            Place::Root | Place::View(_) => (DIRECTORY, EVER),
            Place::Below(..) => {
                let mode = known.map_or_else(|| Ok(self.entry(place)?.mode), io::Result::Ok)?;
                match mode & libc::S_IFMT {
                    // Nothing else ever changes. The kernel tells no size, but splice(2) goes by it: a page, as sysfs has it.
                    libc::S_IFREG if native => {
                        size = abi::MAX_WRITE.into();
                        (mode, EVER)
                    }
                    libc::S_IFREG => (mode, Duration::ZERO),
                    libc::S_IFLNK => {
                        size = self.entry(place)?.target()?.len().try_into().unwrap_or(0);
                        (mode, MIRROR_FRESH)
                    }
                    _ => (mode, MIRROR_FRESH),
                }
            }
            Place::Node(index) => {
                let node = self.inodes.node(*index).ok_or(Errno::STALE)?;
                match node.kind {
                    Kind::Empty => (libc::S_IFDIR | node.mode, EVER),
                    Kind::Mirror(_) if native => (libc::S_IFDIR | node.mode, EVER),
                    Kind::Mirror(_) => (libc::S_IFDIR | node.mode, MIRROR_FRESH),
                    Kind::Live(_) | Kind::Kept(_) => (libc::S_IFREG | node.mode, Duration::ZERO),
                }
            }
        };
        Ok(self.told(place, Attr { node: inode, size, mtime: self.started, mode, owner, valid }))
    }

    /// With what the kernel was told last: another size would cut those who read just now.
    pub(super) fn told(&self, place: &Place, attr: Attr) -> Attr {
        match self.inodes.texts.get(&attr.node).filter(|_| !self.is_native(place)) {
            Some(snapshot) => Attr { size: snapshot.size(), mtime: snapshot.mtime, ..attr },
            None => attr,
        }
    }

    /// Attributes, with the size of a snapshot. `held`: for a file that is open.
    fn attr(&mut self, inode: u64, held: bool) -> io::Result<Attr> {
        let place = self.place(inode)?;
        let mut attr = self.shape(inode, &place)?;
        if attr.mode & libc::S_IFMT != libc::S_IFREG || self.is_native(&place) {
            return Ok(attr);
        }
        match self.snapshot(inode, &place, if held { GRACE } else { Duration::ZERO }) {
            Ok(snapshot) => {
                (attr.size, attr.mtime) = (snapshot.size(), snapshot.mtime);
                let remains = snapshot.remains(self.fresh(&place), GRACE, Instant::now()).unwrap_or_default();
                attr.valid = if held { remains.max(MOMENT) } else { remains };
            }
            // The error is for whoever reads, not for stat(2): a page, as sysfs has it, so that somebody can.
            Err(_) => (attr.size, attr.valid) = (u64::from(abi::MAX_WRITE), Duration::ZERO),
        }
        Ok(attr)
    }

    /// The last snapshot of a file, or a new one when that is no longer fresh, with so much grace.
    fn snapshot(&mut self, inode: u64, place: &Place, grace: Duration) -> io::Result<Arc<Snapshot>> {
        let old = self.inodes.texts.get(&inode);
        if let Some(old) = old.filter(|old| old.remains(self.fresh(place), grace, Instant::now()).is_some()) {
            return Ok(old.clone());
        }
        match self.text(place) {
            Ok(text) => {
                let new = Arc::new(Snapshot::new(text, old.map(Arc::as_ref), Instant::now()));
                self.inodes.texts.insert(inode, new.clone());
                Ok(new)
            }
            Err(error) => {
                self.inodes.texts.remove(&inode);
                Err(error)
            }
        }
    }

    /// Whether it is a directory of the kernel's own, or in one and no row ([`crate::table::Mirror::native`]).
    fn is_native(&self, place: &Place) -> bool {
        let (Place::Node(index) | Place::Below(index, _)) = place else { return false };
        self.inodes.node(*index).is_some_and(Node::holds_rows)
    }

    fn fresh(&self, place: &Place) -> Duration {
        if self.is_native(place) {
            return Duration::ZERO;
        }
        let Place::Node(index) = place else { return MIRROR_FRESH };
        match self.inodes.node(*index).map(|node| node.kind) {
            Some(Kind::Live(live)) => live.fresh,
            // Another shim may write it: that of a container of the same network namespace.
            Some(Kind::Kept(_)) => Duration::ZERO,
            _ => EVER,
        }
    }

    /// The text of a file, as it is now.
    fn text(&self, place: &Place) -> io::Result<Vec<u8>> {
        let Place::Node(index) = place else { return self.entry(place)?.text() };
        let node = self.inodes.node(*index).ok_or(Errno::STALE)?;
        match node.kind {
            Kind::Live(live) => (live.render)(self.emulation_of(*index)),
            Kind::Kept(_) => self.emulation.read_kept(node),
            Kind::Empty | Kind::Mirror(_) => Err(Errno::ISDIR.into()),
        }
    }

    /// ENOSYS, by which the kernel learns that nothing is to be opened; where each open file has a text of its own,
    /// `struct fuse_open_out` with `FOPEN_DIRECT_IO`.
    fn open(&mut self, inode: u64) -> io::Result<Body> {
        if self.part == Part::Cached {
            return Err(Errno::NOSYS.into());
        }
        let place = self.place(inode)?;
        // The one of which the size was told when the kernel checked the permissions: splice(2) goes by the size.
        let snapshot = self.snapshot(inode, &place, GRACE)?;
        let handle = self.handles.open(snapshot).ok_or(Errno::NFILE)?;
        Ok(Body::default().u64(handle).u32(1).u32(0))
    }

    /// From the page cache's part, what the last GETATTR told of, however old; the kernel asks before it reads its own
    /// pages. Else what the open file reads, made anew when it is read from the start again.
    fn read(&mut self, inode: u64, handle: u64, offset: u64, size: u32) -> io::Result<Body> {
        let place = self.place(inode)?;
        let known = match self.part {
            Part::Cached => self.inodes.texts.get(&inode),
            Part::Direct => self.handles.snapshot(handle, offset),
        };
        let lasts = |it: &&Arc<Snapshot>| {
            self.part == Part::Cached || offset > 0 || it.remains(self.fresh(&place), GRACE, Instant::now()).is_some()
        };
        let snapshot = match known.filter(lasts).cloned() {
            Some(snapshot) => snapshot,
            None => {
                let snapshot = self.snapshot(inode, &place, GRACE)?;
                if self.part == Part::Direct && !self.handles.renew(handle, snapshot.clone()) {
                    return Err(Errno::BADF.into());
                }
                snapshot
            }
        };
        Ok(Body::default().bytes(snapshot.read(offset, size)))
    }

    /// A value is written at once, from offset 0; what comes at another offset is ignored as with
    /// `kernel.sysctl_writes_strict=1` (Documentation/admin-guide/sysctl/kernel.rst). For procfs the end of a file is
    /// offset 0.
    fn write(&mut self, inode: u64, handle: u64, (offset, append): (u64, bool), data: &[u8]) -> io::Result<Body> {
        let place = self.place(inode)?;
        let Place::Node(index) = place else { return Err(Errno::ACCESS.into()) };
        let node = self.inodes.node(index).ok_or(Errno::STALE)?;
        let Kind::Kept(_) = node.kind else { return Err(Errno::ACCESS.into()) };
        if offset == 0 || append {
            let outcome = self.emulation.write_kept(node, data);
            // One value may change others, and one that is refused at its end may have changed its start.
            self.inodes.texts.clear();
            self.handles.outdate(handle);
            outcome?;
        }
        // struct fuse_write_out: all of it.
        Ok(Body::default().u32(data.len().try_into().map_err(|_| Errno::INVAL)?).u32(0))
    }
}

/// `struct fuse_init_out`. A kernel of a newer major number asks again after the answer; there is none of an older.
fn init(major: u32, max_readahead: u32, flags: u32, part: Part) -> io::Result<Body> {
    if major < abi::MAJOR {
        return Err(Errno::PROTO.into());
    }
    let flags = match part {
        Part::Cached => flags & (abi::FLAGS | abi::NO_OPEN_SUPPORT),
        Part::Direct => flags & abi::FLAGS,
    };
    let versions = Body::default().u32(abi::MAJOR).u32(abi::MINOR).u32(max_readahead).u32(flags);
    // Background requests and the congestion threshold are the kernel's own; a time has a granularity of 1 ns.
    let sizes = versions.u16(0).u16(0).u32(abi::MAX_WRITE).u32(1);
    Ok(sizes.zeros(36))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
