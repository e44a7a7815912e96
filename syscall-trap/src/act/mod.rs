//! What is done on behalf of a caller, by a single-threaded helper process of the shim's (`stage-act`), which is root of the host
//! and has a mount namespace of its own.
//!
//! Main types: [`Act`] says what; [`Caller`] for whom; [`World`] is what the helper keeps between acts; [`World::perform`] does it.
//!
//! Invariant: nothing is done for a caller that the kernel would not have done for it, were it not for our emulated files and
//! our locked mounts; whoever lacks the right gets [`Outcome::Continue`], and the kernel says so itself.

use serde::{Deserialize, Serialize};

/// A system call that is made on behalf of its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// mount(2) of a new procfs.
    Proc { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) of a new sysfs.
    Sysfs { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) with `MS_REMOUNT`, without `MS_BIND`.
    Remount { target: Vec<u8>, flags: u64, data: Vec<u8> },
    /// mount(2) with `MS_BIND`, without `MS_REC` and `MS_REMOUNT`.
    Bind { source: Vec<u8>, target: Vec<u8>, flags: u64 },
    /// umount2(2) without `MNT_DETACH`.
    Umount { target: Vec<u8>, flags: i32 },
    /// open_tree(2) or open_tree_attr(2) with `OPEN_TREE_CLONE`, without `AT_RECURSIVE`.
    OpenTree { dirfd: i32, path: Vec<u8>, flags: u32 },
    /// fspick(2): a filesystem whose remount is served by mount(2) answers ENOSYS.
    Pick { dirfd: i32, path: Vec<u8>, flags: u32 },
    /// mknod(2), mknodat(2) of a character device.
    Mknod { dirfd: i32, path: Vec<u8>, mode: u32, device: u64 },
}

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
