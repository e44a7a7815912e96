//! listmount(2), and what it takes to find a mount.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NS_GET_MNTNS_ID` of linux/nsfs.h: `_IOR(0xb7, 5, __u64)` (Linux 6.11).
const GET_MNTNS_ID: u64 = 0x8008_b705;

/// `SYS_listmount` (Linux 6.8), the same on every architecture.
const LISTMOUNT: libc::c_long = 458;

/// Takes `uid` as the calling thread's filesystem user id, and returns the former one: setfsuid(2), which tells no error.
pub(crate) fn set_fsuid(uid: u32) -> u32 {
    // SAFETY: it takes a number, and credentials are the thread's own.
    unsafe { libc::setfsuid(uid) }.cast_unsigned()
}

/// `struct mnt_id_req`, as Linux 6.11 has it.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

/// The id of a mount namespace.
///
/// # Errors
/// Those of ioctl_ns(2): ENOTTY from a kernel that does not know it.
pub(crate) fn namespace_id(namespace: BorrowedFd<'_>) -> io::Result<u64> {
    let mut id = 0_u64;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel writes one u64.
    let answer = unsafe { libc::ioctl(namespace.as_raw_fd(), GET_MNTNS_ID as libc::Ioctl, &raw mut id) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

/// Whether mounts lie below the mount with this id (`STATX_MNT_ID_UNIQUE`) of a mount namespace. Waits for nothing.
///
/// # Errors
/// Those of listmount(2): ENOSYS or EINVAL from a kernel that does not know it, ENOENT when the mount is gone.
pub(crate) fn any_below(namespace: u64, mount: u64) -> io::Result<bool> {
    let request = Request { size: 32, spare: 0, mount, param: 0, namespace };
    let mut first = 0_u64;
    // SAFETY: the request is of the size that it names; the kernel writes at most one u64.
    let found = unsafe { libc::syscall(LISTMOUNT, &raw const request, &raw mut first, 1_usize, 0_u32) };
    if found < 0 { Err(io::Error::last_os_error()) } else { Ok(found > 0) }
}
