//! Acts that are being done, each by a child of the helper's.
//!
//! A filesystem that the container serves itself (FUSE) can keep a process in a path's resolution for as long as it likes, so
//! none of the helper's own does one: an act is given a time, then its caller is answered and its process killed. One that
//! even then waits for the filesystem ends with the container.
//!
//! Main types: [`World::begin`], [`World::wait`], [`World::perform`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, pidfd_send_signal, waitid, waitpid,
};

use super::spare::Spare;
use super::{Act, Outcome, QUESTION, Result, World, YES};

/// One act.
#[derive(Debug)]
pub(super) struct Running {
    number: u64,
    /// The process, unreaped, which leads a group of all that it clones.
    pid: Pid,
    process: OwnedFd,
    /// On which the caller is answered; none once that has been done for the process.
    reply: Option<OwnedFd>,
    until: Instant,
}

/// How many acts may be under way, or waiting for a filesystem that does not answer.
const MOST: usize = 64;

impl World {
    /// Has `act` done for the thread whose directory of the host's procfs `caller` is. The answer comes over `reply`, a
    /// SOCK_SEQPACKET socket: [`Outcome::from_bytes`]. Before, there may come a [`QUESTION`], which must be answered. With a `view`,
    /// emulated files of a new procfs or sysfs that go by groups are those of the directory of this name.
    pub fn begin(&mut self, (caller, view): (OwnedFd, Option<u64>), act: &Act, reply: OwnedFd) {
        if self.running.len() >= MOST {
            return answer(&reply, Outcome::Errno(libc::EAGAIN));
        }
        self.count += 1;
        let started = self.start((&caller, view), act, &reply);
        match started {
            Ok((pid, process)) => {
                let until = Instant::now() + self.limit;
                self.running.push(Running { number: self.count, pid, process, reply: Some(reply), until });
            }
            Err(errno) => answer(&reply, Outcome::Errno(errno.raw_os_error())),
        }
    }

    fn start(&mut self, (caller, view): (&OwnedFd, Option<u64>), act: &Act, reply: &OwnedFd) -> Result<(Pid, OwnedFd)> {
        let order = (self.count, view, act);
        if let Some(spare) = self.spare.take() {
            match spare.tell(order, [caller, reply]) {
                // It was killed.
                Err(Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED) => {}
                told => return told.map(|()| (spare.pid, spare.process)),
            }
        }
        let spare = Spare::new(self)?;
        spare.tell(order, [caller, reply])?;
        Ok((spare.pid, spare.process))
    }

    /// Waits until `other` can be read, and looks after what runs meanwhile.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn wait(&mut self, other: BorrowedFd<'_>) -> Result<()> {
        loop {
            // Only now: it would have the sockets of all acts that run.
            if self.running.is_empty() && self.spare.is_none() {
                self.spare = Spare::new(self).ok();
            }
            let mut fds = vec![PollFd::from_borrowed_fd(other, PollFlags::IN)];
            fds.extend(self.running.iter().map(|one| PollFd::new(&one.process, PollFlags::IN)));
            let waiting = self.running.iter().filter(|one| one.reply.is_some());
            let next = waiting.map(|one| one.until.saturating_duration_since(Instant::now())).min();
            let timeout = next.and_then(|next| Timespec::try_from(next + Duration::from_millis(1)).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let readable = fds.first().is_some_and(|other| !other.revents().is_empty());
            drop(fds);
            self.tend();
            if readable {
                return Ok(());
            }
        }
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Does one act and waits for its answer. `still` is asked whether the caller still waits.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn perform(&mut self, caller: OwnedFd, act: &Act, still: impl Fn() -> bool) -> Result<Outcome> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        self.begin((caller, None), act, theirs);
        loop {
            self.wait(ours.as_fd())?;
            let mut bytes = [0_u8; 4];
            let (_, length) = recv(&ours, &mut bytes, RecvFlags::empty())?;
            match bytes.get(..length) {
                Some(QUESTION) => _ = send(&ours, if still() { YES } else { b"n" }, SendFlags::NOSIGNAL)?,
                bytes => return bytes.and_then(Outcome::from_bytes).ok_or(Errno::PIPE),
            }
        }
    }

    /// Reaps what has ended, and answers for what takes too long.
    fn tend(&mut self) {
        let now = Instant::now();
        let running = std::mem::take(&mut self.running);
        for mut one in running {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match waitid(WaitId::PidFd(one.process.as_fd()), options) {
                Ok(None) | Err(Errno::INTR) => {
                    if now >= one.until
                        && let Some(reply) = one.reply.take()
                    {
                        answer(&reply, Outcome::Errno(libc::ETIMEDOUT));
                        one.kill();
                    }
                    self.running.push(one);
                }
                ended => {
                    // It exits with 0 when it has answered.
                    let answered = matches!(ended, Ok(Some(status)) if status.exit_status() == Some(0));
                    if let (Some(reply), false) = (one.reply, answered) {
                        answer(&reply, Outcome::Errno(libc::EINTR));
                    }
                    self.tidier.tidy(one.number);
                }
            }
        }
        // What they have cloned and left.
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    }
}

impl Drop for World {
    /// What runs, ends.
    fn drop(&mut self) {
        for one in &self.running {
            one.kill();
        }
    }
}

impl Running {
    fn kill(&self) {
        let _gone = kill_process_group(self.pid, Signal::KILL);
        // It may not be the leader yet.
        let _gone = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// Nobody may be there any more to hear it.
pub(super) fn answer(reply: &OwnedFd, outcome: Outcome) {
    let _gone = send(reply, &outcome.to_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}
