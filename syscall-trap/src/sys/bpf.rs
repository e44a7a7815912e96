//! bpf(2), for cgroup device programs alone. The layouts are those of `union bpf_attr` in linux/bpf.h, which are the same on
//! every ABI.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// `enum bpf_cmd`: what is served, too.
pub(crate) const PROG_LOAD: i32 = 5;
pub(crate) const PROG_ATTACH: i32 = 8;
pub(crate) const PROG_DETACH: i32 = 9;
pub(crate) const PROG_GET_FD_BY_ID: i32 = 13;
pub(crate) const OBJ_GET_INFO_BY_FD: i32 = 15;
pub(crate) const PROG_QUERY: i32 = 16;

/// `BPF_PROG_TYPE_CGROUP_SKB`, `BPF_PROG_TYPE_CGROUP_DEVICE` and `BPF_CGROUP_DEVICE`.
pub(crate) const TYPE_CGROUP_SKB: u32 = 8;
pub(crate) const TYPE_CGROUP_DEVICE: u32 = 15;
pub(crate) const CGROUP_DEVICE: u32 = 6;

/// Flags of an attachment: how it stands to those of the groups below and to others of its own group.
pub(crate) const ALLOW_OVERRIDE: u32 = 1;
pub(crate) const ALLOW_MULTI: u32 = 2;
pub(crate) const REPLACE: u32 = 4;

/// How many programs a group can have (`BPF_CGROUP_MAX_PROGS`).
const MOST: usize = 64;

/// How much of `struct bpf_prog_info` is asked for: up to the name and what follows it (Linux 4.15).
pub(crate) const INFO: usize = 88;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads; the kernel takes what lies beyond as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part that `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read.
#[repr(C)]
struct Attach {
    target_fd: i32,
    attach_bpf_fd: i32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: i32,
}

#[repr(C)]
struct Query {
    target_fd: i32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct Info {
    bpf_fd: i32,
    info_len: u32,
    info: u64,
}

fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a `repr(C)` prefix of `union bpf_attr` without padding, alive during the call; the kernel
    // reads and writes `size_of::<T>()` bytes of it, and what its pointers name is borrowed by the callers below.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor that bpf(2) has returned, which is close-on-exec.
fn descriptor(number: libc::c_long) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: a success of the commands that make descriptors is a new one that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A program that may be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `BPF_PROG_TYPE_*`
    pub(crate) kind: u32,
    /// `struct bpf_insn` each.
    pub instructions: Vec<[u8; 8]>,
    /// Its licence, which the kernel compares with those that are the GPL's.
    pub licence: std::ffi::CString,
    /// `BPF_F_STRICT_ALIGNMENT` or nothing.
    pub flags: u32,
    /// Its name, filled up with NULs.
    pub name: [u8; 16],
}

impl Program {
    /// A device program of our own, without a name.
    pub fn plain(instructions: Vec<[u8; 8]>) -> Self {
        Self { kind: TYPE_CGROUP_DEVICE, instructions, licence: c"Apache-2.0".to_owned(), flags: 0, name: [0; 16] }
    }
}

/// Loads a program, with no more capabilities than that takes: without CAP_PERFMON the verifier lets no pointer leak
/// and puts its barriers against speculation in.
///
/// # Errors
/// Those of bpf(2): EACCES or EINVAL from the verifier, E2BIG, EPERM without CAP_BPF and CAP_NET_ADMIN.
pub fn load(program: &Program) -> io::Result<OwnedFd> {
    let mut load = Load {
        prog_type: program.kind,
        insn_cnt: u32::try_from(program.instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: program.instructions.as_ptr() as u64,
        license: program.licence.as_ptr() as u64,
        prog_flags: program.flags,
        prog_name: program.name,
        ..Load::default()
    };
    let _few = Few::take(CapabilitySet::BPF | CapabilitySet::NET_ADMIN)?;
    descriptor(bpf(PROG_LOAD, &mut load)?)
}

/// The calling thread's effective capabilities are few for as long as this lives.
struct Few(CapabilitySets);

impl Few {
    fn take(wanted: CapabilitySet) -> io::Result<Self> {
        let before = capabilities(None)?;
        set_capabilities(None, CapabilitySets { effective: before.effective & wanted, ..before })?;
        Ok(Self(before))
    }
}

impl Drop for Few {
    fn drop(&mut self) {
        // What is permitted can be made effective at any time.
        let _permitted = set_capabilities(None, self.0);
    }
}

/// Attaches a device program to a cgroup v2 directory, with these flags; with [`REPLACE`], in the place of `replaced`.
///
/// # Errors
/// Those of bpf(2): EBADF where the directory is of no such group, EPERM or EINVAL for flags that do not go with what the
/// group and those above have, E2BIG when it has too many.
pub fn attach(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attach = Attach {
        target_fd: group.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: replaced.map_or(0, |replaced| replaced.as_raw_fd()),
    };
    bpf(PROG_ATTACH, &mut attach).map(drop)
}

/// Attaches a device program to a cgroup v2 directory, beside the programs of its ancestors and those that others attach: a
/// device must pass all of them. It holds as long as the group lives.
///
/// # Errors
/// As [`attach`].
pub fn attach_beside(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    attach(group, program, ALLOW_MULTI, None)
}

/// Detaches a device program from a group, or, without one, the only one of a group whose programs are not beside others.
///
/// # Errors
/// Those of bpf(2): ENOENT when there is none, EINVAL when it must be named.
pub(crate) fn detach(group: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut detach = Attach {
        target_fd: group.as_raw_fd(),
        attach_bpf_fd: program.map_or(-1, |program| program.as_raw_fd()),
        attach_type: CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    bpf(PROG_DETACH, &mut detach).map(drop)
}

/// What a group itself has: the flags of its attachments, and the programs' ids.
///
/// # Errors
/// Those of bpf(2).
pub(crate) fn query(group: BorrowedFd<'_>) -> io::Result<(u32, Vec<u32>)> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        target_fd: group.as_raw_fd(),
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(MOST).unwrap_or_default(),
        padding: 0,
    };
    bpf(PROG_QUERY, &mut query)?;
    let count = usize::try_from(query.prog_cnt).unwrap_or_default();
    Ok((query.attach_flags, ids.into_iter().take(count).collect()))
}

/// The program with this id, of whatever kind.
///
/// # Errors
/// ENOENT when there is none.
pub(crate) fn open(id: u32) -> io::Result<OwnedFd> {
    descriptor(bpf(PROG_GET_FD_BY_ID, &mut ById { prog_id: id, next_id: 0, open_flags: 0 })?)
}

/// The beginning of a program's `struct bpf_prog_info`.
///
/// # Errors
/// Those of bpf(2).
pub(crate) fn info(program: BorrowedFd<'_>) -> io::Result<[u8; INFO]> {
    let mut info = [0_u64; INFO / 8];
    let mut ask = Info { bpf_fd: program.as_raw_fd(), info_len: INFO as u32, info: info.as_mut_ptr() as u64 };
    bpf(OBJ_GET_INFO_BY_FD, &mut ask)?;
    let mut bytes = [0; INFO];
    for (to, from) in bytes.chunks_exact_mut(8).zip(info) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    Ok(bytes)
}

/// The id in such an info.
pub(crate) fn id_of(info: &[u8; INFO]) -> u32 {
    let [_, _, _, _, a, b, c, d, ..] = *info;
    u32::from_ne_bytes([a, b, c, d])
}
