//! The receiving thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::event::epoll::{self, Event, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::bare::is_the_kernels;
use super::pool::{Job, Work};
use super::{Core, END};
use crate::calls::{self, Decision};
use crate::notify::memory::{Thread, Writable};
use crate::notify::{Answer, Listener, Notification};
use crate::sys::notify::Buffer;

/// The stack of a thread that reads some small files: a host may have a thousand of them.
pub(super) const STACK: usize = 256 * 1024;

/// How many listeners are looked at by one wait; each gets one notification answered by then.
const EVENTS: usize = 16;

/// Starts the thread, which goes on until the supervisor ends.
pub(super) fn start(core: Arc<Core>, buffer: Buffer) -> io::Result<()> {
    let thread = thread::Builder::new().name("traps".to_owned()).stack_size(STACK);
    thread.spawn(move || run(&core, buffer)).map(drop)
}

/// However the thread ends, nobody is left waiting for it.
struct Ending<'a>(&'a Core);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn run(core: &Arc<Core>, mut buffer: Buffer) {
    let _ending = Ending(core);
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut last = None;
    while !core.has_ended() {
        match wait(core, last.take(), &mut events) {
            Ok(()) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        for Event { flags, data } in events.drain(..) {
            let number = data.u64();
            let Some(listener) = (number != END).then(|| core.listener(number)).flatten() else { continue };
            // It ends when no process has its filter any more; then nothing is left to receive either.
            let serves = !flags.contains(EventFlags::HUP) && serve_one(core, &listener, &mut buffer).is_ok();
            if serves {
                last = Some(listener);
            } else {
                core.forget(number);
            }
        }
    }
}

/// Waits for listeners that have something. Whoever has called last will call next, and is waited for by its own listener too:
/// through epoll(7) a caller does not wake this thread where it runs ([`Listener::new`]).
fn wait(core: &Core, last: Option<Arc<Listener>>, events: &mut Vec<Event>) -> Result<(), Errno> {
    let any = PollFd::new(&core.epoll, PollFlags::IN);
    match &last {
        Some(last) => poll(&mut [any, PollFd::new(last, PollFlags::IN)], None)?,
        None => poll(&mut [any], None)?,
    };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(&core.epoll, rustix::buffer::spare_capacity(events), Some(&now)).map(drop)
}

fn serve_one(core: &Arc<Core>, listener: &Arc<Listener>, buffer: &mut Buffer) -> io::Result<()> {
    let Some(notification) = listener.receive(buffer)? else { return Ok(()) };
    let Notification { id, tid, call } = notification;
    match calls::decode(&call, &Thread(tid)) {
        Decision::Answer(answer) => core.answer(listener, id, answer),
        Decision::Sysinfo { address, layout } => {
            let bytes = core.machine.sysinfo(tid).to_bytes(layout);
            core.answer(listener, id, write(listener, notification, address, &bytes));
        }
        Decision::Act(act) => hand_over(core, listener, notification, Work::Act(act)),
        Decision::Bpf(call) => hand_over(core, listener, notification, Work::Bpf(call)),
    }
    Ok(())
}

/// Has it done by another thread.
fn hand_over(core: &Arc<Core>, listener: &Arc<Listener>, notification: Notification, work: Work) {
    let Some(process) = directory(listener, notification) else {
        return core.answer(listener, notification.id, work.undone());
    };
    if let Work::Act(act) = &work
        && is_the_kernels(&process, act)
    {
        // Nothing of ours may keep the mount busy; what was opened for the question is closed by now.
        drop(process);
        return core.answer(listener, notification.id, Answer::Continue);
    }
    core.push(Job::new(core.clone(), listener.clone(), notification, process, work));
}

/// Writes to the caller's memory: opened first, then known to be the caller's.
fn write(listener: &Listener, Notification { id, tid, .. }: Notification, address: u64, bytes: &[u8]) -> Answer {
    match Writable::open(tid) {
        Ok(memory) if listener.is_valid(id) => {
            memory.write(address, bytes).map_or_else(|answer| answer, |()| Answer::Value(0))
        }
        // The caller has gone, or cannot be written to by us: the kernel can.
        _ => Answer::Continue,
    }
}

/// The caller's directory in procfs: opened first, then known to be the caller's, and so is what was read by its id.
fn directory(listener: &Listener, Notification { id, tid, .. }: Notification) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process = openat(CWD, format!("/proc/{tid}"), flags, Mode::empty()).ok()?;
    listener.is_valid(id).then_some(process)
}
