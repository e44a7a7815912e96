//! What the kernel and the supervisor say to each other about one trapped call.
//!
//! Main types: [`Listener`] gives a [`Notification`] and takes its [`Answer`]; [`memory`] reads what its pointers name.
//!
//! Invariant: a thread id means nothing by itself: the thread may be gone and its number another's. What was found by it is
//! used only if [`Listener::is_valid`] says so afterwards, and what is changed by it goes through a descriptor that was opened
//! before that.

pub mod memory;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::notify;
pub(crate) use crate::sys::notify::Buffer;

/// A trapped call as the filter has seen it (`struct seccomp_data`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number, x32's with its mark.
    pub nr: u32,
    /// `AUDIT_ARCH_*` of its ABI.
    pub arch: u32,
    /// The registers with its arguments.
    pub args: [u64; 6],
}

/// A trapped call whose caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Its cookie, which is never another's.
    pub id: u64,
    /// The calling thread, as the supervisor's pid namespace counts.
    pub tid: u32,
    /// The call.
    pub call: Call,
}

/// What a trapped call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This.
    Value(i64),
    /// -1, with this errno.
    Errno(i32),
    /// What the kernel makes of it.
    Continue,
}

/// The listener of one trap filter: of a process and all that it forks.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// The listener that [`crate::sys::listen`] made.
    pub fn new(fd: OwnedFd) -> Self {
        // A hint, which Linux has since 6.6.
        let _before = notify::wake_in_place(fd.as_fd());
        Self(fd)
    }

    /// Takes the next notification; none when its caller has gone meanwhile. Waits where there is none.
    ///
    /// # Errors
    /// The kernel's, of which none is known but for a descriptor that is no listener.
    pub(crate) fn receive(&self, buffer: &mut Buffer) -> io::Result<Option<Notification>> {
        match notify::receive(self.0.as_fd(), buffer) {
            Ok(notif) => {
                // The number's sign is the mark of no ABI: seccomp_data has it as an int.
                let nr = notif.data.nr.cast_unsigned();
                let call = Call { nr, arch: notif.data.arch, args: notif.data.args };
                Ok(Some(Notification { id: notif.id, tid: notif.pid, call }))
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the caller of `id` still waits: then its thread id was its own until now.
    pub fn is_valid(&self, id: u64) -> bool {
        notify::id_valid(self.0.as_fd(), id).is_ok()
    }

    /// Answers the notification `id` with a descriptor for what `fd` is, which is close-on-exec.
    ///
    /// # Errors
    /// EMFILE and others for which there is no such descriptor: then the notification still wants its answer.
    pub(crate) fn give(&self, id: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        notify::give(self.0.as_fd(), id, fd)
    }

    /// Answers the notification `id`. A caller that has gone needs no answer.
    pub fn answer(&self, id: u64, answer: Answer) {
        let nothing = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
        let response = match answer {
            Answer::Value(val) => libc::seccomp_notif_resp { val, ..nothing },
            Answer::Errno(errno) => libc::seccomp_notif_resp { error: -errno, ..nothing },
            Answer::Continue => {
                libc::seccomp_notif_resp { flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32, ..nothing }
            }
        };
        let _gone = notify::send(self.0.as_fd(), &response);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
