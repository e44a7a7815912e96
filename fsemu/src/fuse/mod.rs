//! The FUSE filesystem of one container: [`mount`] makes it, [`serve`] answers its kernel.
//!
//! There are two of them for a container, one for each [`Part`] of the table. The root directory has an entry for each
//! node of the part, named [`crate::table::Node::name`], but for those that lie in the directory of another one
//! ([`crate::table::tops`]).
//! * [`Part::Cached`] is served from the kernel's page cache: an open file costs no request (`FUSE_NO_OPEN_SUPPORT`), a
//!   read costs two when the value's resolution has passed (GETATTR makes a new snapshot, whose exact size and new
//!   mtime drop the old pages; READ fetches it), else none. Size and pages are the inode's, and a reader on its way
//!   while another learns of a new size would get the old text cut, or zeros behind it: it is for texts whose length
//!   hardly ever changes.
//! * [`Part::Direct`] goes past the page cache (`FOPEN_DIRECT_IO`): each open file has a text of its own, from its
//!   start to its end, as a seq_file has. Values that are written are there too: through the page cache the kernel
//!   hands on what its page has by then, which a reader who learns of another size meanwhile has cut
//!   (`truncate_pagecache` in `fuse_change_attributes`).
//!
//! The kernel learns once per filesystem whether files are opened, so that the parts cannot share one.
//!
//! Invariant: a text is one text, whole, of exactly the size that is told. In the page cache's part that holds for
//! whoever is done within the value's resolution, or, when its length changes, not on its way just then.
//!
//! Nobody may touch the mount before [`serve`] runs: the kernel would make them wait for it, unkillably by our own
//! means when it is the one who is to run it.

mod abi;
mod directory;
mod handles;
mod inodes;
mod mirror;
mod session;
mod snapshot;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use policy::plan::MountFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use userns::mount::Detached;

use crate::Emulation;
use crate::table::Part;
use session::Session;

/// Of mount_setattr(2).
const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// The source that mountinfo names.
pub const SOURCE: &str = "eci";

/// Makes the filesystem: its mount, attached nowhere, and the descriptor to [`serve`]. Both belong to the user
/// namespace of the caller, which must be the engine's, so that the engine's host may read too.
///
/// # Errors
/// When `/dev/fuse` cannot be opened, or what the kernel says of the mount.
pub fn mount() -> userns::Result<(Detached, OwnedFd)> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| userns::Error::failed("open", "/dev/fuse", errno))?;
    let value = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let flag = |key: &str| (key.to_owned(), None);
    let options = [
        value("fd", &std::os::fd::AsRawFd::as_raw_fd(&device).to_string()),
        value("rootmode", "40000"),
        value("user_id", "0"),
        value("group_id", "0"),
        flag("allow_other"),
        flag("default_permissions"),
    ];
    let mount = Detached::filesystem("fuse", Some(SOURCE), &options, &[])?;
    mount.set_flags(MountFlags { set: ATTRIBUTES, clear: 0 }, false)?;
    Ok((mount, device))
}

/// Answers the kernel in this thread until the filesystem is gone: nobody has it mounted any more.
///
/// # Errors
/// When the device answers what it never should. Whoever uses the files then gets ENOTCONN.
pub fn serve(device: OwnedFd, emulation: Arc<Emulation>, part: Part) -> io::Result<()> {
    let mut session = Session::new(emulation, part);
    let mut buffer = vec![0; abi::BUFFER];
    loop {
        let length = match rustix::io::read(&device, &mut buffer) {
            Ok(length) => length,
            Err(Errno::NODEV) => return Ok(()),
            // ENOENT: who asked was killed in between.
            Err(Errno::NOENT | Errno::INTR) => continue,
            // Somebody has made the device non-blocking.
            Err(Errno::AGAIN) => {
                wait(&device)?;
                continue;
            }
            Err(errno) => return Err(errno.into()),
        };
        if let Some(answer) = session.answer(buffer.get(..length).unwrap_or_default())
            && !send(&device, &answer)?
        {
            return Ok(());
        }
    }
}

/// Says whether the filesystem is still there.
fn send(device: &OwnedFd, answer: &[u8]) -> io::Result<bool> {
    match rustix::io::write(device, answer) {
        // ENOENT: who asked no longer waits. EINVAL: an answer that the kernel does not take fails its request only.
        Ok(_) | Err(Errno::NOENT | Errno::INTR | Errno::INVAL) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn wait(device: &OwnedFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(&device.as_fd(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
