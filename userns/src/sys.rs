//! The system calls that neither rustix nor nix wraps. The only `unsafe` of this crate.
//!
//! Each wrapper takes and returns safe types, passes exactly one structure that lives for the call, and adds no policy.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

/// `MOUNT_ATTR_IDMAP` of mount_setattr(2).
pub(crate) const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// `struct mount_attr` of mount_setattr(2) (`include/uapi/linux/mount.h`).
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct MountAttr {
    pub(crate) attr_set: u64,
    pub(crate) attr_clr: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0 to leave it.
    pub(crate) propagation: u64,
    /// Descriptor of a user namespace, read with `MOUNT_ATTR_IDMAP` only.
    pub(crate) userns_fd: u64,
}

/// mount_setattr(2) on the mount whose root (or whose mountpoint's top mount) `fd` is.
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid empty C string, `attr` is a live structure of the size that is passed, and the
    // kernel only reads both.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    check(answer).map(drop)
}

/// A child in a new user namespace, and what keeps it waiting.
pub(crate) struct UsernsChild {
    /// clone(2)'s pid, unreaped.
    pub(crate) pid: rustix::process::Pid,
    /// The child exits when this end of the pipe is closed everywhere, at the latest with the caller.
    pub(crate) hold: OwnedFd,
}

/// clone(2) with `CLONE_NEWUSER`: the child makes no system call but read(2) on a pipe and _exit(2) at its end.
///
/// The child takes no lock, so that it does not matter what other threads of the caller held when it was cloned.
pub(crate) fn clone_into_user_namespace() -> Result<UsernsChild> {
    let (wait, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with a null stack, clone(2) behaves as fork(2): the child runs on a copy of this
    // stack. The remaining arguments are unused with these flags, so their order (which differs by architecture)
    // does not matter.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        wait_for_end_of_file(wait.as_raw_fd(), hold.as_raw_fd());
    }
    let pid = i32::try_from(check(pid)?).ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::CHILD)?;
    Ok(UsernsChild { pid, hold })
}

/// Where fork(2) returned.
#[derive(Debug)]
pub enum Forked {
    /// In the caller, with the child's pid.
    Parent(rustix::process::Pid),
    /// In the child.
    Child,
}

/// fork(2) of a process with one thread: the child is a copy of it.
///
/// # Errors
/// Those of fork(2).
pub fn fork() -> Result<Forked> {
    // SAFETY: the danger is a lock that another thread holds; the caller has one thread only.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).map(Forked::Parent).ok_or(Errno::CHILD),
    }
}

/// _exit(2): no destructor runs, nothing that was inherited is flushed.
pub fn exit(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// The child's whole life: async-signal-safe calls on numbers only.
fn wait_for_end_of_file(wait: i32, hold: i32) -> ! {
    // SAFETY: `hold` is this process's own copy of the descriptor and nothing uses it after; the copy in the parent is
    // another entry of another table.
    drop(unsafe { OwnedFd::from_raw_fd(hold) });
    let mut byte = 0_u8;
    loop {
        // SAFETY: one byte is read into a live byte.
        let read = unsafe { libc::read(wait, std::ptr::from_mut(&mut byte).cast(), 1) };
        if read >= 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            // SAFETY: _exit(2) runs no destructors and no atexit handlers, and never returns.
            unsafe { libc::_exit(0) }
        }
    }
}

/// The result of a raw system call made through libc.
fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer == -1 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(answer)
}

/// `struct loop_config` of loop(4) (`include/uapi/linux/loop.h`), its `struct loop_info64` laid open.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// `lo_device` to `lo_sizelimit`.
    info_head: [u64; 5],
    /// `lo_number` to `lo_flags`.
    info_words: [u32; 4],
    /// `lo_file_name`, `lo_crypt_name`, `lo_encrypt_key`.
    info_names: [u8; 64 + 64 + 32],
    info_init: [u64; 2],
    reserved: [u64; 8],
}

/// `LOOP_CTL_GET_FREE` of loop(4).
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
/// `LOOP_CONFIGURE` of loop(4), Linux 5.8.
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// The number of a loop device that is free now.
pub(crate) fn loop_get_free(control: &std::fs::File) -> Result<libc::c_long> {
    // SAFETY: this request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    check(number.into())
}

/// Makes `device` show `backing` until its last user has gone.
pub(crate) fn loop_configure(device: &std::fs::File, backing: &std::fs::File, read_only: bool) -> Result<()> {
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let config = LoopConfig {
        fd: u32::try_from(backing.as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: 0,
        info_head: [0; 5],
        info_words: [0, 0, 0, flags],
        info_names: [0; 160],
        info_init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: the request reads a `struct loop_config`, which `config` is laid out as and outlives the call.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, std::ptr::from_ref(&config)) };
    check(answer.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<MountAttr>(), 32);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(std::mem::offset_of!(LoopConfig, info_words), 8 + 40);
    }
}
