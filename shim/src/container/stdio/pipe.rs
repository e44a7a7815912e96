//! The shim's ends of the pipes that a process has.
//!
//! read(2), write(2) and close(2) of a pipe take its lock, in which no signal interrupts them, and who has the other end can hold it
//! for good: splice(2) waits under it for a socket or a file (`splice_file_to_pipe()` of fs/splice.c). So only poll(2), which takes no
//! lock, is done on the reactor; the rest on a thread of the pool, which waits there alone until the container ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::JoinHandle;

use crate::sys::{self, Aside};

/// How much is read or written at once: what a pipe holds (pipe(7)).
const CHUNK: usize = 64 << 10;

/// The end that is read from.
pub(super) struct Reader {
    pipe: AsyncFd<Arc<Aside>>,
    /// Whether there may be something to read.
    ready: bool,
    reading: Option<JoinHandle<io::Result<Read>>>,
    /// What has been read, and how much of it has been taken.
    read: (Vec<u8>, usize),
}

/// What one look has found. No bytes: the end.
struct Read {
    bytes: Vec<u8>,
    more: bool,
}

impl Reader {
    /// Watches it; for a runtime's thread.
    ///
    /// # Errors
    /// What epoll(7) says.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = watch(pipe, Interest::READABLE)?;
        Ok(Self { pipe, ready: false, reading: None, read: Default::default() })
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let (bytes, taken) = &mut this.read;
            if let Some(rest) = bytes.get(*taken..).filter(|rest| !rest.is_empty()) {
                let part = &rest[..rest.len().min(buf.remaining())];
                buf.put_slice(part);
                *taken += part.len();
                return Poll::Ready(Ok(()));
            }
            this.read = Default::default();
            let Some(reading) = &mut this.reading else {
                if !this.ready {
                    ready!(this.pipe.poll_read_ready(cx))?.clear_ready();
                    this.ready = true;
                }
                let pipe = this.pipe.get_ref().clone();
                this.reading = Some(tokio::task::spawn_blocking(move || read(&pipe)));
                continue;
            };
            let outcome = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            match outcome.map_err(io::Error::other)? {
                Ok(Read { bytes, .. }) if bytes.is_empty() => return Poll::Ready(Ok(())),
                Ok(Read { bytes, more }) => (this.read, this.ready) = ((bytes, 0), more),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => this.ready = false,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn read(pipe: &Aside) -> io::Result<Read> {
    let mut bytes = Vec::with_capacity(CHUNK);
    rustix::io::retry_on_intr(|| rustix::io::read(pipe, spare_capacity(&mut bytes)))?;
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let more = poll(&mut fds, Some(&Timespec::default())) != Ok(0);
    Ok(Read { bytes, more })
}

/// The end that is written to. What is written is on its way; a flush waits until it is in the pipe.
pub(super) struct Writer {
    pipe: AsyncFd<Arc<Aside>>,
    /// Whether there may be room.
    ready: bool,
    writing: Option<JoinHandle<(Vec<u8>, io::Result<()>)>>,
    /// What has found no room yet.
    rest: Vec<u8>,
}

impl Writer {
    /// Watches it; for a runtime's thread.
    ///
    /// # Errors
    /// What epoll(7) says.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = watch(pipe, Interest::WRITABLE)?;
        Ok(Self { pipe, ready: false, writing: None, rest: Vec::new() })
    }
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.rest = buf[..buf.len().min(CHUNK)].to_vec();
        let length = self.rest.len();
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _on_its_way => Poll::Ready(Ok(length)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Some(writing) = &mut this.writing else {
                if this.rest.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                if !this.ready {
                    ready!(this.pipe.poll_write_ready(cx))?.clear_ready();
                    this.ready = true;
                }
                let (pipe, bytes) = (this.pipe.get_ref().clone(), std::mem::take(&mut this.rest));
                this.writing = Some(tokio::task::spawn_blocking(move || write(&pipe, bytes)));
                continue;
            };
            let outcome = ready!(Pin::new(writing).poll(cx));
            this.writing = None;
            let (rest, outcome) = outcome.map_err(io::Error::other)?;
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (this.rest, this.ready) = (rest, false),
                outcome => outcome?,
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Writes as much as there is room for; returns the rest.
fn write(pipe: &Aside, mut bytes: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
    while !bytes.is_empty() {
        match rustix::io::write(pipe, &bytes) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(Errno::INTR) => {}
            Err(errno) => return (bytes, Err(errno.into())),
        }
    }
    (bytes, Ok(()))
}

fn watch(pipe: OwnedFd, interest: Interest) -> io::Result<AsyncFd<Arc<Aside>>> {
    rustix::io::ioctl_fionbio(pipe.as_fd(), true)?;
    sys::watch_aside(Arc::new(Aside::new(pipe)), interest)
}
