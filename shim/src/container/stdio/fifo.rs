//! An output's fifo: held until what is in it cannot be lost.
//!
//! The data of a fifo goes with the last who has it open (pipe(7)), and containerd's clients open theirs on a thread of
//! their own (Go's containerd/fifo), which a busy host may run only after a short program has ended. runc's shim waits for
//! that reader before the program starts, for as long as it takes; here nothing waits at the start, and the ends are kept
//! at the end.
//!
//! Invariant: until the process is deleted, and for a while longer where the engine has never come, the shim is not the last
//! to let go of what nobody has read.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::unix::pipe;

/// How often it is looked for a reader that is not there: twice as long each time, between these. (Nothing that poll(2)
/// or epoll(7) waits for tells a writer that a reader has come.)
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// How long a deleted process's output is kept for an engine that has never come: as long as dockerd waits for it.
/// (containerd's client deletes an exec first, and only then gives up an open(2) that is under way: client/process.go.)
pub(super) const LATE: Duration = Duration::from_secs(2);

/// The shim's two ends of a fifo.
pub(super) struct Fifo {
    /// What the output is copied to.
    pub(super) writer: pipe::Sender,
    /// Keeps the writer from a broken pipe while the engine is away.
    reader: File,
    /// Whether the engine had it open already when the shim opened it.
    met: bool,
}

impl Fifo {
    /// Opens both ends; waits for nobody.
    ///
    /// # Errors
    /// What open(2) says, or that it is no fifo.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        let open_writer = || pipe::OpenOptions::new().open_sender(path);
        let early = match open_writer() {
            Ok(writer) => Some(writer),
            // fifo(7): there is no reader, not even one that waits in its open(2).
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => None,
            Err(error) => return Err(error),
        };
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let met = early.is_some();
        Ok(Self { writer: early.map_or_else(open_writer, Ok)?, reader, met })
    }

    /// How long to keep it once the process is deleted: an engine that was there and left is not coming back for more.
    pub(super) fn patience(&self) -> Duration {
        if self.met { Duration::ZERO } else { LATE }
    }

    /// Lets go once the engine has it open, or has read all there was and gone. One that has never come is waited for even
    /// if there is nothing to read: without a writer its open(2) would not return.
    pub(super) async fn let_go(self) {
        let Self { writer, reader, met } = self;
        if met && matches!(rustix::io::ioctl_fionread(&reader), Ok(0)) {
            return;
        }
        drop(reader);
        let [mut pause, longest] = PAUSES;
        while is_alone(&writer) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// Whether nobody has a fifo open for reading: poll(2), `POLLERR`.
fn is_alone(writer: &pipe::Sender) -> bool {
    let mut fds = [PollFd::new(writer, PollFlags::empty())];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1)) && fds[0].revents().contains(PollFlags::ERR)
}
