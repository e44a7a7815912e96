//! Paths as the caller names them: resolved once, by a process that stands where the caller stands.
//!
//! The kernel does the walk: our process has the caller's root, working directory, ids and capabilities by then. Only what
//! procfs tells each process of itself (`/proc/self/…`) would lead nowhere, because our process is in no pid namespace that
//! the container's procfs shows; runtimes name mountpoints in this way (`/proc/self/fd/7`).
//!
//! Main type: [`Place`].

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::Result;
use super::caller::Caller;

/// A path of the caller's that is not resolved yet.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it begins; none: at the root.
    base: Option<OwnedFd>,
    rest: Vec<u8>,
    /// Whether the base is what a link leads to, and not a directory that the caller has given.
    is_link: bool,
}

/// What a path means that begins with a link of procfs's to its reader.
#[derive(Debug, PartialEq, Eq)]
enum Own<'a> {
    /// A link of the caller's directory, and what follows it.
    Link(String, &'a [u8]),
    /// Another file of that directory.
    Path(Vec<u8>),
    /// Nothing of the kind.
    No,
}

impl Place {
    /// Takes what only the host's rights can see, before they are given up. `dirfd` as openat(2) takes it.
    pub(super) fn new(caller: &Caller, dirfd: i32, path: &[u8]) -> Result<Self> {
        let at_root = |path: &[u8]| Self { base: None, rest: path.to_vec(), is_link: false };
        let (name, rest, missing) = match own(path, caller.status.tgid, caller.status.tid) {
            Own::Link(name, rest) => (name, rest, Errno::NOENT),
            Own::Path(path) => return Ok(at_root(&path)),
            Own::No if path.starts_with(b"/") => return Ok(at_root(path)),
            Own::No if dirfd == libc::AT_FDCWD => ("cwd".to_owned(), path, Errno::NOENT),
            Own::No => (format!("fd/{dirfd}"), path, Errno::BADF),
        };
        // The descriptor's directory may have gone, or the caller.
        let base = caller.link(&name).map_err(|errno| if errno == Errno::NOENT { missing } else { errno })?;
        Ok(Self { base: Some(base), rest: rest.to_vec(), is_link: rest.len() != path.len() })
    }

    /// Resolves it, with `flags` beside `O_PATH`. With `empty` a path without a character is where it begins.
    pub(super) fn open(self, flags: OFlags, empty: bool) -> Result<OwnedFd> {
        let Self { base, rest, is_link } = self;
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        match (base, rest.as_slice()) {
            // The link itself is a file of procfs's that nobody has a use for.
            (Some(_), []) if is_link && flags.contains(OFlags::NOFOLLOW) => Err(Errno::LOOP),
            (Some(base), []) if is_link || empty => Ok(base),
            (_, []) => Err(Errno::NOENT),
            (Some(base), rest) => rustix::fs::openat(base, rest, flags, Mode::empty()),
            (None, rest) => rustix::fs::openat(CWD, rest, flags, Mode::empty()),
        }
    }

    /// The directory that it lies in and the name of a file that may be made there; none where the kernel makes none, whoever asks.
    pub(super) fn split(mut self) -> Option<(Self, Vec<u8>)> {
        let start = self.rest.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = self.rest.split_off(start);
        if matches!(name.as_slice(), b"" | b"." | b"..") {
            return None;
        }
        Some((self, name))
    }
}

/// What [`Place::open`] takes where a link at a path's end is not to be followed.
pub(super) fn nofollow_of(nofollow: bool) -> OFlags {
    if nofollow { OFlags::NOFOLLOW } else { OFlags::empty() }
}

/// Whether a file is a directory, as the kernel remembers it, for its filesystem may not answer. What nobody may know is taken
/// for one: most mountpoints are.
pub(super) fn is_directory(file: impl AsFd) -> bool {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
    stat.map_or(true, |stat| FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory)
}

/// Looks at the beginning of a path. `pid` and `tid` are the caller's own names for itself.
fn own(path: &[u8], pid: u32, tid: u32) -> Own<'_> {
    let decimal = pid.to_string();
    let heads =
        [("/proc/self", true), ("/proc/thread-self", true), ("/dev/fd", false), (&format!("/proc/{decimal}"), true)];
    for (head, is_directory) in heads {
        let Some(below) = path.strip_prefix(head.as_bytes()).and_then(|below| below.strip_prefix(b"/")) else {
            continue;
        };
        let below_fd = if is_directory { below.strip_prefix(b"fd/") } else { Some(below) };
        if let Some(below_fd) = below_fd {
            let digits = below_fd.iter().position(|byte| *byte == b'/').unwrap_or(below_fd.len());
            let (number, rest) = below_fd.split_at(digits);
            if !number.is_empty() && number.iter().all(u8::is_ascii_digit) {
                return Own::Link(format!("fd/{}", String::from_utf8_lossy(number)), without_slashes(rest));
            }
        }
        if !is_directory {
            continue;
        }
        for link in ["cwd", "root", "exe"] {
            match below.strip_prefix(link.as_bytes()) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
                    return Own::Link(link.to_owned(), without_slashes(rest));
                }
                _ => {}
            }
        }
        let real = match head {
            "/proc/thread-self" => format!("/proc/{decimal}/task/{tid}/"),
            _ => format!("/proc/{decimal}/"),
        };
        return Own::Path([real.as_bytes(), below].concat());
    }
    Own::No
}

/// What follows a link and slashes. A slash at the end asks for a directory.
fn without_slashes(rest: &[u8]) -> &[u8] {
    match rest.iter().position(|byte| *byte != b'/') {
        Some(start) => rest.get(start..).unwrap_or_default(),
        None if rest.is_empty() => rest,
        None => b".",
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "in a tree of the test's own, in a mount namespace of its own")]
mod tests;
