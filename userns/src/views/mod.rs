//! Two overlays over one writable layer: the engine's, and the container's.
//!
//! dockerd mounts a container's overlay itself, and goes on using that mount (`docker cp`, `export`, the user names of an exec)
//! while the container runs on one of ours over the same layers ([`crate::rootfs`]). Both keep to what is on disk, but each
//! remembers names: one that it did not find, one that it found in a lower layer. A name that the other side makes, changes or
//! removes later stays as remembered, and a lower directory that the other side has copied up cannot be written to
//! (`ENOTEMPTY`). [`Views`] makes them agree: it looks out for uses of the engine's mount ([`watch`]), has each side forget
//! what no process holds (a superblock that is reconfigured drops its unused dentries), and has the container's side take over
//! directories that its processes do hold ([`adopt`]).
//!
//! While the engine holds names itself (its bind mounts in a namespace of its own, for `docker cp`) nothing is adopted: it
//! would go on with the directory that is gone.
//!
//! Invariant: the engine's mount is only watched and reconfigured, never mounted over, entered or written through; it can be
//! unmounted at any time. Nothing of this is asynchronous to the caller: when [`Views::settle`] returns, what the engine had
//! done before the call is what the container sees, and the reverse.

mod adopt;
mod watch;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::fanotify::FanotifyEvent;

use self::adopt::Upper;
use self::watch::Watch;
use crate::Result;
use crate::mount::Context;
use crate::rootfs::EngineOverlay;

/// How often the two are brought together after a use: an event of a close comes a moment before the kernel lets go of the file.
const ROUNDS: u8 = 2;

/// For how long after a change of the engine's each settle has the container's side forget once more. A process that stands in
/// the middle of a lookup holds the name that it does not find, and so keeps it from being forgotten with the others.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The two views of one container's root filesystem.
#[derive(Debug)]
pub struct Views {
    engine: Context,
    upper: Upper,
    /// None: every look must reckon with a use.
    watch: Option<Watch>,
    ours: OnceLock<Ours>,
    state: Mutex<State>,
}

/// The container's side.
#[derive(Debug)]
struct Ours {
    context: Context,
    root: OwnedFd,
}

/// What is still to be done.
#[derive(Debug, Default)]
struct State {
    rounds: u8,
    changed: bool,
    /// When a change was last seen.
    seen: Option<Instant>,
    viewers: Vec<i32>,
}

/// What [`Views::settle`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing is to be done until the engine uses its mount again.
    Quiet,
    /// The engine has used it a moment ago: settle again soon.
    Again,
    /// The engine uses it. Directories that both sides hold differ until it has done: settle again soon.
    InUse,
}

impl Views {
    /// The views of a container whose root filesystem the engine has mounted at `path`: an overlay with a writable layer. None
    /// for any other, which has one view alone. From here on the engine's uses are seen.
    ///
    /// A string tells why they cannot be seen (`EMFILE`: `fs.fanotify.max_user_groups` look-outs exist): then every
    /// [`Views::settle`] does what it would do after a use.
    ///
    /// # Errors
    /// A line with the directory or the step that failed.
    pub fn of(path: &Path) -> Result<Option<(Self, Option<String>)>> {
        let Some(EngineOverlay { root, upper, work }) = EngineOverlay::at(path)? else { return Ok(None) };
        let upper = Upper::open(&upper, work)?;
        let engine = Context::pick(root.as_fd(), &path.display().to_string())?;
        let (watch, note) = match Watch::of(root.as_fd()) {
            Ok(watch) => (Some(watch), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let views = Self { engine, upper, watch, ours: OnceLock::new(), state: Mutex::default() };
        Ok(Some((views, note)))
    }

    /// Takes the container's side: a clone of its root mount. What either side remembers from before is forgotten.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hold(&self, root: OwnedFd) -> Result<()> {
        let context = Context::pick(root.as_fd(), "the container's root filesystem")?;
        // A second call has nothing to add.
        let _ = self.ours.set(Ours { context, root });
        self.engine.reconfigure()
    }

    /// A descriptor that is readable when the engine has used its mount; none where that cannot be seen.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn notifier(&self) -> Result<Option<OwnedFd>> {
        self.watch.as_ref().map(Watch::notifier).transpose()
    }

    /// Whether [`Views::settle`] would have something to do. It never waits.
    pub fn is_due(&self) -> bool {
        let Some(watch) = &self.watch else { return true };
        // Who holds the state settles, and may have read what is not yet done.
        watch.has_news() || self.state.try_lock().map_or(true, |state| state.rounds > 0 || state.is_recent())
    }

    /// Brings the two views together.
    ///
    /// # Errors
    /// What the kernel says; the next call tries again.
    pub fn settle(&self) -> Result<Settled> {
        let mut state = self.state();
        let asking = self.look(&mut state);
        let settled = match state.rounds {
            0 => self.forget_again(&state).map(|()| Settled::Quiet),
            _ => self.agree(&mut state),
        };
        if let Some(watch) = &self.watch {
            watch.answer(asking);
        }
        settled
    }

    /// Lets who begins to use the engine's mount go on, with a view that remembers nothing. [`Views::settle`] is still due.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn admit(&self) -> Result<()> {
        let asking = self.look(&mut self.state());
        let Some(watch) = self.watch.as_ref().filter(|_| !asking.is_empty()) else { return Ok(()) };
        let outcome = self.engine.reconfigure();
        watch.answer(asking);
        outcome
    }

    fn agree(&self, state: &mut State) -> Result<Settled> {
        state.viewers.retain(|thread| watch::looks_from_elsewhere(*thread).unwrap_or(false));
        let in_use = !state.viewers.is_empty();
        self.engine.reconfigure()?;
        if let (true, Some(ours)) = (state.changed, self.ours.get()) {
            ours.context.reconfigure()?;
            if !in_use && self.upper.adopt_all(ours.root.as_fd(), &self.engine)? {
                ours.context.reconfigure()?;
            }
        }
        if in_use {
            return Ok(Settled::InUse);
        }
        state.rounds -= 1;
        state.changed &= state.rounds > 0;
        Ok(if state.rounds > 0 { Settled::Again } else { Settled::Quiet })
    }

    fn forget_again(&self, state: &State) -> Result<()> {
        match self.ours.get() {
            Some(ours) if state.is_recent() => ours.context.reconfigure(),
            _ => Ok(()),
        }
    }

    /// Takes over what the look-out has seen. Returns who waits for an answer.
    fn look(&self, state: &mut State) -> Vec<FanotifyEvent> {
        let Some(watch) = &self.watch else {
            (state.rounds, state.changed) = (1, true);
            return Vec::new();
        };
        let seen = watch.read();
        if seen.used {
            state.rounds = ROUNDS;
        }
        state.changed |= seen.changed;
        if seen.changed {
            state.seen = Some(Instant::now());
        }
        for thread in seen.viewers {
            if !state.viewers.contains(&thread) {
                state.viewers.push(thread);
            }
        }
        seen.asking
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_recent(&self) -> bool {
        self.seen.is_some_and(|seen| seen.elapsed() < AFTERWARDS)
    }
}
