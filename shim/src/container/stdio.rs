//! A process's standard input and output: pipes or a terminal on its side, what the engine named on the other.
//!
//! The engine names each stream by a URI: a fifo (a bare path, or `fifo://`), a file to append to (`file://`), a logging
//! program (`binary://`, `binary-v2://`), or nothing (`/dev/null`). Input and terminals are containerd-shim's [`IoTasks`] and
//! [`Pty`]; all copying runs on the reactor, and holds a thread only while it reads or writes ([`pipe`]).
//!
//! * The shim holds both ends of every fifo, so an engine that detaches, restarts or attaches again is neither an
//!   end of input nor a broken pipe. Input ends when CloseIO lets go and the engine's writer is gone; an output is held
//!   until the engine has it, or deletes the process ([`fifo`]).
//! * Pipes belong to the process's own user, so that it may open `/dev/stdout` again.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use containerd_shim::asynchronous::io::{IoTasks, Pty};
use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::Error;
use super::logging::{Logger, Names};
use fifo::Fifo;

mod fifo;
mod pipe;

/// How long what an ended process has written may take to be read.
const READ: Duration = Duration::from_millis(100);

/// How long a deleted process's output may take to be delivered (a grandchild may hold it open for ever).
const DRAIN: Duration = Duration::from_secs(10);

/// What the engine asked a process's stdio to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// A fifo; empty for none.
    pub(crate) stdin: String,
    /// A URI; empty for none.
    pub(crate) stdout: String,
    /// A URI; empty for none, and always with a terminal.
    pub(crate) stderr: String,
    /// Whether the process has a terminal.
    pub(crate) terminal: bool,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sink<'a> {
    Null,
    Fifo(&'a str),
    File(&'a str),
    Binary(&'a str),
}

impl<'a> Sink<'a> {
    fn parse(uri: &'a str) -> Result<Self, Error> {
        match uri.split_once("://") {
            None if uri.is_empty() => Ok(Self::Null),
            None => Ok(Self::Fifo(uri)),
            Some(("fifo", path)) => Ok(Self::Fifo(path)),
            Some(("file", path)) => Ok(Self::File(path)),
            Some(("binary" | "binary-v2", _)) => Ok(Self::Binary(uri)),
            Some((scheme, _)) => {
                Err(Error::InvalidArgument(format!("stdio scheme {scheme} of {uri} is not known to this runtime")))
            }
        }
    }
}

/// The stdio of one process, from its creation to its deletion.
pub(crate) struct Streams {
    request: Request,
    names: Names,
    /// The copy of stdin.
    input: IoTasks,
    /// How many outputs are still on their way.
    outputs: watch::Sender<usize>,
    /// How many of them are at their end, and wait for an engine that has never come.
    unheard: watch::Sender<usize>,
    /// Whether the engine has deleted the process.
    deleted: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The copies of outputs.
    copies: Vec<JoinHandle<()>>,
    logger: Option<Logger>,
    terminal: Option<Pty>,
    /// The size that was asked for before there was a terminal: columns and rows.
    size: Option<(u16, u16)>,
}

impl Streams {
    /// Nothing is opened yet.
    pub(crate) fn new(request: Request, names: Names) -> Self {
        let [outputs, unheard] = [0, 0].map(watch::Sender::new);
        let deleted = watch::Sender::new(false);
        Self { request, names, input: IoTasks::default(), outputs, unheard, deleted, state: Mutex::default() }
    }

    /// What the engine asked for.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Opens the streams and begins to copy. Returns the process's own stdin, stdout and stderr; nothing for a
    /// terminal, whose master comes later ([`Streams::attach`]). `owner` is the host's uid and gid of the process.
    ///
    /// # Errors
    /// When a stream cannot be opened; what was opened is let go of when `self` is shut down.
    pub(crate) async fn open(&self, owner: (u32, u32)) -> Result<Vec<OwnedFd>, Error> {
        if self.request.terminal {
            return Ok(Vec::new());
        }
        let stdin = self.open_stdin(owner)?;
        let (stdout, stderr) = (&self.request.stdout, &self.request.stderr);
        if let Sink::Binary(uri) = Sink::parse(stdout)? {
            let (out, err) = (owned_pipe(owner)?, owned_pipe(owner)?);
            self.state().logger = Some(Logger::start(uri, &self.names, out.0, err.0).await?);
            return Ok(vec![stdin, out.1, err.1]);
        }
        Ok(vec![stdin, self.open_output(stdout, owner)?, self.open_output(stderr, owner)?])
    }

    fn open_stdin(&self, owner: (u32, u32)) -> Result<OwnedFd, Error> {
        let path = match Sink::parse(&self.request.stdin)? {
            Sink::Fifo(path) => path,
            _ => return null(),
        };
        let (theirs, ours) = owned_pipe(owner)?;
        let to = pipe::Writer::new(ours).map_err(opening("stdin", path))?;
        self.input.copy_from_fifo(path, to).map_err(opening("stdin", path))?;
        Ok(theirs)
    }

    fn open_output(&self, uri: &str, owner: (u32, u32)) -> Result<OwnedFd, Error> {
        let sink = Sink::parse(uri)?;
        if sink == Sink::Null {
            return null();
        }
        let (ours, theirs) = owned_pipe(owner)?;
        let from = pipe::Reader::new(ours).map_err(opening("output", uri))?;
        self.copy_output(from, &sink)?;
        Ok(theirs)
    }

    fn copy_output(&self, from: impl AsyncRead + Send + Unpin + 'static, sink: &Sink<'_>) -> Result<(), Error> {
        let from = Counted::new(from, &self.outputs);
        match sink {
            Sink::Null => self.copy(from, tokio::io::sink()),
            Sink::Fifo(path) => self.copy_to_fifo(from, Fifo::open(path).map_err(opening("output", path))?),
            Sink::File(path) => self.copy(from, append(path).map_err(opening("output", path))?),
            Sink::Binary(uri) => {
                return Err(Error::InvalidArgument(format!(
                    "stdio {uri}: stderr has a logging program, stdout has none"
                )));
            }
        }
        Ok(())
    }

    /// Copies on a task of its own until the end of `from`.
    fn copy(
        &self,
        mut from: impl AsyncRead + Send + Unpin + 'static,
        mut to: impl AsyncWrite + Send + Unpin + 'static,
    ) {
        let copying = tokio::spawn(async move { pour(&mut from, &mut to).await });
        self.state().copies.push(copying);
    }

    /// The same; the output is on its way until the engine has the fifo, or deletes the process.
    fn copy_to_fifo(&self, mut from: impl AsyncRead + Send + Unpin + 'static, mut to: Fifo) {
        let mut deleted = self.deleted.subscribe();
        let unheard = self.unheard.clone();
        let copying = tokio::spawn(async move {
            pour(&mut from, &mut to.writer).await;
            let patience = to.patience();
            let _unheard = (!patience.is_zero()).then(|| Count::new(&unheard));
            let no_longer = async {
                let _ = deleted.wait_for(|deleted| *deleted).await;
                tokio::time::sleep(patience).await;
            };
            tokio::select! {
                () = to.let_go() => {}
                () = no_longer => {}
            }
            drop(from);
        });
        self.state().copies.push(copying);
    }

    /// Begins to copy to and from a terminal, and gives it the size that was asked for before it was there.
    ///
    /// # Errors
    /// When a stream cannot be opened.
    pub(crate) async fn attach(&self, master: OwnedFd) -> Result<(), Error> {
        let terminal = Pty::new(File::from(master)).map_err(opening("terminal", "master"))?;
        match Sink::parse(&self.request.stdout)? {
            Sink::Binary(uri) => {
                let ((out, copied), (err, _)) = (plain_pipe()?, plain_pipe()?);
                let logger = Logger::start(uri, &self.names, out, err).await?;
                self.state().logger = Some(logger);
                let to = tokio::net::unix::pipe::Sender::from_owned_fd(copied).map_err(opening("output", uri))?;
                self.copy(Counted::new(terminal.clone(), &self.outputs), to);
            }
            sink => self.copy_output(terminal.clone(), &sink)?,
        }
        if let Sink::Fifo(path) = Sink::parse(&self.request.stdin)? {
            self.input.copy_from_fifo(path, terminal.clone()).map_err(opening("stdin", path))?;
        }
        let mut state = self.state();
        if let Some(size) = state.size {
            resize(&terminal, size)?;
        }
        state.terminal = Some(terminal);
        Ok(())
    }

    /// Sets the terminal's size, now or when it comes. Without a terminal nothing happens, as in containerd's shim.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        let mut state = self.state();
        state.size = Some((columns, rows));
        state.terminal.as_ref().map_or(Ok(()), |terminal| resize(terminal, (columns, rows)))
    }

    /// Lets go of stdin: the process sees its end once the engine's writer is gone too.
    pub(crate) fn close_stdin(&self) {
        self.input.close_input();
    }

    /// Waits until every output has reached its end and the engine, at most so long.
    pub(crate) async fn drained(&self, patience: Duration) -> bool {
        let mut outputs = self.outputs.subscribe();
        tokio::time::timeout(patience, outputs.wait_for(|open| *open == 0)).await.is_ok()
    }

    /// Waits until an engine that has never come has each output that is at its end, for two seconds at most: containerd's
    /// client gives up an open(2) that is under way once it deletes, which it does as soon as it hears of the exit.
    ///
    /// What the process has written is read on another thread ([`pipe`]) and may not be yet: that is waited for first, shortly, since who
    /// else has the output open (a grandchild) may keep it so.
    pub(crate) async fn heard(&self) {
        self.drained(READ).await;
        let mut unheard = self.unheard.subscribe();
        let _late = tokio::time::timeout(fifo::LATE, unheard.wait_for(|outputs| *outputs == 0)).await;
    }

    /// Delivers what is still on its way, for ten seconds at most, then lets go of everything.
    pub(crate) async fn shutdown(&self) {
        self.deleted.send_replace(true);
        if !self.drained(DRAIN).await {
            log::warn!(container = self.names.container.as_str(); "output is still held open after {DRAIN:?}: it is cut");
        }
        self.abort().await;
    }

    /// Lets go of everything at once: a process that never ran has no output.
    pub(crate) async fn abort(&self) {
        self.input.abort().await;
        let (copies, logger) = {
            let mut state = self.state();
            state.terminal = None;
            (std::mem::take(&mut state.copies), state.logger.take())
        };
        copies.iter().for_each(JoinHandle::abort);
        for copy in copies {
            // Cancelled or at its end: its descriptors are closed either way.
            let _ = copy.await;
        }
        if let Some(logger) = logger {
            logger.end(DRAIN).await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies to the end of `from`.
async fn pour(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    if let Err(error) = tokio::io::copy(from, to).await {
        // A terminal that hangs up, or a logging program that is gone, is how a copy may end.
        log::debug!("an output's copy ended: {error}");
    }
    let _ = tokio::io::AsyncWriteExt::flush(to).await;
}

/// One more, for as long as it lives.
struct Count(watch::Sender<usize>);

impl Count {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A reader whose end of life counts: the copy that owns it is done. That a terminal has hung up (EIO) is its end, and no
/// error: at an error tokio's copy lets go of what it has read and not yet written.
struct Counted<R> {
    reader: R,
    _open: Count,
}

impl<R> Counted<R> {
    fn new(reader: R, open: &watch::Sender<usize>) -> Self {
        Self { reader, _open: Count::new(open) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.reader).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::EIO) => Poll::Ready(Ok(())),
            answer => answer,
        }
    }
}

fn plain_pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::Failed(format!("make a pipe for stdio: {error}")))
}

/// A pipe, reading end first, that belongs to the process's user.
fn owned_pipe((uid, gid): (u32, u32)) -> Result<(OwnedFd, OwnedFd), Error> {
    let (reader, writer) = plain_pipe()?;
    fchown(&reader, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|error| Error::Failed(format!("give a stdio pipe to uid {uid}, gid {gid}: {error}")))?;
    Ok((reader, writer))
}

fn null() -> Result<OwnedFd, Error> {
    let file = File::options().read(true).write(true).open("/dev/null").map_err(opening("stdio", "/dev/null"))?;
    Ok(file.into())
}

/// A file that is appended to, made together with its directories where it is missing.
#[expect(clippy::disallowed_methods, reason = "the engine names this file, on the host")]
fn append(path: &str) -> io::Result<tokio::fs::File> {
    if let Some(parent) = Path::new(path).parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(tokio::fs::File::from_std(File::options().append(true).create(true).open(path)?))
}

fn resize(terminal: &Pty, (columns, rows): (u16, u16)) -> Result<(), Error> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(|error| Error::Failed(format!("set the terminal's size: {error}")))
}

fn opening<E: std::fmt::Display>(what: &str, path: &str) -> impl FnOnce(E) -> Error {
    let place = format!("open {what} {path}");
    move |error| Error::Failed(format!("{place}: {error}"))
}

#[cfg(test)]
#[path = "stdio_tests.rs"]
mod tests;
