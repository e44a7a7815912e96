//! The ioctls of a listener (seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct seccomp_notif` as the running kernel has it, which may be longer than the one that we know.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u64>);

/// What the kernel writes of a notification.
pub(crate) type Notif = libc::seccomp_notif;

impl Buffer {
    /// Of the size that the kernel asks for.
    ///
    /// # Errors
    /// EINVAL where it wants longer answers than ours; none that we know does.
    pub(crate) fn new() -> io::Result<Self> {
        let mut sizes = libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
        // SAFETY: the kernel writes the three numbers of a struct that lives through the call.
        let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
        if ret < 0 {
            return Err(io::Error::last_os_error());
        }
        if usize::from(sizes.seccomp_notif_resp) > size_of::<libc::seccomp_notif_resp>() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let bytes = usize::from(sizes.seccomp_notif).max(size_of::<Notif>());
        Ok(Self(vec![0; bytes.div_ceil(size_of::<u64>())]))
    }
}

/// Takes the next notification; waits while there is none.
///
/// # Errors
/// ENOENT when its caller has gone meanwhile, EINTR.
pub(crate) fn receive(listener: BorrowedFd<'_>, buffer: &mut Buffer) -> io::Result<Notif> {
    // The kernel refuses a buffer that is not zero.
    buffer.0.fill(0);
    // SAFETY: the kernel writes one `struct seccomp_notif` of its own size, for which the buffer has room.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, buffer.0.as_mut_ptr()) };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the buffer is at least as long as the struct and aligned for its u64; every bit pattern is one of its values.
    Ok(unsafe { buffer.0.as_ptr().cast::<Notif>().read() })
}

/// Whether the caller of `id` still waits for its answer.
///
/// # Errors
/// ENOENT when not.
pub(crate) fn id_valid(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    // SAFETY: the kernel reads a number that lives through the call.
    again(|| unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) })
}

/// Answers a notification.
///
/// # Errors
/// ENOENT when its caller has gone; EINPROGRESS when it has its answer.
pub(crate) fn send(listener: BorrowedFd<'_>, answer: &libc::seccomp_notif_resp) -> io::Result<()> {
    let answer = std::ptr::from_ref(answer);
    // SAFETY: the kernel reads a struct that lives through the call.
    again(|| unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, answer) })
}

/// Makes a call until no signal keeps it from its turn: a listener's lock is waited for interruptibly (`notify_lock` of
/// kernel/seccomp.c). EINTR says nothing of the caller, who would go without an answer or be taken for gone.
fn again(mut call: impl FnMut() -> libc::c_int) -> io::Result<()> {
    loop {
        if call() >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: `_IOW('!', 4, __u64)`.
const SET_FLAGS: u64 = 0x4008_2104;

/// Has a caller and whoever waits for the listener itself (not for an epoll(7) of it) wake each other where they run: of
/// the two only one has anything to do, and another processor would first have to wake up.
///
/// # Errors
/// EINVAL before Linux 6.6.
pub(crate) fn wake_in_place(listener: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the flags are the argument itself.
    again(|| unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as libc::Ioctl, SYNC_WAKE_UP) })
}

/// `struct seccomp_notif_addfd` of linux/seccomp.h.
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

/// `SECCOMP_ADDFD_FLAG_SEND` (Linux 5.14).
const SEND: u32 = 2;

/// `SECCOMP_IOCTL_NOTIF_ADDFD`: `_IOW('!', 3, struct seccomp_notif_addfd)`.
const ADDFD: u64 = 0x4018_2103;

/// Answers a notification with a new, close-on-exec descriptor of the caller's for what `fd` is.
///
/// # Errors
/// ENOENT when its caller has gone; EMFILE when the caller has no room.
pub(crate) fn give(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
    let srcfd = fd.as_raw_fd().cast_unsigned();
    let give = AddFd { id, flags: SEND, srcfd, newfd: 0, newfd_flags: libc::O_CLOEXEC.cast_unsigned() };
    // SAFETY: the kernel reads a struct that lives through the call.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), ADDFD as libc::Ioctl, &raw const give) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_no_answer() {
        let fail = |errno: i32| {
            // SAFETY: it takes nothing.
            let own = unsafe { libc::__errno_location() };
            // SAFETY: the thread's own errno, which lives as long as the thread.
            unsafe { *own = errno };
            -1
        };
        let mut answers = vec![0, -libc::EINTR, -libc::EINTR];
        assert!(
            again(|| match answers.pop().unwrap() {
                0 => 0,
                errno => fail(-errno),
            })
            .is_ok()
        );
        assert!(answers.is_empty());
        assert_eq!(again(|| fail(libc::ENOENT)).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
