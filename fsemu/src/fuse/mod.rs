//! The FUSE filesystem of one container: [`mount`] makes it, [`serve`] answers its kernel.
//!
//! The root directory has an entry for each node of the [`Emulation`], named [`crate::table::Node::name`]. Texts are served from the
//! kernel's page cache: an open file costs no request (`FUSE_NO_OPEN_SUPPORT`), a read costs two when the value's resolution
//! has passed (GETATTR makes a new snapshot, whose exact size and new mtime drop the old pages; READ fetches it), else none.
//!
//! Invariant: what READ serves is the snapshot whose size the last GETATTR told, so that no text is cut or padded with zeros
//! ([`snapshot`]). Whoever reads in pieces sees one snapshot for as long as the value's resolution.
//!
//! Nobody may touch the mount before [`serve`] runs: the kernel would make them wait for it, unkillably by our own means
//! when it is the one who is to run it.

mod abi;
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
use session::Session;

/// `MOUNT_ATTR_NOSUID`, `MOUNT_ATTR_NODEV`, `MOUNT_ATTR_NOEXEC` of mount_setattr(2).
const ATTRIBUTES: u64 = 0x2 | 0x4 | 0x8;

/// Makes the filesystem: its mount, attached nowhere, and the descriptor to [`serve`]. Both belong to the user namespace of
/// the caller, which must be the host's, so that the host may read too.
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
    let mount = Detached::filesystem("fuse", Some("eci"), &options, &[])?;
    mount.set_flags(MountFlags { set: ATTRIBUTES, clear: 0 }, false)?;
    Ok((mount, device))
}

/// Answers the kernel in this thread until the filesystem is gone: nobody has it mounted any more.
///
/// # Errors
/// When the device answers what it never should. Whoever uses the files then gets ENOTCONN.
pub fn serve(device: OwnedFd, emulation: Arc<Emulation>) -> io::Result<()> {
    let mut session = Session::new(emulation);
    let mut buffer = vec![0; abi::BUFFER];
    loop {
        let length = match rustix::io::read(&device, &mut buffer) {
            Ok(length) => length,
            Err(Errno::NODEV) => return Ok(()),
            // ENOENT: who asked was killed in between.
            Err(Errno::NOENT | Errno::INTR) => continue,
            Err(Errno::AGAIN) => {
                wait(&device)?;
                continue;
            }
            Err(errno) => return Err(errno.into()),
        };
        if let Some(answer) = session.answer(buffer.get(..length).unwrap_or_default()) {
            match rustix::io::write(&device, &answer) {
                // ENOENT: who asked no longer waits. EINVAL: an answer that the kernel does not take fails its request only.
                Ok(_) | Err(Errno::NOENT | Errno::INTR | Errno::INVAL) => {}
                Err(Errno::NODEV) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Waits on a descriptor that somebody has made non-blocking.
fn wait(device: &OwnedFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(&device.as_fd(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
