//! Children that do what this process cannot do where it is, and hand over what they have made.
//!
//! What such a child becomes meanwhile (namespaces, rights) ends with it. Callers have one thread.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, WaitOptions, getpid, pidfd_open, waitpid};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces};

pub use crate::sys::{Forked, exit, fork};

/// The most bytes that a child says in place of a descriptor.
const MAX_WORDS: usize = 32 * 1024;

/// Has a child make a descriptor, and takes it over.
///
/// # Errors
/// What `make` says, or why there is no child; ECHILD when it died.
pub fn handed_over(make: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let made = handed_over_or(|| make().map_err(|errno| errno.raw_os_error().to_ne_bytes().to_vec()))?;
    let number = |words: Vec<u8>| words.try_into().map_or(Errno::CHILD.raw_os_error(), i32::from_ne_bytes);
    made.map_err(|words| Errno::from_raw_os_error(number(words)))
}

/// [`handed_over`] of what can fail in more words than a number: 32 KiB at most, and none when the child died.
///
/// # Errors
/// Why there is no child, or no word of it.
pub fn handed_over_or(make: impl FnOnce() -> Result<OwnedFd, Vec<u8>>) -> Result<Result<OwnedFd, Vec<u8>>, Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    match fork()? {
        Forked::Child => {
            let _gone = match make() {
                Ok(made) => send_beside(theirs.as_fd(), b"made", &[made.as_fd()]),
                Err(words) => send_beside(theirs.as_fd(), &words, &[]),
            };
            exit(0)
        }
        Forked::Parent(pid) => {
            drop(theirs);
            let mut words = vec![0; MAX_WORDS];
            let heard = receive_beside(ours.as_fd(), &mut words);
            let _status = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            let (length, fds) = heard?;
            words.truncate(length);
            Ok(fds.into_iter().next().ok_or(words))
        }
    }
}

/// Has children live in a pid namespace while `act` lasts; this process stays where it is (setns(2)).
///
/// # Errors
/// Those of setns(2).
pub fn with_children_in<T>(pid_namespace: BorrowedFd<'_>, act: impl FnOnce() -> T) -> Result<T, Errno> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    move_into_link_name_space(pid_namespace, Some(LinkNameSpaceType::ProcessID))?;
    let done = act();
    move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::PROCESS_ID)?;
    Ok(done)
}

/// Sends one message over a SOCK_SEQPACKET socket, with descriptors beside it: two at most.
///
/// # Errors
/// Those of sendmsg(2), EINVAL for more descriptors.
pub fn send_beside(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message of [`send_beside`]'s: its length in `message`, and the descriptors. No length: there is
/// nobody to send.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_beside(socket: BorrowedFd<'_>, message: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_a_child_makes_or_says_arrives() {
        let its_pid = || {
            let (read, write) = rustix::pipe::pipe()?;
            rustix::io::write(write, std::process::id().to_string().as_bytes())?;
            Ok(read)
        };
        let mut text = String::new();
        std::fs::File::from(handed_over(its_pid).unwrap()).read_to_string(&mut text).unwrap();
        assert_ne!(text.parse::<u32>().unwrap(), std::process::id());
        assert_eq!(handed_over(|| Err(Errno::XDEV)).unwrap_err(), Errno::XDEV);
        assert_eq!(handed_over_or(|| Err(b"in words".to_vec())).unwrap().unwrap_err(), b"in words");
        assert_eq!(handed_over(|| exit(1)).unwrap_err(), Errno::CHILD);
        assert_eq!(handed_over_or(|| exit(1)).unwrap().unwrap_err(), b"");
    }
}
