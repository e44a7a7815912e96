//! Answers the trapped calls of one container.
//!
//! Main types: [`Supervisor`] has a thread that receives from all listeners of the container, its init's and each exec's, and
//! answers what can be answered at once; [`pool`] does on behalf what takes its time, through [`Hands`]. What a container
//! looks like to itself, [`Machine`] says.
//!
//! Invariant: every notification is answered once, or its listener is closed, which answers ENOSYS: no caller waits for ever,
//! whatever fails here. Containers share nothing of it: one that floods its supervisor, or holds it up with memory that
//! cannot be read (userfaultfd(2)), slows itself alone.

mod bare;
mod pool;
mod receive;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, epoll, eventfd};

use crate::act::{Act, Outcome};
use crate::calls::sysinfo::Sysinfo;
use crate::notify::{Answer, Listener};
use crate::programs::Programs;
use crate::sys::notify::Buffer;
use pool::Pool;

/// What the container's machine looks like.
pub trait Machine: Send + Sync {
    /// For sysinfo(2) of this thread, now. Another one may have the id since; then nobody is answered.
    fn sysinfo(&self, tid: u32) -> Sysinfo;
}

/// What is done on behalf of a caller.
pub trait Hands: Send + Sync {
    /// Does `act` for the thread `tid`, whose directory in the host's procfs is `process` (`O_PATH`). The directory was the
    /// caller's when its call was still waiting; it leads to no other process, whoever has the id now, but its process may have
    /// executed another program. So what has been read there counts only if `still` says afterwards that the call waits.
    fn act(&self, tid: u32, process: BorrowedFd<'_>, act: &Act, still: &dyn Fn() -> bool) -> Outcome;

    /// The container's device programs; none where it has no group to attach them to.
    fn programs(&self) -> Option<Arc<Programs>> {
        None
    }
}

/// How many trapped calls were answered how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By us, with success.
    pub served: u64,
    /// By the kernel.
    pub continued: u64,
    /// By us, with an errno.
    pub refused: u64,
}

/// The supervisor of one container. Dropped, it ends: what is still trapped then is answered with ENOSYS.
pub struct Supervisor {
    machine: Arc<dyn Machine>,
    hands: Arc<dyn Hands>,
    counters: Arc<Counters>,
    running: Mutex<Option<Arc<Core>>>,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
struct Counters {
    served: AtomicU64,
    continued: AtomicU64,
    refused: AtomicU64,
}

/// What the threads of a supervisor share.
struct Core {
    machine: Arc<dyn Machine>,
    hands: Arc<dyn Hands>,
    counters: Arc<Counters>,
    epoll: OwnedFd,
    /// Readable once the supervisor ends.
    end: OwnedFd,
    ended: AtomicBool,
    listeners: Mutex<Listeners>,
    pool: Pool,
}

/// The listeners by the number that epoll(7) knows them by.
#[derive(Default)]
struct Listeners {
    next: u64,
    /// Sorted by number.
    open: Vec<(u64, Arc<Listener>)>,
}

/// The number that is no listener's.
const END: u64 = u64::MAX;

impl Supervisor {
    /// A supervisor that serves nothing yet: it has no thread and no descriptor before the first listener.
    pub fn new(machine: Arc<dyn Machine>, hands: Arc<dyn Hands>) -> Self {
        Self { machine, hands, counters: Arc::default(), running: Mutex::default() }
    }

    /// Serves one more listener, until the last process behind it has ended.
    ///
    /// # Errors
    /// When the kernel gives no descriptor, or no thread.
    pub fn serve(&self, listener: OwnedFd) -> io::Result<()> {
        let mut running = lock(&self.running);
        let core = match &*running {
            Some(core) => core.clone(),
            None => {
                let core = self.core()?;
                receive::start(core.clone(), Buffer::new()?)?;
                running.insert(core).clone()
            }
        };
        core.watch(Listener::new(listener))
    }

    /// Ends it: closes every listener.
    pub fn end(&self) {
        if let Some(core) = lock(&self.running).take() {
            core.end();
        }
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        let Counters { served, continued, refused } = &*self.counters;
        let [served, continued, refused] = [served, continued, refused].map(|count| count.load(Ordering::Relaxed));
        Counts { served, continued, refused }
    }

    fn core(&self) -> io::Result<Arc<Core>> {
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &end, epoll::EventData::new_u64(END), epoll::EventFlags::IN)?;
        Ok(Arc::new(Core {
            machine: self.machine.clone(),
            hands: self.hands.clone(),
            counters: self.counters.clone(),
            epoll,
            end,
            ended: AtomicBool::new(false),
            listeners: Mutex::default(),
            pool: Pool::default(),
        }))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Core {
    fn watch(&self, listener: Listener) -> io::Result<()> {
        let mut listeners = lock(&self.listeners);
        if self.ended.load(Ordering::Acquire) {
            return Err(io::Error::other("the supervisor has ended"));
        }
        let number = listeners.next;
        listeners.next += 1;
        epoll::add(&self.epoll, &listener, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        listeners.open.push((number, Arc::new(listener)));
        Ok(())
    }

    fn listener(&self, number: u64) -> Option<Arc<Listener>> {
        let listeners = lock(&self.listeners);
        let at = listeners.open.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        listeners.open.get(at).map(|(_, listener)| listener.clone())
    }

    /// Lets go of a listener. What is done on behalf right now may hold it a little longer.
    fn forget(&self, number: u64) {
        let mut listeners = lock(&self.listeners);
        if let Ok(at) = listeners.open.binary_search_by_key(&number, |&(number, _)| number) {
            let (_, listener) = listeners.open.remove(at);
            // One that is not there any more tells nothing any more.
            let _gone = epoll::delete(&self.epoll, &listener);
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        lock(&self.listeners).open.clear();
        self.pool.close();
        // A full counter is as readable.
        let _full = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Answers with a descriptor.
    ///
    /// # Errors
    /// The errno that is to be answered instead.
    fn give(&self, listener: &Listener, id: u64, fd: BorrowedFd<'_>) -> Result<(), i32> {
        listener.give(id, fd).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        self.counters.served.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn answer(&self, listener: &Listener, id: u64, answer: Answer) {
        let counter = match answer {
            Answer::Value(_) => &self.counters.served,
            Answer::Errno(_) => &self.counters.refused,
            Answer::Continue => &self.counters.continued,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        listener.answer(id, answer);
    }
}

/// A lock that a panic elsewhere does not take away: what it guards is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
