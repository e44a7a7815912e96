//! What a hook prints: read as it comes, with a tail of it kept.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// How much of its output is kept, of each stream.
const TAIL: usize = 4096;

/// How much of its output is in a message.
const QUOTED: usize = 400;

/// A stream of its output.
pub(super) struct Stream<T> {
    pipe: Option<T>,
    tail: Vec<u8>,
}

impl<T: Read + AsFd> Stream<T> {
    pub(super) fn new(pipe: Option<T>) -> Self {
        Self { pipe, tail: Vec::new() }
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The last line with something in it, the end of it where it is long.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        let excess = line.chars().count().saturating_sub(QUOTED);
        let start = if excess > 0 { "…" } else { "" };
        Some(start.chars().chain(line.chars().skip(excess)).collect())
    }

    /// Reads what is there, up to `most` bytes.
    pub(super) fn read(&mut self, most: usize) -> io::Result<()> {
        let mut buffer = [0; TAIL];
        let mut seen = 0;
        while let Some(pipe) = &mut self.pipe
            && seen < most
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    seen += count;
                    self.tail.extend_from_slice(&buffer[..count]);
                    let excess = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..excess);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
