//! The threads that do on behalf what takes its time: few, made when they are needed, gone some seconds later.
//!
//! Main types: [`Pool`], [`Job`].
//!
//! Invariant: a job is answered when it is dropped, whatever became of it. The queue is bounded: when it is full, the receiving
//! thread waits, and with it all that the container calls next.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::receive::STACK;
use super::{Core, lock};
use crate::act::{Act, Outcome};
use crate::calls::bpf::Bpf;
use crate::notify::{Answer, Listener, Notification};
use crate::programs::Reply;

/// How many acts of one container run at once.
const WORKERS: usize = 4;

/// How many wait.
const QUEUE: usize = 64;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(5);

/// One container's threads for acts.
#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    /// Told when there is a job, or the end.
    work: Condvar,
    /// Told when there is room in the queue, or the end.
    room: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    workers: usize,
    idle: usize,
    closed: bool,
}

/// What is to be done, and who waits for it.
pub(super) struct Job {
    core: Arc<Core>,
    listener: Arc<Listener>,
    notification: Notification,
    process: OwnedFd,
    work: Work,
    /// None once the caller has it.
    answer: Option<Answer>,
}

/// What is to be done.
pub(super) enum Work {
    Act(Act),
    Bpf(Box<Bpf>),
}

impl Job {
    pub(super) fn new(
        core: Arc<Core>,
        listener: Arc<Listener>,
        notification: Notification,
        process: OwnedFd,
        work: Work,
    ) -> Self {
        let answer = Some(work.undone());
        Self { core, listener, notification, process, work, answer }
    }

    fn run(mut self) {
        let id = self.notification.id;
        // It may have waited in the queue for long.
        if !self.listener.is_valid(id) {
            return;
        }
        let still = || self.listener.is_valid(id);
        let hands = &self.core.hands;
        self.answer = match &self.work {
            Work::Act(act) => Some(match hands.act(self.notification.tid, self.process.as_fd(), act, &still) {
                Outcome::Continue => Answer::Continue,
                Outcome::Done => Answer::Value(0),
                Outcome::Errno(errno) => failed(errno),
            }),
            Work::Bpf(call) => match hands.programs().map(|own| own.serve(self.process.as_fd(), call, &still)) {
                Some(Reply::Answer(answer)) => Some(answer),
                Some(Reply::Descriptor(fd)) => self.core.give(&self.listener, id, fd.as_fd()).err().map(failed),
                None => Some(self.work.undone()),
            },
        };
    }
}

impl Work {
    /// What is answered where it cannot be done: what the kernel does itself, of which bpf(2) would be more than a container
    /// may have.
    pub(super) fn undone(&self) -> Answer {
        match self {
            Self::Act(_) => Answer::Continue,
            Self::Bpf(_) => Answer::Errno(libc::EPERM),
        }
    }
}

/// The kernel takes no other for an error, and a success is not to come of it.
fn failed(errno: i32) -> Answer {
    Answer::Errno(if (1..4096).contains(&errno) { errno } else { libc::EIO })
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(answer) = self.answer {
            self.core.answer(&self.listener, self.notification.id, answer);
        }
    }
}

impl Pool {
    /// Nothing is begun any more; what waits is the kernel's.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(queue);
        self.work.notify_all();
        self.room.notify_all();
    }
}

impl Core {
    /// Has a job done. Waits while the queue is full.
    pub(super) fn push(self: &Arc<Self>, job: Job) {
        let pool = &self.pool;
        let full = |state: &mut State| state.queue.len() >= QUEUE && !state.closed;
        let mut state = pool.room.wait_while(lock(&pool.state), full).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        state.queue.push_back(job);
        let starts = state.idle < state.queue.len() && state.workers < WORKERS;
        state.workers += usize::from(starts);
        drop(state);
        pool.work.notify_one();
        if starts && !self.start_worker() {
            self.is_one_less();
        }
    }

    fn start_worker(self: &Arc<Self>) -> bool {
        let core = self.clone();
        let thread = thread::Builder::new().name("traps-act".to_owned()).stack_size(STACK);
        thread.spawn(move || core.work()).is_ok()
    }

    /// A thread could not be had, or has panicked: where there is no other, what waits is the kernel's. (A panicking one has
    /// answered its own job by dropping it.)
    fn is_one_less(&self) {
        let mut state = lock(&self.pool.state);
        state.workers -= 1;
        let given_up = if state.workers == 0 { std::mem::take(&mut state.queue) } else { VecDeque::new() };
        drop(state);
        drop(given_up);
    }

    fn work(&self) {
        let _leaving = Leaving(self);
        while let Some(job) = self.pool.next() {
            job.run();
        }
    }
}

impl Pool {
    /// The next job; none when there was none for a while, or at the end: then the thread counts no more.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        state.idle += 1;
        let none = |state: &mut State| state.queue.is_empty() && !state.closed;
        let waited = self.work.wait_timeout_while(state, IDLE, none);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let job = state.queue.pop_front();
        state.workers -= usize::from(job.is_none());
        drop(state);
        self.room.notify_one();
        job
    }
}

struct Leaving<'a>(&'a Core);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_one_less();
        }
    }
}
