//! A group and everything below it.
//!
//! Whoever is root in a container makes children of its group as deep and as wide as the kernel lets it, so nothing here
//! recurses, holds a descriptor per level or builds a path: one descriptor wanders through the tree, down by name and up
//! by `..` (a group can be renamed, never moved to another parent).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// Opens a group's directory.
pub(super) fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    open_below(CWD, path)
}

/// Opens the group above one.
pub(super) fn open_parent(group: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    open_below(group, "..")
}

/// Opens a group below one by its path, which is relative and has no `..`.
pub(super) fn open_child(group: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    open_below(group, path)
}

fn open_below<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a file of a group, as text.
pub(super) fn read(group: BorrowedFd<'_>, file: &str) -> rustix::io::Result<String> {
    let file = openat(group, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut chunk[..]) {
            Ok(0) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes a value to a file of a group, at once: kernfs takes each write(2) as a whole value.
pub(crate) fn write(group: BorrowedFd<'_>, file: &str, value: &str) -> rustix::io::Result<()> {
    let file = openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes()))?;
    if written == value.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Walks over a tree: `enter` is given every group, parents first and the root included, `leave` every group but the root
/// as its parent and its name, children first. A group that vanishes meanwhile is passed over.
pub(super) fn walk(
    root: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>),
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr),
) -> rustix::io::Result<()> {
    let mut here = open_below(root, ".")?;
    let mut path: Vec<CString> = Vec::new();
    enter(here.as_fd());
    let mut waiting = vec![children(here.as_fd())?];
    while let Some(level) = waiting.last_mut() {
        if let Some(name) = level.pop() {
            let Ok(child) = open_below(here.as_fd(), &*name) else { continue };
            let Ok(names) = children(child.as_fd()) else { continue };
            enter(child.as_fd());
            waiting.push(names);
            path.push(name);
            here = child;
        } else {
            waiting.pop();
            if let Some(name) = path.pop() {
                here = open_below(here.as_fd(), "..")?;
                leave(here.as_fd(), &name);
            }
        }
    }
    Ok(())
}

fn children(group: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(group)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The processes of a tree, sorted; those that our pid namespace cannot name are 0 each. A tree that is not there has none.
pub(super) fn processes(root: &Path) -> rustix::io::Result<Vec<u32>> {
    let root = match open(root) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut pids = Vec::new();
    // A threaded group (cgroups(7)) answers EOPNOTSUPP: its processes are those of its domain, which is an ancestor.
    let gather = |group: BorrowedFd<'_>| {
        let text = read(group, "cgroup.procs").unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    };
    walk(root.as_fd(), gather, |_, _| {})?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Removes a tree. One that is busy (a process of it is still on its way out) is tried again until `deadline`.
pub(super) fn remove(root: &Path, deadline: Instant) -> rustix::io::Result<()> {
    let mut pause = 1;
    loop {
        match try_remove(root) {
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => wait(root, pause),
            Err(Errno::NOENT) => return Ok(()),
            result => return result,
        }
        pause = (pause * 2).min(50);
    }
}

#[expect(clippy::disallowed_methods, reason = "a group of the host, which no container can rename")]
fn try_remove(root: &Path) -> rustix::io::Result<()> {
    // Nearly always there are no children.
    match rustix::fs::rmdir(root) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        result => return result,
    }
    // What is left of the children, the last rmdir tells.
    walk(
        open(root)?.as_fd(),
        |_| {},
        |parent, name| {
            let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
        },
    )?;
    rustix::fs::rmdir(root)
}

/// Waits until a group changes between populated and empty, at most so many milliseconds. Only v2 tells; v1 has no event
/// for it, nor has either for the last step of an exiting process.
pub(super) fn wait(root: &Path, milliseconds: u32) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds) * 1_000_000 };
    let events = openat(CWD, root.join("cgroup.events"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    if let Ok(fd) = &events {
        // poll(2) tells what changed since the last read.
        let _ = rustix::io::read(fd, &mut [0_u8; 64][..]);
    }
    let mut watched: Vec<PollFd<'_>> = events.iter().map(|fd| PollFd::new(fd, PollFlags::PRI)).collect();
    let _ = poll(&mut watched, Some(&timeout));
}
