//! What a process needs that acts on behalf of another: to be cloned, to change its rights, to hand something over.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

/// `NS_GET_USERNS` of linux/nsfs.h: `_IO(0xb7, 1)`.
const GET_USERNS: u64 = 0xb701;

/// Where fork(2) returned.
pub(crate) enum Forked {
    /// In the caller, with the child's pid.
    Parent(Pid),
    /// In the child.
    Child,
}

/// fork(2) of a process with one thread: the child is a copy of it.
pub(crate) fn fork() -> Result<Forked, Errno> {
    // SAFETY: the danger is a lock that another thread holds; the caller has one thread only.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid).ok().and_then(Pid::from_raw).map(Forked::Parent).ok_or(Errno::CHILD),
    }
}

/// _exit(2): no destructor runs, nothing that was inherited is flushed.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// unshare(2) for a process with one thread: namespaces are a thread's.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the danger is a thread whose file descriptors are no longer those of the others (CLONE_FILES), which no
    // caller passes; namespaces touch no memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// The user namespace that owns a namespace (ioctl_ns(2)).
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and this request takes no argument.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), GET_USERNS as libc::Ioctl) }.into())?;
    // SAFETY: on success the kernel has returned a new descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) })
}

fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer == -1 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(answer)
}

/// Sends one message over a SOCK_SEQPACKET socket, with descriptors beside it: [`MAX_FDS`] at most.
pub(crate) fn send_beside(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message of [`send_beside`]'s: its length in `message`, and the descriptors. No length: there is nobody to send.
pub(crate) fn receive_beside(socket: BorrowedFd<'_>, message: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let heard = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(message)], &mut beside, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut received = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.extend(fds);
        }
    }
    Ok((heard.bytes, received))
}

/// How many descriptors [`send_beside`] takes.
const MAX_FDS: usize = 2;

/// Has a child make a descriptor, and takes it over. What the child becomes meanwhile (namespaces, rights) ends with it.
pub(crate) fn handed_over(make: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    match fork()? {
        Forked::Child => {
            let made = make();
            let number = made.as_ref().err().map_or(0, |errno| errno.raw_os_error()).to_ne_bytes();
            let fds: Vec<_> = made.iter().map(|fd| fd.as_fd()).collect();
            let _gone = send_beside(theirs.as_fd(), &number, &fds);
            exit(0)
        }
        Forked::Parent(pid) => {
            drop(theirs);
            let mut number = [0_u8; 4];
            let heard = receive_beside(ours.as_fd(), &mut number);
            let _status = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            let (_, fds) = heard?;
            match i32::from_ne_bytes(number) {
                0 => fds.into_iter().next().ok_or(Errno::CHILD),
                number => Err(Errno::from_raw_os_error(number)),
            }
        }
    }
}
