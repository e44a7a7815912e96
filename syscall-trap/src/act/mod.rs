//! What is done on behalf of a caller, by a single-threaded helper process of the shim's (`stage-act`), which is root of the host
//! and has a mount namespace of its own.
//!
//! Main types: [`Act`] says what; [`World`] is what the helper keeps between acts; [`World::begin`] has one done in a child of
//! the helper's, which answers an [`Outcome`] and ends.
//!
//! | act | file | why the kernel alone does not do it |
//! |---|---|---|
//! | a new procfs or sysfs | [`fresh`] | it would show what our covers hide, so the kernel refuses it (`mnt_already_visible`) |
//! | a bind, open_tree | [`bind`] | a tree with locked mounts below cannot be cloned without them |
//! | umount2 | [`umount`] | locked mounts keep what they lie on busy |
//! | remount, mount_setattr | [`remount`] | covers do not follow; util-linux feeds ids of the host back |
//! | mknod of harmless devices | [`mknod`] | no user namespace may make a device |
//!
//! Invariant: nothing is done for a caller that the kernel would not have done for it, were it not for our emulated files and
//! our locked mounts; whoever lacks the right gets [`Outcome::Continue`], and the kernel says so itself.

mod bind;
pub(crate) mod caller;
mod cover;
mod fresh;
mod lock;
mod mknod;
mod option;
mod path;
mod remount;
mod running;
mod spare;
mod tidy;
mod umount;
mod visible;
mod world;

use policy::plan::MountFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use cover::{Cover, Kernel, Shows};
pub use world::{Setup, World};

use caller::Caller;

/// What an act ends with; an error number is what the caller's call fails with ([`Outcome::Errno`]).
type Result<T> = std::result::Result<T, Errno>;

/// A system call that is made on behalf of its caller. Fields are its arguments, by the names that they have in its man page; a
/// mount's type and, of a new one, its source are none of them.
#[allow(missing_docs, reason = "named in the man pages")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// mount(2) of a new procfs.
    Proc { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) of a new sysfs.
    Sysfs { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) with `MS_REMOUNT`, of a filesystem or (`MS_BIND`) of one mount.
    Remount { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) with `MS_BIND`, without `MS_REC` and `MS_REMOUNT`.
    Bind { source: Vec<u8>, target: Vec<u8>, flags: u64 },
    /// umount2(2)
    Umount { target: Vec<u8>, flags: i32 },
    /// open_tree(2) or open_tree_attr(2), without `AT_RECURSIVE`.
    OpenTree { dirfd: i32, path: Vec<u8>, flags: u32 },
    /// mount_setattr(2) of one mount: without `AT_RECURSIVE`, an id map and a propagation.
    Setattr { dirfd: i32, path: Vec<u8>, flags: u32, set: u64, clear: u64 },
    /// mknod(2), mknodat(2) of a character device.
    Mknod { dirfd: i32, path: Vec<u8>, mode: u32, device: u64 },
}

/// What is asked over an act's socket before anything is done: whether the caller still waits.
pub const QUESTION: &[u8] = b"?";

/// That it does. Any other answer means that it does not.
pub const YES: &[u8; 1] = b"y";

/// What the caller's system call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The kernel does the call itself.
    Continue,
    /// It succeeds.
    Done,
    /// It fails.
    Errno(i32),
}

impl Outcome {
    /// As one message of the socket on which it is answered.
    fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::Continue => i32::MIN,
            Self::Done => 0,
            Self::Errno(number) => number,
        }
        .to_ne_bytes()
    }

    /// What a message of that socket says; none when it is no such message.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(match i32::from_ne_bytes(bytes.try_into().ok()?) {
            i32::MIN => Self::Continue,
            0 => Self::Done,
            number => Self::Errno(number),
        })
    }
}

impl Act {
    /// Does it for `caller`, in a process that is good for nothing else afterwards. `number` is this act's alone.
    fn perform(&self, world: &World, number: u64, caller: &Caller) -> Outcome {
        let done = match self {
            Self::Proc { target, flags, data } => {
                fresh::mount(world, number, caller, Kernel::Proc, (target, *flags, data))
            }
            Self::Sysfs { target, flags, data } => {
                fresh::mount(world, number, caller, Kernel::Sysfs, (target, *flags, data))
            }
            Self::Bind { source, target, .. } => bind::mount(world, caller, source, target),
            Self::OpenTree { dirfd, path, flags } => bind::open_tree(world, caller, *dirfd, path, *flags),
            Self::Umount { target, flags } => umount::umount(world, caller, target, *flags),
            Self::Remount { target, flags, data } => remount::remount(world, caller, target, *flags, data),
            Self::Setattr { dirfd, path, flags, set, clear } => {
                remount::setattr(world, caller, (*dirfd, path, *flags), MountFlags { set: *set, clear: *clear })
            }
            Self::Mknod { dirfd, path, mode, device } => {
                mknod::mknod(world, number, caller, (*dirfd, path, *mode, *device))
            }
        };
        match done {
            Ok(outcome) => outcome,
            // The caller has gone.
            Err(Errno::SRCH) => Outcome::Continue,
            Err(errno) => Outcome::Errno(errno.raw_os_error()),
        }
    }
}

/// The error number of a step, for the caller.
fn number_of(error: userns::Error) -> Errno {
    error.errno().unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_four_bytes() {
        for outcome in [Outcome::Continue, Outcome::Done, Outcome::Errno(libc::EBUSY)] {
            assert_eq!(Outcome::from_bytes(&outcome.to_bytes()), Some(outcome));
        }
        assert_eq!(Outcome::from_bytes(b"abc"), None);
    }
}
