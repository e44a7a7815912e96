//! A program on a terminal: what a person at a keyboard types and sees.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::shim::PATIENCE;

/// A program and the master side of its terminal.
pub struct Terminal {
    child: Child,
    master: File,
    seen: Arc<(Mutex<String>, Condvar)>,
}

impl Terminal {
    /// Starts a program with a terminal of `columns` times `rows` as its standard streams. It makes that its controlling
    /// terminal itself (`setsid --ctty`).
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        rustix::pty::grantpt(&master).expect("grantpt");
        rustix::pty::unlockpt(&master).expect("unlockpt");
        set_size(&master, columns, rows);
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("a path");
        let slave = || File::options().read(true).write(true).open(&name).expect("a terminal");
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = command.spawn().expect("a program on a terminal");
        // Its copies of the other side must go: their end is how a reader knows that the program's are closed.
        drop(command);
        let master = File::from(master);
        let seen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (reader, shared) = (master.try_clone().expect("a descriptor"), Arc::clone(&seen));
        std::thread::spawn(move || watch(reader, &shared));
        Self { child, master, seen }
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let master = self.master.try_clone().expect("a descriptor").into();
        set_size(&master, columns, rows);
    }

    /// Types a text.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("typing");
    }

    /// Waits until the text has been shown, and forgets all up to it.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let shown = self.shows_within(text, PATIENCE);
        assert!(shown, "the terminal does not show {text:?} but {:?}", self.seen.0.lock().expect("a lock"));
    }

    /// Waits so long for a text. Once it has been shown, all up to it is forgotten.
    pub fn shows_within(&self, text: &str, limit: Duration) -> bool {
        let (seen, changed) = &*self.seen;
        let seen = seen.lock().expect("a lock");
        let waited = changed.wait_timeout_while(seen, limit, |seen| !seen.contains(text));
        let (mut seen, timeout) = waited.expect("a lock");
        if !timeout.timed_out() {
            *seen = seen.split_once(text).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        !timeout.timed_out()
    }

    /// Asks the shell at the other end for its size until it is the one expected: an engine's client sends a size after the
    /// start, and a new one when it sees the signal. What changes before it listens it does not see, so the window changes
    /// again.
    #[track_caller]
    pub fn has_size(&mut self, rows: u16, columns: u16) {
        self.types(&format!("until [ \"$(stty size)\" = '{rows} {columns}' ]; do usleep 20000; done; echo si''zed\n"));
        let limit = Instant::now() + PATIENCE;
        while !self.shows_within("sized", Duration::from_secs(2)) {
            assert!(Instant::now() < limit, "the terminal never has {rows} rows and {columns} columns");
            self.resize(columns - 1, rows);
            self.resize(columns, rows);
        }
    }

    /// The exit code of the program, once it has ended.
    #[track_caller]
    pub fn ends(mut self) -> i32 {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < limit, "the program on the terminal does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn watch(mut reader: File, shared: &(Mutex<String>, Condvar)) {
    let mut bytes = [0; 4096];
    // A terminal whose other side is closed answers with EIO.
    while let Ok(count @ 1..) = reader.read(&mut bytes) {
        shared.0.lock().expect("a lock").push_str(&String::from_utf8_lossy(&bytes[..count]));
        shared.1.notify_all();
    }
}

fn set_size(master: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size).expect("TIOCSWINSZ");
}
