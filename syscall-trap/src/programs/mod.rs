//! Device programs of a container's own engines: an inner runtime or service manager limits by them, on cgroup v2, which
//! devices a group of its own may open. The kernel permits bpf(2) to the host's root alone.
//!
//! Main type: [`Programs`], one for each container. [`caller`] says who may ask and what its descriptors are, [`place`] where a
//! program may lie.
//!
//! Invariants: a program lies strictly below the container's own group, so that it can only take away what that one's has left:
//! the kernel asks the programs of every group on the way, but for those that were attached to be overridden, and below such
//! nothing is attached. No program, map or group of anybody else's is reached: those of the container are known by their
//! ids. All that is loaded at a time is bounded, since it lies in the host's memory, not in the container's.

mod caller;
mod place;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::calls::bpf::Bpf;
use crate::notify::Answer;
use crate::notify::memory::Writable;
use crate::sys::bpf::{self, ALLOW_MULTI, Program};
use caller::Caller;

/// What fails fails with an errno for the caller.
type Result<T> = std::result::Result<T, Errno>;

/// How many programs a container may have at a time, and how many instructions in all. A program of few instructions takes some
/// 10 KiB of the host's memory, a long one some 30 bytes for each of them.
const MOST: usize = 1024;
const MOST_INSTRUCTIONS: usize = 256 * 1024;

/// The device programs of one container.
#[derive(Debug)]
pub struct Programs {
    /// Its user namespace.
    user: OwnedFd,
    /// Its own group of cgroup v2, a directory.
    group: OwnedFd,
    loaded: Mutex<Vec<Loaded>>,
}

/// A program that was loaded here. It may be gone.
#[derive(Debug, Clone, Copy)]
struct Loaded {
    id: u32,
    instructions: usize,
}

/// What a call answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    /// A new descriptor of the caller's.
    Descriptor(OwnedFd),
}

/// Where `union bpf_attr` has what the kernel writes.
const ATTACH_FLAGS: u64 = 12;
const PROG_CNT: u64 = 24;
const INFO_LEN: u64 = 4;

impl Programs {
    /// For the container with this user namespace and this group of cgroup v2, a directory that is open for reading.
    pub fn new(user: OwnedFd, group: OwnedFd) -> Self {
        Self { user, group, loaded: Mutex::default() }
    }

    /// Serves a call of the thread whose directory in the host's procfs is `process`. `still` says whether the call waits.
    pub(crate) fn serve(&self, process: BorrowedFd<'_>, call: &Bpf, still: &dyn Fn() -> bool) -> Reply {
        let caller = Caller { process, still };
        self.answer(&caller, call).unwrap_or_else(|errno| Reply::Answer(Answer::Errno(errno.raw_os_error())))
    }

    fn answer(&self, caller: &Caller<'_>, call: &Bpf) -> Result<Reply> {
        if !caller.may(self.user.as_fd())? {
            return Err(Errno::PERM);
        }
        let done = Ok(Reply::Answer(Answer::Value(0)));
        match call {
            Bpf::Load { program, log } => {
                log.map_or(Ok(()), |log| caller.memory()?.write(log, &[0]).map_err(|_| Errno::FAULT))?;
                self.load(program).map(Reply::Descriptor)
            }
            Bpf::Attach { target, program, flags, replaced } => {
                let group = place::below(self.group.as_fd(), caller.directory(*target)?)?;
                let program = self.program_of(caller, *program)?;
                let replaced = replaced.map(|replaced| self.program_of(caller, replaced)).transpose()?;
                if flags & ALLOW_MULTI == 0 {
                    self.refuse_others(group.as_fd())?;
                }
                caller.waits()?;
                bpf::attach(group.as_fd(), program.as_fd(), *flags, replaced.as_ref().map(AsFd::as_fd))
                    .map_err(errno)?;
                done
            }
            Bpf::Detach { target, program } => {
                let group = place::below(self.group.as_fd(), caller.directory(*target)?)?;
                // What is no program stands for the only one.
                let program = self.program_of(caller, *program).ok();
                if program.is_none() {
                    self.refuse_others(group.as_fd())?;
                }
                caller.waits()?;
                bpf::detach(group.as_fd(), program.as_ref().map(AsFd::as_fd)).map_err(errno)?;
                done
            }
            Bpf::Query { target, ids, room, attributes } => {
                let group = place::below(self.group.as_fd(), caller.directory(*target)?)?;
                self.query(caller, group.as_fd(), (*ids, *room), *attributes)
            }
            Bpf::Open { id } => self.open(*id).map(Reply::Descriptor),
            Bpf::Info { program, info, room, attributes } => {
                let program = self.program_of(caller, *program)?;
                let told = told(&bpf::info(program.as_fd()).map_err(errno)?);
                let told = told.get(..*room as usize).unwrap_or(&told);
                let memory = caller.memory()?;
                memory.write(*info, told).map_err(|_| Errno::FAULT)?;
                let length = u32::try_from(told.len()).unwrap_or_default();
                put(&memory, *attributes, INFO_LEN, length)?;
                done
            }
        }
    }

    /// One at a time: the verifier may take its time.
    fn load(&self, program: &Program) -> Result<OwnedFd> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let instructions = program.instructions.len();
        let fits = |loaded: &[Loaded]| {
            let all: usize = loaded.iter().map(|one| one.instructions).sum();
            loaded.len() < MOST && all + instructions <= MOST_INSTRUCTIONS
        };
        if !fits(&loaded) {
            loaded.retain(|one| bpf::open(one.id).is_ok());
            if !fits(&loaded) {
                return Err(Errno::NOMEM);
            }
        }
        let made = bpf::load(program).map_err(errno)?;
        let id = bpf::id_of(&bpf::info(made.as_fd()).map_err(errno)?);
        loaded.push(Loaded { id, instructions });
        Ok(made)
    }

    fn is_own(&self, id: u32) -> bool {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|one| one.id == id)
    }

    /// What the host has attached below the container's group is not taken away by what takes away the only program.
    fn refuse_others(&self, group: BorrowedFd<'_>) -> Result<()> {
        let (_, found) = bpf::query(group).map_err(errno)?;
        if found.iter().all(|&id| self.is_own(id)) { Ok(()) } else { Err(Errno::PERM) }
    }

    fn open(&self, id: u32) -> Result<OwnedFd> {
        if !self.is_own(id) {
            return Err(Errno::PERM);
        }
        bpf::open(id).map_err(errno)
    }

    /// What a descriptor of the caller's is, by the id that the kernel tells of it.
    fn program_of(&self, caller: &Caller<'_>, number: u32) -> Result<OwnedFd> {
        self.open(caller.program(number)?)
    }

    /// `cgroup_bpf_prog_query()` of kernel/bpf/cgroup.c, of the container's own programs.
    fn query(
        &self,
        caller: &Caller<'_>,
        group: BorrowedFd<'_>,
        (ids, room): (u64, u32),
        attributes: u64,
    ) -> Result<Reply> {
        let (flags, mut found) = bpf::query(group).map_err(errno)?;
        found.retain(|&id| self.is_own(id));
        let memory = caller.memory()?;
        put(&memory, attributes, ATTACH_FLAGS, flags)?;
        put(&memory, attributes, PROG_CNT, u32::try_from(found.len()).unwrap_or_default())?;
        if ids == 0 || room == 0 {
            return Ok(Reply::Answer(Answer::Value(0)));
        }
        let has_room = room as usize >= found.len();
        let bytes: Vec<u8> = found.into_iter().take(room as usize).flat_map(u32::to_ne_bytes).collect();
        memory.write(ids, &bytes).map_err(|_| Errno::FAULT)?;
        if has_room { Ok(Reply::Answer(Answer::Value(0))) } else { Err(Errno::NOSPC) }
    }
}

/// Writes a word into a caller's `union bpf_attr`.
fn put(memory: &Writable, attributes: u64, at: u64, word: u32) -> Result<()> {
    let address = attributes.checked_add(at).ok_or(Errno::FAULT)?;
    memory.write(address, &word.to_ne_bytes()).map_err(|_| Errno::FAULT)
}

/// A program's info as the kernel tells it to somebody who may not see its code: type, id, tag, name, and whether it is the
/// GPL's. Whoever loaded it, and when, are the host's matter.
fn told(info: &[u8; bpf::INFO]) -> [u8; bpf::INFO] {
    let mut told = [0; bpf::INFO];
    for (at, (to, from)) in told.iter_mut().zip(info).enumerate() {
        if (0..16).contains(&at) || (64..80).contains(&at) || (84..88).contains(&at) {
            *to = *from;
        }
    }
    told
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Whether a group has programs that those of the groups below it override.
fn is_overridden(group: BorrowedFd<'_>) -> Result<bool> {
    let (flags, programs) = bpf::query(group).map_err(errno)?;
    Ok(!programs.is_empty() && flags & ALLOW_MULTI == 0)
}
