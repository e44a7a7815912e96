//! The look-out for what others do in a filesystem: fanotify(7) on its superblock, through whichever mount they come.
//!
//! Whoever opens the root directory waits until we have answered: dockerd begins each of its uses so, and finds a view that
//! remembers nothing. An answer never fails, and the kernel gives it where we are gone.
//!
//! Only opens and closes are told. Directories that are made, and names that are removed, are not (overlay has no file handles
//! that can be told), so that a process which looks at the filesystem in a mount namespace of its own (dockerd, for `docker cp`)
//! counts as one that changes it, until it has gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Error, Result};

/// The look-out.
#[derive(Debug)]
pub(super) struct Watch {
    group: Fanotify,
}

/// What has been seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who waits to open the root directory.
    pub(super) asking: Vec<FanotifyEvent>,
    /// Somebody has opened or closed something.
    pub(super) used: bool,
    /// Somebody has, or may have, changed something.
    pub(super) changed: bool,
    /// Threads, by id, that look at it in a mount namespace of their own and still do.
    pub(super) viewers: Vec<i32>,
}

impl Watch {
    /// Looks out from now on for uses of the filesystem whose root `directory` is. It is not opened for that: `.` names it.
    pub(super) fn of(directory: BorrowedFd<'_>) -> Result<Self> {
        let init = InitFlags::FAN_CLASS_CONTENT
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_REPORT_TID
            | InitFlags::FAN_UNLIMITED_MARKS;
        // Each event opens its file: a fifo must not be waited for.
        let files = EventFFlags::O_RDONLY | EventFFlags::O_NONBLOCK | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
        let fail = |step, errno: nix::Error| Error::failed(step, "the engine's root filesystem", errno);
        let group = Fanotify::init(init, files).map_err(|errno| fail("make a look-out (fanotify) for", errno))?;
        let mask = MaskFlags::FAN_OPEN | MaskFlags::FAN_CLOSE | MaskFlags::FAN_ONDIR;
        let mark = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        group.mark(mark, mask, directory, Some(".")).map_err(|errno| fail("look out (fanotify) for", errno))?;
        let mask = MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_ONDIR;
        // A kernel without it (CONFIG_FANOTIFY_ACCESS_PERMISSIONS) leaves a moment in which the view is not yet cold.
        let _ = group.mark(MarkFlags::FAN_MARK_ADD, mask, directory, Some("."));
        Ok(Self { group })
    }

    /// A descriptor that is readable when there is something to [`Watch::read`].
    pub(super) fn notifier(&self) -> Result<OwnedFd> {
        self.group.as_fd().try_clone_to_owned().map_err(|error| Error::failed("duplicate", "a look-out", error))
    }

    /// Whether there is something to [`Watch::read`].
    pub(super) fn has_news(&self) -> bool {
        let mut fds = [PollFd::new(&self.group, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    /// What has been seen since the last call. The kernel queues an event before the system call that it tells of returns.
    pub(super) fn read(&self) -> Seen {
        let mut seen = Seen::default();
        loop {
            match self.group.read_events() {
                Ok(events) => events.into_iter().for_each(|event| seen.add(event)),
                Err(nix::Error::EAGAIN) => return seen,
                Err(nix::Error::EINTR) => {}
                // The event is gone, and with it who it was.
                Err(_) => return Seen { used: true, changed: true, ..seen },
            }
        }
    }
}

impl Watch {
    /// Lets those who wait go on.
    pub(super) fn answer(&self, asking: Vec<FanotifyEvent>) {
        for fd in asking.iter().filter_map(FanotifyEvent::fd) {
            // Who was killed meanwhile waits no more.
            let _ = self.group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW));
        }
    }
}

impl Seen {
    fn add(&mut self, event: FanotifyEvent) {
        let (mask, thread) = (event.mask(), event.pid());
        self.used = true;
        if mask.contains(MaskFlags::FAN_OPEN_PERM) {
            self.asking.push(event);
        }
        if mask.intersects(MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_Q_OVERFLOW) {
            self.changed = true;
        }
        if thread <= 0 || self.viewers.contains(&thread) {
            return;
        }
        match looks_from_elsewhere(thread) {
            Ok(true) => {
                self.changed = true;
                self.viewers.push(thread);
            }
            Ok(false) => {}
            Err(_) => self.changed = true,
        }
    }
}

/// Whether a thread lives in another mount namespace than its process.
///
/// # Errors
/// When the thread has gone.
pub(super) fn looks_from_elsewhere(thread: i32) -> std::result::Result<bool, Errno> {
    let gone = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::SRCH);
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt"));
    let own: PathBuf = namespace(&thread.to_string()).map_err(gone)?;
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).map_err(gone)?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")).ok_or(Errno::SRCH)?;
    Ok(namespace(process.trim()).map_err(gone)? != own)
}
