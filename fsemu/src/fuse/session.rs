//! Requests and their answers, as bytes: what the kernel may ask of one container's files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::abi::{self, Ask, Attr, Body, Malformed, Request};
use super::handles::Handles;
use super::inodes::{Inodes, Place, ROOT};
use super::mirror::{self, Entry};
use super::snapshot::{GRACE, Snapshot};
use crate::Emulation;
use crate::table::Kind;
use crate::table::Part;

/// For ever: what never changes.
const EVER: Duration = Duration::from_secs(1 << 31);

/// For how long what a mirrored directory has is not looked at again.
const MIRROR_FRESH: Duration = Duration::from_secs(1);

const DIRECTORY: u32 = libc::S_IFDIR | 0o555;

/// One container's filesystem as its kernel knows it.
#[derive(Debug)]
pub(super) struct Session {
    emulation: Arc<Emulation>,
    part: Part,
    inodes: Inodes,
    handles: Handles,
}

/// An entry of a directory.
struct Listed {
    name: Vec<u8>,
    place: Place,
}

impl Session {
    pub(super) fn new(emulation: Arc<Emulation>, part: Part) -> Self {
        let nodes = emulation.nodes.iter().copied().filter(|node| node.part() == part);
        Self { inodes: Inodes::new(nodes.collect()), handles: Handles::default(), emulation, part }
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
            Ask::Write { offset, append, data } => self.write(inode, *offset, *append, data),
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

    fn place(&self, inode: u64) -> io::Result<Place> {
        self.inodes.place(inode).ok_or_else(|| Errno::STALE.into())
    }

    /// What `place` is in its mirrored directory; EINVAL for what lies in none.
    fn entry(&self, place: &Place) -> io::Result<Entry> {
        let (index, path) = match place {
            Place::Root => return Err(Errno::INVAL.into()),
            Place::Node(index) => (index, Path::new("")),
            Place::Below(index, path) => (index, path.as_path()),
        };
        let node = self.inodes.nodes.get(*index).ok_or(Errno::STALE)?;
        match node.kind {
            Kind::Mirror(_) => Entry::find(&self.emulation, node, path),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Attributes without a size that holds: nothing is rendered for them, and the kernel asks before it reads.
    fn shape(&self, inode: u64, place: &Place) -> io::Result<Attr> {
        let (mode, valid) = match place {
            Place::Root => (DIRECTORY, EVER),
            Place::Below(..) => (self.entry(place)?.mode, MIRROR_FRESH),
            Place::Node(index) => {
                let node = self.inodes.nodes.get(*index).ok_or(Errno::STALE)?;
                match node.kind {
                    Kind::Empty => (libc::S_IFDIR | node.mode, EVER),
                    Kind::Mirror(_) => (libc::S_IFDIR | node.mode, MIRROR_FRESH),
                    Kind::Live(_) | Kind::Kept(_) | Kind::Fixed(_) => (libc::S_IFREG | node.mode, Duration::ZERO),
                }
            }
        };
        let valid = if mode & libc::S_IFMT == libc::S_IFREG { Duration::ZERO } else { valid };
        let mtime = self.inodes.texts.get(&inode).map(|it| it.mtime);
        let owner = self.emulation.facts.root;
        Ok(Attr { node: inode, size: 0, mtime: mtime.unwrap_or_default(), mode, owner, valid })
    }

    /// Attributes, with the size of a snapshot. `held`: for a file that is open.
    fn attr(&mut self, inode: u64, held: bool) -> io::Result<Attr> {
        let place = self.place(inode)?;
        let mut attr = self.shape(inode, &place)?;
        match attr.mode & libc::S_IFMT {
            libc::S_IFREG => {
                let snapshot = self.snapshot(inode, &place, if held { GRACE } else { Duration::ZERO })?;
                (attr.size, attr.mtime) = (snapshot.size(), snapshot.mtime);
                attr.valid = snapshot.remains(self.fresh(&place), GRACE, Instant::now()).unwrap_or_default();
            }
            libc::S_IFLNK => attr.size = self.entry(&place)?.target()?.len().try_into().unwrap_or(0),
            _ => {}
        }
        Ok(attr)
    }

    /// The last snapshot of a file, or a new one when that is no longer fresh, with so much grace.
    fn snapshot(&mut self, inode: u64, place: &Place, grace: Duration) -> io::Result<Arc<Snapshot>> {
        let old = self.inodes.texts.get(&inode);
        if let Some(old) = old.filter(|old| old.remains(self.fresh(place), grace, Instant::now()).is_some()) {
            return Ok(old.clone());
        }
        let new = Arc::new(Snapshot::new(self.text(place)?, old.map(Arc::as_ref), Instant::now()));
        self.inodes.texts.insert(inode, new.clone());
        Ok(new)
    }

    fn fresh(&self, place: &Place) -> Duration {
        let Place::Node(index) = place else { return MIRROR_FRESH };
        match self.inodes.nodes.get(*index).map(|node| node.kind) {
            Some(Kind::Live(live)) => live.fresh,
            // Another shim may write it: that of a container of the same network namespace.
            Some(Kind::Kept(_)) => Duration::ZERO,
            _ => EVER,
        }
    }

    /// The text of a file, as it is now.
    fn text(&self, place: &Place) -> io::Result<Vec<u8>> {
        let Place::Node(index) = place else { return self.entry(place)?.text() };
        let node = self.inodes.nodes.get(*index).ok_or(Errno::STALE)?;
        match node.kind {
            Kind::Live(live) => (live.render)(&self.emulation),
            Kind::Kept(_) => self.emulation.read_kept(node),
            Kind::Fixed(text) => Ok(text.into()),
            Kind::Empty | Kind::Mirror(_) => Err(Errno::ISDIR.into()),
        }
    }

    fn lookup(&mut self, parent: u64, name: &[u8]) -> io::Result<Body> {
        let place = match self.place(parent)? {
            Place::Root => Place::Node(self.inodes.named(name).ok_or(Errno::NOENT)?),
            Place::Node(index) => Place::Below(index, mirror::join(Path::new(""), name)?),
            Place::Below(index, path) => Place::Below(index, mirror::join(&path, name)?),
        };
        let (attr, valid) = self.refer(&place)?;
        Ok(Body::default().entry_out(&attr, valid))
    }

    /// An entry as the kernel is told of it, from where on it refers to the inode; and for how long its name holds.
    fn refer(&mut self, place: &Place) -> io::Result<(Attr, Duration)> {
        match place {
            Place::Root => Ok((self.shape(ROOT, place)?, EVER)),
            Place::Node(index) => Ok((self.shape(Inodes::of_node(*index), place)?, EVER)),
            Place::Below(index, path) => {
                // An empty directory has nothing: its entries are those of a mirror, or none.
                let attr = self.shape(0, place).map_err(|error| match error.raw_os_error() {
                    Some(libc::EINVAL) => Errno::NOENT.into(),
                    _ => error,
                })?;
                Ok((Attr { node: self.inodes.refer(*index, path.clone()), ..attr }, MIRROR_FRESH))
            }
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
        let handle = self.handles.open(inode, Some(snapshot)).ok_or(Errno::NFILE)?;
        Ok(Body::default().u64(handle).u32(1).u32(0))
    }

    /// From the page cache's part, what the last GETATTR told of, however old; the kernel asks before it reads its own pages. Else what the
    /// open file reads, made anew when it is read from the start again.
    fn read(&mut self, inode: u64, handle: u64, offset: u64, size: u32) -> io::Result<Body> {
        let place = self.place(inode)?;
        let known = match self.part {
            Part::Cached => self.inodes.texts.get(&inode),
            Part::Direct => self.handles.snapshot(handle),
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

    /// A value is written at once, from offset 0; what comes at another offset is ignored as with `kernel.sysctl_writes_strict=1`
    /// (Documentation/admin-guide/sysctl/kernel.rst). For procfs the end of a file is offset 0.
    fn write(&mut self, inode: u64, offset: u64, append: bool, data: &[u8]) -> io::Result<Body> {
        let place = self.place(inode)?;
        let Place::Node(index) = place else { return Err(Errno::ACCESS.into()) };
        let node = *self.inodes.nodes.get(index).ok_or(Errno::STALE)?;
        let Kind::Kept(_) = node.kind else { return Err(Errno::ACCESS.into()) };
        if offset == 0 || append {
            self.emulation.write_kept(node, data)?;
            self.inodes.texts.remove(&inode);
            self.handles.outdate(inode);
        }
        // struct fuse_write_out: all of it.
        Ok(Body::default().u32(data.len().try_into().map_err(|_| Errno::INVAL)?).u32(0))
    }

    fn list(&mut self, inode: u64, offset: u64, size: u32, plus: bool) -> io::Result<Body> {
        let listed = self.listed(&self.place(inode)?)?;
        let size = usize::try_from(size).unwrap_or(0).min(1 << 20);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut body = Body::default();
        for (index, Listed { name, place }) in listed.iter().enumerate().skip(start) {
            let length = if plus { 128 + 24 } else { 24 } + name.len().next_multiple_of(8);
            if body.len() + length > size {
                break;
            }
            let next = u64::try_from(index).unwrap_or(0) + 1;
            let dots = matches!(name.as_slice(), b"." | b"..");
            let told = if plus && !dots { self.refer(place) } else { self.shape(inode, place).map(|it| (it, EVER)) };
            // What has gone or hides since is passed over; READDIR counts no reference.
            let Ok((mut attr, valid)) = told else { continue };
            if dots {
                attr.node = inode;
            }
            if plus {
                // Of the dots the kernel takes the name only.
                let told = if dots { Attr { node: 0, ..attr } } else { attr };
                body = body.entry_out(&told, valid);
            }
            // Any number that is not 0 will do where the kernel refers to none.
            body = body.dirent(attr.node.max(1), next, attr.mode, name);
        }
        Ok(body)
    }

    /// What a directory has.
    fn listed(&self, place: &Place) -> io::Result<Vec<Listed>> {
        let dot = |name: &[u8]| Listed { name: name.into(), place: place.clone() };
        let mut listed = vec![dot(b"."), dot(b"..")];
        match place {
            Place::Root => {
                let node = |index| Listed { name: name(self, index), place: Place::Node(index) };
                listed.extend((0..self.inodes.nodes.len()).map(node));
            }
            Place::Node(index) if !matches!(self.inodes.nodes.get(*index).map(|it| it.kind), Some(Kind::Mirror(_))) => {
            }
            Place::Node(index) | Place::Below(index, _) => {
                let below = if let Place::Below(_, path) = place { path.clone() } else { PathBuf::new() };
                for name in self.entry(place)?.names()? {
                    let place = Place::Below(*index, below.join(&name));
                    if self.entry(&place).is_ok() {
                        listed.push(Listed { name: name.into_encoded_bytes(), place });
                    }
                }
            }
        }
        Ok(listed)
    }
}

fn name(session: &Session, index: usize) -> Vec<u8> {
    session.inodes.nodes.get(index).map(|node| node.name().into_bytes()).unwrap_or_default()
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
