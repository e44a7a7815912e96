//! The fifos of a process, read to their ends on threads of their own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::place;

/// Makes a fifo.
pub fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a fifo");
}

/// Opens a fifo for reading, and reads all that comes until its last writer is gone.
///
/// It is open when this returns, as a client's is before it asks for anything: a writer may come and go before the thread
/// runs at all. The kernel tells "no writer any more" from "no writer yet" in poll(2) alone (pipe(7), fifo(7)).
pub fn read_all(path: &Path) -> JoinHandle<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty()).expect("a fifo");
    std::thread::spawn(move || {
        let mut wait = [PollFd::new(&fifo, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut wait, None)).expect("a poll");
        rustix::io::ioctl_fionbio(&fifo, false).expect("a blocking fifo");
        let mut bytes = Vec::new();
        File::from(fifo).read_to_end(&mut bytes).expect("a fifo's content");
        bytes
    })
}

/// Standard streams of one process, as an engine's client makes them.
pub struct Pipes {
    /// The fifo for standard input; empty for none.
    pub stdin: String,
    /// The fifo of standard output.
    pub stdout: String,
    /// The fifo of standard error; empty with a terminal.
    pub stderr: String,
    /// Whether the process has a terminal.
    pub terminal: bool,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Pipes {
    /// Output only.
    pub fn output() -> Self {
        let (dir, mut pipes) = Self::bare();
        pipes.add_stderr(&dir);
        pipes
    }

    /// Output, and a standard input to be opened by the test.
    pub fn all() -> Self {
        let mut pipes = Self::output();
        pipes.add_stdin();
        pipes
    }

    /// A terminal's: input and output.
    pub fn terminal() -> Self {
        let (_, mut pipes) = Self::bare();
        pipes.add_stdin();
        pipes.terminal = true;
        pipes
    }

    /// None at all.
    pub fn none() -> Self {
        let none = String::new;
        Self { stdin: none(), stdout: none(), stderr: none(), terminal: false, out: None, err: None }
    }

    /// Standard output only, of a client that has not come to opening it.
    pub fn unopened() -> Self {
        let stdout = place::new_dir("stdio").join("stdout");
        fifo(&stdout);
        Self { stdout: stdout.display().to_string(), ..Self::none() }
    }

    /// Opens standard output at last.
    pub fn open(&mut self) {
        self.out = Some(read_all(Path::new(&self.stdout)));
    }

    fn bare() -> (PathBuf, Self) {
        let mut pipes = Self::unopened();
        pipes.open();
        (Path::new(&pipes.stdout).with_file_name(""), pipes)
    }

    fn add_stderr(&mut self, dir: &Path) {
        let stderr = dir.join("stderr");
        fifo(&stderr);
        self.err = Some(read_all(&stderr));
        self.stderr = stderr.display().to_string();
    }

    fn add_stdin(&mut self) {
        let stdin = Path::new(&self.stdout).with_file_name("stdin");
        fifo(&stdin);
        self.stdin = stdin.display().to_string();
    }

    /// Opens standard input for writing. Waits until somebody reads it.
    pub fn open_stdin(&self) -> File {
        File::options().write(true).open(&self.stdin).expect("standard input")
    }

    /// Standard output and standard error, once the shim has closed them.
    pub async fn read(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (out, err) = (self.out.take(), self.err.take());
        let both = move || {
            let join = |reader: Option<JoinHandle<Vec<u8>>>| reader.map_or(Vec::new(), |it| it.join().expect("output"));
            (join(out), join(err))
        };
        let read = tokio::time::timeout(crate::shim::PATIENCE, tokio::task::spawn_blocking(both));
        read.await.expect("the shim has not closed the output").expect("output")
    }
}
