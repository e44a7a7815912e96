//! listmount(2), statmount(2), and what it takes to find a mount.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::Errno;

/// `NS_GET_MNTNS_ID` of linux/nsfs.h: `_IOR(0xb7, 5, __u64)` (Linux 6.11).
const GET_MNTNS_ID: u64 = 0x8008_b705;

/// `SYS_listmount` (Linux 6.8), the same on every architecture.
const LISTMOUNT: libc::c_long = 458;

/// `SYS_statmount` (Linux 6.8), the same on every architecture.
const STATMOUNT: libc::c_long = 457;

/// `STATMOUNT_MNT_BASIC` of linux/mount.h.
const BASIC: u64 = 0x2;

/// The same, and `STATMOUNT_SB_BASIC`, `_MNT_ROOT`, `_MNT_POINT`, `_FS_TYPE`.
const ALL: u64 = 0x1 | BASIC | 0x8 | 0x10 | 0x20;

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

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8).
const MNT_ID_UNIQUE: u32 = 0x4000;

/// The id of the mount that a descriptor lies on, which no other mount ever has. Waits for nothing.
///
/// # Errors
/// What statx(2) says; EOPNOTSUPP from a kernel that does not know it.
pub(crate) fn unique_id(fd: impl AsFd) -> Result<u64, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(fd, "", flags, StatxFlags::from_bits_retain(MNT_ID_UNIQUE))?;
    if stat.stx_mask & MNT_ID_UNIQUE == 0 { Err(Errno::OPNOTSUPP) } else { Ok(stat.stx_mnt_id) }
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

/// Writes the ids (`STATX_MNT_ID_UNIQUE`) of all that lies below a mount, at any depth, into `ids`, and returns how many: where
/// there is no room for all, as many as there is room for. `namespace` is 0 for the calling thread's. Waits for nothing.
///
/// # Errors
/// Those of listmount(2): ENOSYS or EINVAL from a kernel that does not know it, ENOENT when the mount is gone.
pub(crate) fn list(namespace: u64, mount: u64, ids: &mut [u64]) -> io::Result<usize> {
    let request = Request { size: 32, spare: 0, mount, param: 0, namespace };
    // SAFETY: the request is of the size that it names; the kernel writes no more numbers than it is told.
    let found = unsafe { libc::syscall(LISTMOUNT, &raw const request, ids.as_mut_ptr(), ids.len(), 0_u32) };
    usize::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// The ids of all that lies below a mount at this moment, as [`list`] has them.
///
/// # Errors
/// As [`list`]; E2BIG where they are not fewer than `most`.
pub(crate) fn all_below(namespace: u64, mount: u64, most: usize) -> io::Result<Vec<u64>> {
    let mut ids = vec![0; most];
    let found = list(namespace, mount, &mut ids)?;
    ids.truncate(found);
    if found < most { Ok(ids) } else { Err(io::Error::from_raw_os_error(libc::E2BIG)) }
}

/// `struct statmount`, as Linux 6.8 has it, and room for its texts. All that is added since lies in `later`.
#[repr(C)]
pub(crate) struct Described {
    size: u32,
    options: u32,
    known: u64,
    /// Of the superblock: device, magic, `SB_*`, offset of the type's name.
    pub(crate) major: u32,
    pub(crate) minor: u32,
    magic: u64,
    pub(crate) super_flags: u32,
    fstype: u32,
    unique: u64,
    unique_parent: u64,
    /// As `STATX_MNT_ID` and mountinfo have them.
    pub(crate) id: u32,
    pub(crate) parent: u32,
    /// `MOUNT_ATTR_*`.
    pub(crate) attributes: u64,
    propagation: [u64; 4],
    root: u32,
    mount_point: u32,
    later: [u64; 50],
    texts: [u8; 3584],
}

impl Described {
    /// The filesystem's type.
    pub(crate) fn fstype(&self) -> &[u8] {
        self.text(self.fstype)
    }

    /// The directory of the filesystem that is the mount's root.
    pub(crate) fn root(&self) -> &[u8] {
        self.text(self.root)
    }

    /// Where it is mounted, seen from the calling thread's root, or from that of the other namespace.
    pub(crate) fn mount_point(&self) -> &[u8] {
        self.text(self.mount_point)
    }

    fn text(&self, offset: u32) -> &[u8] {
        let from = usize::try_from(offset).ok().and_then(|offset| self.texts.get(offset..)).unwrap_or_default();
        from.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// What there is to know of the mount with this id (`STATX_MNT_ID_UNIQUE`) of a mount namespace, which is 0 for the calling thread's.
/// Waits for nothing.
///
/// # Errors
/// Those of statmount(2): ENOSYS from a kernel that does not know it, ENOENT when the mount is gone, EOVERFLOW when its texts are
/// too long. ENODATA when something is missing.
pub(crate) fn describe(namespace: u64, mount: u64, into: &mut Described) -> io::Result<()> {
    ask(namespace, mount, ALL, into)
}

/// The mount on which the mount with this id lies, by the same kind of id: half the work of [`describe`].
///
/// # Errors
/// As [`describe`].
pub(crate) fn parent(namespace: u64, mount: u64, buffer: &mut Described) -> io::Result<u64> {
    ask(namespace, mount, BASIC, buffer).map(|()| buffer.unique_parent)
}

fn ask(namespace: u64, mount: u64, wanted: u64, into: &mut Described) -> io::Result<()> {
    let request = Request { size: 32, spare: 0, mount, param: wanted, namespace };
    // SAFETY: the request is of the size that it names; the kernel writes no more than the struct is long, all of whose fields
    // are numbers.
    let done = unsafe { libc::syscall(STATMOUNT, &raw const request, &raw mut *into, size_of::<Described>(), 0_u32) };
    match done {
        0 if into.known & wanted == wanted => Ok(()),
        0 => Err(io::Error::from_raw_os_error(libc::ENODATA)),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Default for Described {
    fn default() -> Self {
        Self {
            size: 0,
            options: 0,
            known: 0,
            major: 0,
            minor: 0,
            magic: 0,
            super_flags: 0,
            fstype: 0,
            unique: 0,
            unique_parent: 0,
            id: 0,
            parent: 0,
            attributes: 0,
            propagation: [0; 4],
            root: 0,
            mount_point: 0,
            later: [0; 50],
            texts: [0; 3584],
        }
    }
}

const _: () = assert!(std::mem::offset_of!(Described, texts) == 512 && size_of::<Described>() == 4096);
