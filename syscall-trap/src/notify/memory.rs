//! The memory of a caller: what the pointers of a trapped call name, read as the kernel reads it.
//!
//! Main types: [`Memory`]; [`Thread`] is that of a thread that waits.
//!
//! Invariant: no more is read than the kernel would read, and what is read here may be something else when the kernel, or
//! anybody, reads it again.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, openat};

use super::Answer;

/// The longest path with its NUL (`PATH_MAX`), and the longest string and the only page of mount(2).
const LONGEST: usize = 4096;

/// A read never crosses the border of a page, of which this is the smallest size: what lies behind it may not be mapped.
const PAGE: u64 = 4096;

/// Memory that is not our own.
pub trait Memory {
    /// Reads at `address`; how many bytes, at least one.
    ///
    /// # Errors
    /// EFAULT where nothing is mapped; anything else means that it cannot be told what the caller has there.
    fn read(&self, address: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// The memory of a thread, by its id. Nothing that was read holds unless the notification is valid afterwards.
#[derive(Debug, Clone, Copy)]
pub struct Thread(pub u32);

impl Memory for Thread {
    fn read(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        crate::sys::memory::read(self.0, address, into)
    }
}

/// A path, as getname() of fs/namei.c takes it: up to 4095 bytes before its NUL.
///
/// # Errors
/// What the call answers: EFAULT, ENAMETOOLONG.
pub(crate) fn path(memory: &impl Memory, address: u64) -> Result<Vec<u8>, Answer> {
    string(memory, address)?.ok_or(Answer::Errno(libc::ENAMETOOLONG))
}

/// A name, as strndup_user() of mm/util.c takes it; none where the pointer is null.
///
/// # Errors
/// What the call answers: EFAULT, EINVAL for one that is too long.
pub(crate) fn name(memory: &impl Memory, address: u64) -> Result<Option<Vec<u8>>, Answer> {
    if address == 0 {
        return Ok(None);
    }
    string(memory, address)?.ok_or(Answer::Errno(libc::EINVAL)).map(Some)
}

/// Mount data, as copy_mount_options() of fs/namespace.c takes it: a page or as much of it as there is, ended by the first
/// NUL or by the page's last byte. Empty where the pointer is null.
///
/// # Errors
/// EFAULT.
pub(crate) fn data(memory: &impl Memory, address: u64) -> Result<Vec<u8>, Answer> {
    if address == 0 {
        return Ok(Vec::new());
    }
    let (mut bytes, end) = read_string(memory, address);
    match end {
        End::Failed(answer) if bytes.is_empty() => Err(answer),
        _ => {
            bytes.truncate(LONGEST - 1);
            Ok(bytes)
        }
    }
}

/// A string; none when it has no end within what is read.
fn string(memory: &impl Memory, address: u64) -> Result<Option<Vec<u8>>, Answer> {
    match read_string(memory, address) {
        (bytes, End::Nul) => Ok(Some(bytes)),
        (_, End::TooLong) => Ok(None),
        (_, End::Failed(answer)) => Err(answer),
    }
}

/// Where a string ended.
enum End {
    Nul,
    TooLong,
    Failed(Answer),
}

/// So many bytes.
///
/// # Errors
/// EFAULT.
pub(crate) fn bytes(memory: &impl Memory, address: u64, length: usize) -> Result<Vec<u8>, Answer> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        extend(memory, address, &mut bytes, length)?;
    }
    Ok(bytes)
}

/// The bytes before a NUL, [`LONGEST`] at most.
fn read_string(memory: &impl Memory, address: u64) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST {
        let before = bytes.len();
        if let Err(answer) = extend(memory, address, &mut bytes, LONGEST) {
            return (bytes, End::Failed(answer));
        }
        if let Some(end) = bytes.iter().skip(before).position(|&byte| byte == 0) {
            bytes.truncate(before + end);
            return (bytes, End::Nul);
        }
    }
    (bytes, End::TooLong)
}

/// What lies behind the bytes that have been read from `address` on: up to the end of its page, or until they are `most`.
fn extend(memory: &impl Memory, address: u64, bytes: &mut Vec<u8>, most: usize) -> Result<(), Answer> {
    let mut page = [0; PAGE as usize];
    let at = address.checked_add(bytes.len() as u64).ok_or(fault())?;
    let room = ((PAGE - at % PAGE) as usize).min(most - bytes.len());
    let (chunk, _) = page.split_at_mut(room);
    match memory.read(at, chunk) {
        Ok(0) => Err(fault()),
        Ok(read) => {
            bytes.extend(chunk.iter().take(read));
            Ok(())
        }
        Err(error) => Err(unreadable(&error)),
    }
}

fn fault() -> Answer {
    Answer::Errno(libc::EFAULT)
}

/// EFAULT is the kernel's word for the caller, too. Anything else says something of us (a security module that does not let
/// us read), and the kernel, which can, does the call.
fn unreadable(error: &io::Error) -> Answer {
    if error.raw_os_error() == Some(libc::EFAULT) { fault() } else { Answer::Continue }
}

/// The memory of a thread to write to: once opened it is that thread's, whoever has its id later.
///
/// (process_vm_writev(2) takes an id, which could be another process's by then. The price is that a file of procfs writes
/// also where the caller may only read, privately, as the caller may by its own `/proc/self/mem`.)
#[derive(Debug)]
pub(crate) struct Writable(File);

impl Writable {
    pub(crate) fn open(tid: u32) -> io::Result<Self> {
        File::options().write(true).open(format!("/proc/{tid}/mem")).map(Self)
    }

    /// Of the thread with this directory in procfs.
    pub(crate) fn of(process: BorrowedFd<'_>) -> io::Result<Self> {
        let file = openat(process, "mem", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(File::from(file)))
    }

    /// # Errors
    /// EFAULT where not all of it is mapped.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Answer> {
        // procfs says EIO for what copy_to_user() calls EFAULT.
        self.0.write_all_at(bytes, address).map_err(|_| fault())
    }
}
