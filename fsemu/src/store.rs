//! Where written values are kept: a directory with a file for each node that was written, and one for what the host's
//! values were when the directory was first needed.
//!
//! Shims of one pod share the directory and nothing else: each reads a file at each reading of its node, and replaces it as a
//! whole, so that another one sees the old value or the new one. Of two writes at once one remains, as with the kernel.
//!
//! Invariant: no file outside the directory is opened, and none of the host's settings is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::Emulation;
use crate::table::{self, Kept, Kind, Node, Seed, Tie};

/// The file with the host's values, a line `NAME=TEXT` for each node. No node has this name.
const SEEDS: &str = "seeds";
/// The most that is read of a file.
const MOST: u64 = 64 * 1024;

/// The host's values, by the nodes' names.
pub(crate) type Seeds = BTreeMap<String, Vec<u8>>;

impl Emulation {
    /// Remembers the host's values, unless another container that shares the store has done so. Is done at the first need,
    /// if not before.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn seed(&self) -> io::Result<()> {
        self.seeds().map(drop)
    }

    /// What the file of a [`Kind::Kept`] shows.
    ///
    /// # Errors
    /// Those of the directory and, for what was never written, of the host's own file; EACCES for another kind.
    pub fn read_kept(&self, node: &Node) -> io::Result<Vec<u8>> {
        let kept = kept(node)?;
        match self.stored(&kept.file(node))? {
            Some(text) => Ok(text),
            None => self.first(node, kept),
        }
    }

    /// What a write(2) of `bytes` at the file's start does. (At any other offset the kernel ignores it and tells success:
    /// `kernel.sysctl_writes_strict`.)
    ///
    /// # Errors
    /// The kernel's for this value, and those of the directory; EACCES for another kind.
    pub fn write_kept(&self, node: &Node, bytes: &[u8]) -> Result<(), Errno> {
        let kept = kept(node)?;
        let before = self.read_kept(node).map_err(|error| errno(&error))?;
        let mut after = before.clone();
        let outcome = kept.check.write(&mut after, bytes);
        if (outcome.is_ok() && !bytes.is_empty()) || after != before {
            self.replace(&kept.file(node), &after, RenameFlags::empty()).map_err(|error| errno(&error))?;
            self.tell(node, &after);
        }
        let other = match kept.tie {
            Tie::Zeroes(other) if outcome.is_ok() && !bytes.is_empty() => other,
            Tie::ChangeZeroes(other) if outcome.is_ok() && after != before => other,
            _ => return outcome,
        };
        self.replace(&table::name(other), b"0\n", RenameFlags::empty()).map_err(|error| errno(&error))
    }

    /// Tells whoever wants to know that a limit has this value now.
    fn tell(&self, node: &Node, text: &[u8]) {
        let value = std::str::from_utf8(text).ok().and_then(|text| text.trim_ascii().parse().ok());
        if let (true, Some(raise), Some(value)) = (node.may_raise(), &self.raise, value) {
            raise.raise(node, value);
        }
    }

    /// When the value was last written, by any shim; for one that never was, when the host's was taken.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn kept_changed(&self, node: &Node) -> io::Result<SystemTime> {
        let file = match self.open(&kept(node)?.file(node))? {
            Some(file) => file,
            None => {
                self.seed()?;
                self.open(SEEDS)?.ok_or(io::ErrorKind::NotFound)?
            }
        };
        file.metadata()?.modified()
    }

    /// The value of what was never written.
    fn first(&self, node: &Node, kept: Kept) -> io::Result<Vec<u8>> {
        match (kept.seed, self.seeds()?.get(&node.name())) {
            (Seed::Text(text), _) => Ok(text.as_bytes().to_vec()),
            (Seed::Host, Some(text)) => Ok(text.clone()),
            // The module came later.
            (Seed::Host, None) => host(node),
        }
    }

    fn seeds(&self) -> io::Result<&Seeds> {
        if let Some(seeds) = self.seeds.get() {
            return Ok(seeds);
        }
        let text = match self.stored(SEEDS)? {
            Some(text) => text,
            None => {
                match self.replace(SEEDS, &seeds_of_the_host(), RenameFlags::NOREPLACE) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other?,
                }
                self.stored(SEEDS)?.ok_or(io::ErrorKind::NotFound)?
            }
        };
        Ok(self.seeds.get_or_init(|| read_seeds(&text)))
    }

    fn stored(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.open(name)?.map(bounded).transpose()
    }

    fn open(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.facts.values, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the file with this text, or puts it in the place of what has the name.
    fn replace(&self, name: &str, text: &[u8], flags: RenameFlags) -> io::Result<()> {
        let directory = self.facts.values.as_fd();
        let (temporary, mut file) = loop {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let temporary = format!(".{}.{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match rustix::fs::openat(directory, &temporary, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => break (temporary, File::from(file)),
                // That of a shim which was killed.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let renamed = file.write_all(text).and_then(|()| {
            #[expect(clippy::disallowed_methods, reason = "both names are plain ones in a directory of the host's own")]
            Ok(rustix::fs::renameat_with(directory, &temporary, directory, name, flags)?)
        });
        if renamed.is_err() {
            #[expect(clippy::disallowed_methods, reason = "a plain name in a directory of the host's own")]
            let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        }
        renamed
    }
}

impl Kept {
    /// The name of the file of the value.
    fn file(&self, node: &Node) -> String {
        match self.tie {
            Tie::Same(other) => table::name(other),
            _ => node.name(),
        }
    }
}

fn kept(node: &Node) -> Result<Kept, Errno> {
    if let Kind::Kept(kept) = node.kind { Ok(kept) } else { Err(Errno::ACCESS) }
}

/// The text of the host's own file.
fn host(node: &Node) -> io::Result<Vec<u8>> {
    bounded(File::open(node.path)?)
}

fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

/// The text of [`SEEDS`]. Files that this host does not have are left out.
fn seeds_of_the_host() -> Vec<u8> {
    let mut text = Vec::new();
    for node in table::nodes() {
        if let Kind::Kept(Kept { seed: Seed::Host, .. }) = node.kind
            && let Ok(value) = host(node)
            && let Some(value) = value.strip_suffix(b"\n").filter(|value| !value.contains(&b'\n'))
        {
            text.extend([node.name().as_bytes(), b"=", value, b"\n"].concat());
        }
    }
    text
}

fn read_seeds(text: &[u8]) -> Seeds {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let pair = |line: &[u8]| {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        Some((String::from_utf8(line[..equals].to_vec()).ok()?, line[equals + 1..].to_vec()))
    };
    lines.filter_map(pair).collect()
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests;
