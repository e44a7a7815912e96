//! Which files and directories of the host may be bound into a container.
//!
//! A bind mount hands a part of the host over. Engines, the kubelet, the kernel and eci itself keep theirs; the operator may
//! keep more ([`crate::config::Mounts::restricted`]), or say what alone is shared ([`crate::config::Mounts::shared`]).
//!
//! * [`Rules`]: what holds for one container; made from the config and the engine's request before anything is opened.
//! * [`facts`]: what the caller finds out, about the restricted paths and about each source, on the descriptor that is then
//!   mounted.
//! * [`Rules::judge`]: what is to be covered below a source, or the refusal.
//! * [`restricted`]: the list; `made`: what of it engines make for one container, and is bound all the same.
//!
//! A source is what it is by three signs, and each is enough to refuse it: its device and inode (hard links), those of every
//! directory above it (paths and symlinks), and its place on its filesystem (bind mounts of it or of something above it).
//! In the other direction, what lies below a source is known by its place, on the filesystem of the source and on that of
//! every mount that comes along.
//!
//! Invariant: no path of the spec is compared as text, but for the words of a message: a refusal cannot be talked away by
//! another name for the same file, nor provoked by a name that only looks alike.

pub mod facts;
mod made;
pub mod restricted;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Ancestors, Mounts, Unmappable};
use crate::plan::RootMount;
use crate::refusal::Rule;
use crate::{Refusal, config};
use facts::{Found, Identity, Kind, Object, Place, Source};
use made::Maker;
use restricted::{Class, Restricted};

/// What holds for the bind mounts of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What may not be bound.
    pub restricted: Vec<Restricted>,
    /// The directories of which alone something may be bound, where the operator lists some.
    pub shared: Option<Vec<PathBuf>>,
    /// Whether what is restricted below a source is covered, rather than the source refused.
    pub mask: bool,
    /// Whether sources that take no id map are bound as they are, rather than refused.
    pub plain: bool,
    ids: Ids,
}

/// The container, to know its own files by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Its id, and that of its pod.
    pub own: Vec<String>,
    /// Whether it shares its network or ipc namespace with another container, whose files it then is given.
    pub shares: bool,
}

/// What the engine says of a container, from which follows where its own directories are.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bundle's directory.
    pub bundle: &'a Path,
    /// `root.path`, absolute.
    pub root: &'a Path,
    /// The root's mounts.
    pub rootfs: &'a [RootMount],
    /// Sockets of the engine that this shim knows of.
    pub sockets: &'a [PathBuf],
}

/// What the paths of [`Rules`] lead to, in their order.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Of [`Rules::restricted`].
    pub restricted: Vec<Found>,
    /// Of [`Rules::shared`].
    pub shared: Vec<Found>,
}

/// What is covered inside, because it is restricted and lies below a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// Its path below the source.
    pub relative: PathBuf,
    /// Which file must be found there; none for the root of a mount, which cannot be moved.
    pub identity: Option<Identity>,
}

/// Something restricted that a source would bring along.
struct Exposed {
    /// How it is covered; none where nothing can cover it.
    cover: Option<Cover>,
    /// What it is, for the message.
    what: String,
}

/// The refusal of a source that takes no id map: `path` is what the spec calls it, `mount` what lies on a filesystem of type
/// `fstype`, it or a mount below it.
pub fn unmappable(path: &Path, mount: &str, fstype: &str) -> Refusal {
    let path = path.display();
    let line = format!(
        "can't mount {path} because {mount} is on {fstype}, which cannot be id-mapped: its owners would show as nobody; \
         [mounts] unmappable = \"plain\" in {} allows that",
        config::CONFIG_PATH
    );
    Refusal::new("", line).by(Rule::Mounts, path.to_string())
}

impl Rules {
    /// The rules of a container.
    pub fn new(mounts: &Mounts, request: &Request<'_>, ids: Ids) -> Self {
        let mut restricted = restricted::builtin();
        restricted.extend(restricted::of_engine(request.bundle, request.root, request.rootfs));
        restricted.extend(request.sockets.iter().map(|path| Restricted { path: path.clone(), class: Class::Socket }));
        let operators = mounts.restricted.iter().flatten();
        restricted.extend(operators.map(|path| Restricted { path: path.clone(), class: Class::Operator }));
        Self {
            restricted,
            shared: mounts.shared.clone(),
            mask: mounts.ancestors == Ancestors::Mask,
            plain: mounts.unmappable == Unmappable::Plain,
            ids,
        }
    }

    /// Decides on a source. `path` is what the spec calls it, `resolved` the same with all symlinks resolved; `known` is about
    /// the paths of these rules. Returns what is to be covered inside.
    ///
    /// # Errors
    /// The refusal, a denial of `path`.
    pub fn judge(&self, known: &Known, path: &Path, resolved: &Path, source: &Source) -> Result<Vec<Cover>, Refusal> {
        let deny = |line: String| Err(Refusal::new("", line).by(Rule::Mounts, path.display().to_string()));
        let object = &source.object;
        if self.engines_socket(known, object).is_some() {
            return deny(socket_line(path));
        }
        if let Some(restricted) = self.restricted_above(known, object) {
            return deny(restricted_line(path, restricted));
        }
        if is_of_the_kernel(object) {
            return deny(format!("{} (it is of the kernel's {})", restricted_words(path), object.fstype));
        }
        if !self.is_shared(known, object) && !made::is_program(resolved) {
            return deny(format!(
                "can't mount {} because it isn't below any of the directories that [mounts] shared lists in {}",
                path.display(),
                config::CONFIG_PATH
            ));
        }
        let exposed = self.exposed(known, source);
        let open = if self.mask { exposed.iter().find(|exposed| exposed.cover.is_none()) } else { exposed.first() };
        match open {
            Some(exposed) => deny(format!("{} (it holds {})", restricted_words(path), exposed.what)),
            None => Ok(outermost(exposed.into_iter().filter_map(|exposed| exposed.cover).collect())),
        }
    }

    fn entries<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = (&'a Restricted, &'a Found)> {
        self.restricted.iter().zip(&known.restricted)
    }

    /// The engine's socket that it is.
    fn engines_socket<'a>(&'a self, known: &'a Known, object: &Object) -> Option<&'a Restricted> {
        let is_it = |(entry, found): &(&Restricted, &Found)| {
            is_socket(entry, found) && found.object.identity == object.identity
        };
        self.entries(known).find(is_it).map(|(entry, _)| entry)
    }

    /// The restricted directory or file that it is or lies below.
    fn restricted_above<'a>(&'a self, known: &'a Known, object: &Object) -> Option<&'a Restricted> {
        // The device cgroup says what can be done with a device.
        let counts = |entry: &Restricted| object.kind != Kind::Device || entry.class == Class::Operator;
        let mut entries = self.entries(known).filter(|(entry, _)| counts(entry));
        entries.find(|entry| self.holds(known, *entry, object)).map(|(entry, _)| entry)
    }

    fn holds(&self, known: &Known, (entry, found): (&Restricted, &Found), object: &Object) -> bool {
        let Some(above) = found.object.place().filter(|_| found.exists) else { return false };
        let mut places = object.places.iter().filter(|place| place.below(above).is_some()).peekable();
        if places.peek().is_none() {
            return object.is_at_or_below(found.object.identity);
        }
        places.any(|place| entry.class == Class::Operator || self.maker(known, place).is_none())
    }

    /// Who makes what lies at a place for this one container; none where no engine does.
    fn maker(&self, known: &Known, place: &Place) -> Option<Maker> {
        self.entries(known).filter(|(_, found)| found.exists).find_map(|(entry, found)| {
            made::made(entry.class, &place.below(found.object.place()?)?.join(&place.on), &self.ids)
        })
    }

    /// Whether the operator's list has it, or an engine makes it.
    fn is_shared(&self, known: &Known, object: &Object) -> bool {
        if self.shared.is_none() {
            return true;
        }
        let makers: Vec<Option<Maker>> = object.places.iter().map(|place| self.maker(known, place)).collect();
        if matches!(makers.first(), Some(Some(_))) || makers.contains(&Some(Maker::Engine)) {
            return true;
        }
        // What a user has mounted below a shared directory is somewhere else for all that its path says.
        let chosen = makers.contains(&Some(Maker::User));
        known.shared.iter().filter(|found| found.exists).any(|found| {
            let below =
                object.place().zip(found.object.place()).is_some_and(|(place, above)| place.below(above).is_some());
            below || (!chosen && object.is_at_or_below(found.object.identity))
        })
    }

    /// All that is restricted below a source.
    fn exposed(&self, known: &Known, source: &Source) -> Vec<Exposed> {
        let mut exposed = self.exposed_below(known, Path::new(""), &source.object);
        for carried in &source.carried {
            let (relative, object) = (&carried.relative, &carried.object);
            let cover = Cover { relative: relative.clone(), identity: None };
            let here = |what: String| Exposed { cover: Some(cover.clone()), what };
            if let Some(entry) = self.engines_socket(known, object).or_else(|| self.restricted_above(known, object)) {
                exposed.push(here(entry.path.display().to_string()));
            } else if is_of_the_kernel(object) {
                exposed.push(here(format!("the kernel's {} at {}", object.fstype, relative.display())));
            } else {
                exposed.extend(self.exposed_below(known, relative, object));
            }
        }
        exposed
    }

    /// What is restricted below one mount, at `relative` below the source.
    fn exposed_below(&self, known: &Known, relative: &Path, object: &Object) -> Vec<Exposed> {
        let Some(place) = object.place().filter(|_| object.kind == Kind::Directory) else { return Vec::new() };
        let one = |(entry, found): (&Restricted, &Found)| {
            let what = entry.path.display().to_string();
            match found.object.place()?.below(place) {
                Some(below) if found.exists => {
                    let identity = Some(found.object.identity);
                    Some(Exposed { cover: Some(Cover { relative: relative.join(below), identity }), what })
                }
                // It could be made there at any time; there is nothing yet to put a cover on.
                Some(_) if !self.mask => Some(Exposed { cover: None, what: format!("the place of {what}") }),
                _ => {
                    let linked = is_socket(entry, found) && found.object.links > 1;
                    let here = found.object.identity.device == object.identity.device;
                    let hidden = linked && here && self.maker(known, place).is_none();
                    hidden.then(|| Exposed { cover: None, what: format!("maybe one of the hard links of {what}") })
                }
            }
        };
        self.entries(known).filter_map(one).collect()
    }
}

/// Whether it is a window into the kernel.
fn is_of_the_kernel(object: &Object) -> bool {
    restricted::is_kernels(&object.fstype) && object.kind != Kind::Device
}

fn is_socket(entry: &Restricted, found: &Found) -> bool {
    entry.class == Class::Socket && found.exists && found.object.kind == Kind::Socket
}

/// In order, without those that lie below another one.
fn outermost(mut covers: Vec<Cover>) -> Vec<Cover> {
    covers.sort_by(|one, other| one.relative.cmp(&other.relative));
    covers.dedup_by(|cover, above| cover.relative.starts_with(&above.relative));
    covers
}

fn socket_line(path: &Path) -> String {
    format!(
        "docker socket mount denied: {} is the socket of a container engine and would hand over the host; run an engine \
         inside the container instead",
        path.display()
    )
}

fn restricted_words(path: &Path) -> String {
    format!("can't mount {} because it's configured as a restricted host mount", path.display())
}

fn restricted_line(path: &Path, entry: &Restricted) -> String {
    let words = restricted_words(path);
    if path.starts_with("/sys/fs/cgroup") {
        return format!("{words}; a container has a cgroup tree of its own at /sys/fs/cgroup");
    }
    if path.starts_with(&entry.path) { words } else { format!("{words} (it leads to {})", entry.path.display()) }
}
