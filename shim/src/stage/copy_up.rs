//! `tmpcopyup`: what the image has below a new tmpfs is copied into it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::message::Failure;

/// How deep a tree may be: each level holds two descriptors.
const MAX_DEPTH: usize = 128;

/// Copies directory `from` into `to`: owners, modes, symlinks, devices; nothing is followed.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failure> {
    let from = openat(from, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let stat = rustix::fs::fstat(&from).map_err(Failure::at("stat", "the directory that tmpcopyup copies"))?;
    directory(&from, to, MAX_DEPTH)?;
    dress(to, &stat)
}

fn directory(from: &OwnedFd, to: BorrowedFd<'_>, depth: usize) -> Result<(), Failure> {
    if depth == 0 {
        return Err(Failure::line(format!("copy up: directories are nested deeper than {MAX_DEPTH} levels")));
    }
    for entry in Dir::read_from(from).map_err(Failure::at("read", "a directory"))? {
        let entry = entry.map_err(Failure::at("read", "a directory"))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            one(from, to, entry.file_name(), depth)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "names of one directory, on a tmpfs that is not attached yet")]
fn one(from: &OwnedFd, to: BorrowedFd<'_>, name: &std::ffi::CStr, depth: usize) -> Result<(), Failure> {
    let at = || Failure::at::<Errno>("copy up", name.to_string_lossy());
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let source = openat(from.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(at())?;
            let target = openat(to, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            directory(&source, target.as_fd(), depth - 1)?;
            dress(target.as_fd(), &stat)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(at())?;
            rustix::fs::symlinkat(target, to, name).map_err(at())?;
            let (uid, gid) = owner(&stat);
            rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(at())
        }
        FileType::RegularFile => {
            let mut source = File::from(openat(from.as_fd(), name, OFlags::RDONLY)?);
            let mut target = File::from(openat(to, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
            std::io::copy(&mut source, &mut target).map_err(Failure::at("copy up", name.to_string_lossy()))?;
            dress(target.as_fd(), &stat)
        }
        other => {
            rustix::fs::mknodat(to, name, other, Mode::from_raw_mode(stat.st_mode), stat.st_rdev).map_err(at())?;
            let (uid, gid) = owner(&stat);
            rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(at())
        }
    }
}

/// Owner first: chown(2) takes set-id bits away.
fn dress(fd: BorrowedFd<'_>, stat: &Stat) -> Result<(), Failure> {
    // A detached mount's root is an O_PATH descriptor, which fchown(2) and fchmod(2) refuse.
    let directory = openat(fd, c".", OFlags::RDONLY | OFlags::DIRECTORY);
    let fd = directory.as_ref().map_or(fd, AsFd::as_fd);
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(fd, uid, gid).map_err(Failure::at("change the owner of", "a copy"))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode)).map_err(Failure::at("change the mode of", "a copy"))
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn openat(at: BorrowedFd<'_>, name: &std::ffi::CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .map_err(Failure::at("open", name.to_string_lossy()))
}
