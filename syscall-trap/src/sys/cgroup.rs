//! Groups of cgroup v2 by their ids.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;

/// `FILEID_KERNFS` of linux/exportfs.h: a handle of eight bytes, which are the id.
const KERNFS: i32 = 0xfe;

/// `struct file_handle` of such a handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

/// Opens the directory of the group with this id (its inode number) in the hierarchy of `of`, as that one's mount shows it.
///
/// # Errors
/// Those of open_by_handle_at(2): ESTALE when it is gone, ENOTDIR for a file.
pub(crate) fn open(of: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let handle = Handle { bytes: 8, kind: KERNFS, id: id.to_ne_bytes() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // SAFETY: the handle is as long as it says, and alive during the call, which only reads it.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, of.as_raw_fd(), &raw const handle, flags.bits()) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a success is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
