//! Directories: names, and what they stand for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::abi::{Attr, Body};
use super::inodes::Place;
use super::mirror;
use super::session::{EVER, MIRROR_FRESH, Session};
use crate::table::Kind;

/// What a directory had.
#[derive(Debug)]
pub(super) struct Listing {
    inode: u64,
    made: Instant,
    listed: Vec<Listed>,
}

/// An entry of a directory.
#[derive(Debug)]
struct Listed {
    name: Vec<u8>,
    place: Place,
    /// That of an entry of a mirrored directory, which was looked at when it was listed.
    mode: Option<u32>,
}

impl Session {
    pub(super) fn lookup(&mut self, parent: u64, name: &[u8]) -> io::Result<Body> {
        let place = match self.place(parent)? {
            Place::Root => match self.inodes.named(0, name) {
                Some(index) => Place::Node(index),
                None => self.view(name)?,
            },
            Place::View(view) => Place::Node(self.inodes.named(view, name).ok_or(Errno::NOENT)?),
            Place::Node(index) => match self.inodes.within(index, name) {
                Some(node) if self.entry(&Place::Node(index))?.has(name) => Place::Node(node),
                _ => Place::Below(index, mirror::join(Path::new(""), name)?),
            },
            Place::Below(index, path) => Place::Below(index, mirror::join(&path, name)?),
        };
        let (attr, valid) = self.refer(&place, None)?;
        Ok(Body::default().entry_out(&attr, valid))
    }

    /// An entry as the kernel is told of it, from where on it refers to the inode; and for how long its name holds.
    fn refer(&mut self, place: &Place, mode: Option<u32>) -> io::Result<(Attr, Duration)> {
        match place {
            Place::Root | Place::View(_) | Place::Node(_) => Ok((self.shape(self.inodes.number(place), place)?, EVER)),
            Place::Below(index, path) => {
                // An empty directory has nothing: its entries are those of a mirror, or none.
                let attr = self.shape_of(0, place, mode).map_err(|error| match error.raw_os_error() {
                    Some(libc::EINVAL) => Errno::NOENT.into(),
                    _ => error,
                })?;
                let node = self.inodes.refer(*index, path.clone());
                Ok((self.told(place, Attr { node, ..attr }), MIRROR_FRESH))
            }
        }
    }

    pub(super) fn list(&mut self, inode: u64, offset: u64, size: u32, plus: bool) -> io::Result<Body> {
        // Whoever goes on has begun just now, as a rule, and a look at each entry of the host's is not for nothing.
        let goes_on = |it: &Listing| offset > 0 && it.inode == inode && it.made.elapsed() < MIRROR_FRESH;
        let listing = match self.listing.take().filter(goes_on) {
            Some(listing) => listing,
            None => Listing { inode, made: Instant::now(), listed: self.listed(&self.place(inode)?)? },
        };
        let size = usize::try_from(size).unwrap_or(0).min(1 << 20);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut body = Body::default();
        for (index, Listed { name, place, mode: known }) in listing.listed.iter().enumerate().skip(start) {
            let length = if plus { 128 + 24 } else { 24 } + name.len().next_multiple_of(8);
            if body.len() + length > size {
                break;
            }
            let next = u64::try_from(index).unwrap_or(0) + 1;
            let dots = matches!(name.as_slice(), b"." | b"..");
            let number = if dots { inode } else { self.inodes.number(place) };
            // What has gone or hides since is passed over.
            let mode = if plus && !dots {
                let Ok((attr, valid)) = self.refer(place, *known) else { continue };
                body = body.entry_out(&attr, valid);
                attr.mode
            } else {
                let Ok(attr) = self.shape_of(number, place, *known) else { continue };
                // Without a number the kernel takes the name only, and refers to nothing.
                body = if plus { body.entry_out(&Attr { node: 0, ..attr }, EVER) } else { body };
                attr.mode
            };
            body = body.dirent(number, next, mode, name);
        }
        if body.len() > 0 {
            self.listing = Some(listing);
        }
        Ok(body)
    }

    /// What a directory has.
    fn listed(&self, place: &Place) -> io::Result<Vec<Listed>> {
        let dot = |name: &[u8]| Listed { name: name.into(), place: place.clone(), mode: None };
        let mut listed = vec![dot(b"."), dot(b"..")];
        match place {
            // Views are found by their names only.
            Place::Root | Place::View(_) => {
                let view = if let Place::View(view) = place { *view } else { 0 };
                let listed_as = |(index, node): (_, &crate::table::Node)| Listed {
                    name: node.name().into_bytes(),
                    place: Place::Node(index),
                    mode: None,
                };
                listed.extend(self.inodes.all(view).map(listed_as));
            }
            Place::Node(index) if !matches!(self.inodes.node(*index).map(|it| it.kind), Some(Kind::Mirror(_))) => {}
            Place::Node(index) | Place::Below(index, _) => {
                let below = if let Place::Below(_, path) = place { path.clone() } else { PathBuf::new() };
                for (name, mode) in self.entry(place)?.list()? {
                    let path = below.join(&name);
                    let node = self.inodes.within(*index, path.as_os_str().as_encoded_bytes());
                    let (place, mode) = match node {
                        Some(node) => (Place::Node(node), None),
                        None => (Place::Below(*index, path), Some(mode)),
                    };
                    listed.push(Listed { name: name.into_encoded_bytes(), place, mode });
                }
            }
        }
        Ok(listed)
    }
}
