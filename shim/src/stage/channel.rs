//! A SOCK_SEQPACKET pair that carries JSON messages with descriptors beside them.
//!
//! Both ends are close-on-exec, so a program's start shows as the end of the channel. Stages use the blocking calls,
//! the shim the asynchronous one.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

/// More descriptors than any message has: an order carries three for stdio, one for init, at most one for each of some
/// fifteen cgroup hierarchies, and eight namespaces. (The kernel's own limit, `SCM_MAX_FD`, is 253.)
const MAX_FDS: usize = 64;

/// Longer than any message that is not an order; orders travel in a memfd.
const MAX_MESSAGE: usize = 64 * 1024;

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message and the descriptors beside it; none at the end of the channel.
pub(crate) type Received<T> = Option<(T, Vec<OwnedFd>)>;

impl Channel {
    /// A connected pair.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The same end once more.
    pub(crate) fn another(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a message. The other end's absence is an error (`EPIPE`), never a signal.
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.0.as_fd(), message, fds)
    }

    /// Sends a message of any length: it lies in a memfd, the first of the descriptors.
    pub(crate) fn send_order(&self, order: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_order(self.0.as_fd(), order, fds)
    }

    /// Waits for a message.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Received<T>> {
        receive(self.0.as_fd())
    }

    /// Waits for a message that [`AsyncChannel::send_order`] sent.
    pub(crate) fn receive_order<T: DeserializeOwned>(&self) -> io::Result<Received<T>> {
        let Some(((), mut fds)) = self.receive()? else { return Ok(None) };
        if fds.is_empty() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let order = serde_json::from_reader(io::BufReader::new(File::from(fds.remove(0))))?;
        Ok(Some((order, fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL))?;
    Ok(())
}

fn send_order(socket: BorrowedFd<'_>, order: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut memfd = File::from(memfd_create("eci-order", MemfdFlags::CLOEXEC)?);
    memfd.write_all(&serde_json::to_vec(order)?)?;
    memfd.seek(SeekFrom::Start(0))?;
    let mut all = vec![memfd.as_fd()];
    all.extend_from_slice(fds);
    send(socket, &(), &all)
}

fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Received<T>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
            // A peer that has gone with unread messages shows in this way, once (unix(7)), before its last words are read.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            received => break received?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    // recvmsg(2): what had no room is gone, and what is left of it may well be read as something else.
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut short"));
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, fds)))
}

/// The shim's end, which waits without holding a thread.
#[derive(Debug)]
pub(crate) struct AsyncChannel(AsyncFd<OwnedFd>);

impl AsyncChannel {
    /// Needs a tokio runtime around it.
    pub(crate) fn new(channel: Channel) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&channel.0, true)?;
        Ok(Self(crate::sys::watch(channel.0)?))
    }

    /// Waits for a message.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Received<T>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.as_fd())) {
                Ok(result) => return result,
                Err(_would_block) => continue,
            }
        }
    }

    /// A message, or the end, if it is there already.
    pub(crate) fn receive_now<T: DeserializeOwned>(&self) -> Option<io::Result<Received<T>>> {
        let received = receive(self.0.get_ref().as_fd());
        let is_none = received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        (!is_none).then_some(received)
    }

    /// Sends a short message; the peer reads one at a time, so there is always room.
    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        send(self.0.get_ref().as_fd(), message, &[])
    }

    /// Sends a message of any length, likewise: it lies in a memfd, the first of the descriptors.
    pub(crate) fn send_order(&self, order: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_order(self.0.get_ref().as_fd(), order, fds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_their_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        one.send(&"first", &[file.as_fd()]).unwrap();
        one.send(&2, &[]).unwrap();
        let (first, fds): (String, _) = other.receive().unwrap().unwrap();
        assert_eq!((first.as_str(), fds.len()), ("first", 1));
        let (second, fds): (i32, _) = other.receive().unwrap().unwrap();
        assert_eq!((second, fds.len()), (2, 0));
        drop(one);
        assert!(other.receive::<i32>().unwrap().is_none());
    }

    #[test]
    fn the_last_words_of_a_peer_that_has_not_listened_are_read() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&"unread", &[]).unwrap();
        other.send(&"why", &[]).unwrap();
        drop(other);
        assert_eq!(one.receive::<String>().unwrap().unwrap().0, "why");
        assert!(one.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn an_order_may_be_larger_than_a_datagram() {
        let (one, other) = Channel::pair().unwrap();
        let long = "x".repeat(3 << 20);
        send_order(one.as_fd(), &long, &[]).unwrap();
        let (order, fds): (String, _) = other.receive_order().unwrap().unwrap();
        assert!(order == long && fds.is_empty());
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error_and_the_channel_goes_on() {
        let (one, other) = Channel::pair().unwrap();
        assert!(one.send(&"x".repeat(MAX_MESSAGE), &[]).is_err());
        one.send(&1, &[]).unwrap();
        assert_eq!(other.receive::<i32>().unwrap().unwrap().0, 1);
    }

    /// The other end of a channel, without the limits of [`send`].
    fn send_raw(channel: &Channel, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2 * MAX_FDS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(beside.push(SendAncillaryMessage::ScmRights(fds)));
        sendmsg(channel, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL).unwrap();
    }

    #[test]
    fn a_message_that_is_cut_short_is_refused_whatever_is_left_of_it() {
        let (one, other) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        // What there is room for is a message by itself; the rest are more spaces.
        let mut long = vec![b' '; MAX_MESSAGE + 1];
        long[0] = b'1';
        send_raw(&one, &long, &[file.as_fd()]);
        send_raw(&one, &long[..MAX_MESSAGE], &[file.as_fd()]);
        assert_eq!(other.receive::<i32>().unwrap_err().to_string(), "a message was cut short");
        assert_eq!(other.receive::<i32>().unwrap().unwrap().0, 1, "the longest one is whole");

        send_raw(&one, b"1", &[file.as_fd(); 2 * MAX_FDS]);
        send_raw(&one, b"1", &[file.as_fd(); MAX_FDS]);
        assert_eq!(other.receive::<i32>().unwrap_err().to_string(), "a message was cut short");
        assert_eq!(other.receive::<i32>().unwrap().unwrap().1.len(), MAX_FDS);
    }

    #[test]
    fn an_order_without_its_memfd_or_with_half_of_it_is_refused() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&(), &[]).unwrap();
        assert!(other.receive_order::<String>().is_err());
        let mut half = tempfile::tempfile().unwrap();
        half.write_all(b"\"an order tha").unwrap();
        half.seek(SeekFrom::Start(0)).unwrap();
        one.send(&(), &[half.as_fd()]).unwrap();
        assert!(other.receive_order::<String>().unwrap_err().to_string().contains("EOF"));
    }
}
