//! The wire: requests as `/dev/fuse` gives them and answers as it takes them (linux/fuse.h, protocol 7.31 and newer).
//! All numbers are in the host's byte order.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// The protocol that is spoken: that of Linux 5.4 has all that is used.
pub(super) const MAJOR: u32 = 7;
pub(super) const MINOR: u32 = 31;

/// Greatest payload of a WRITE, in bytes: the kernel's least, and what procfs takes at once (`PAGE_SIZE`).
pub(super) const MAX_WRITE: u32 = 4096;

/// Of a buffer that every request fits in: `FUSE_MIN_READ_BUFFER` is 8192.
pub(super) const BUFFER: usize = 8192;

/// `FUSE_ASYNC_READ`, `FUSE_AUTO_INVAL_DATA`, `FUSE_DO_READDIRPLUS`, `FUSE_PARALLEL_DIROPS`.
pub(super) const FLAGS: u32 = 1 | 1 << 12 | 1 << 13 | 1 << 18;

/// `FUSE_NO_OPEN_SUPPORT`.
pub(super) const NO_OPEN_SUPPORT: u32 = 1 << 17;

/// `FATTR_SIZE`, and what may come with it: `FATTR_FH`, `FATTR_LOCKOWNER`, `FATTR_KILL_SUIDGID`, the times of a
/// truncation.
const FATTR_SIZE: u32 = 1 << 3;
const FATTR_MODE_UID_GID: u32 = 0b111;

/// What the kernel asks, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Its number; the answer bears it.
    pub(super) unique: u64,
    /// The inode.
    pub(super) node: u64,
    /// What.
    pub(super) ask: Ask<'a>,
}

/// The requests that are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    Init {
        major: u32,
        max_readahead: u32,
        flags: u32,
    },
    Lookup(&'a [u8]),
    /// The kernel lets go of so many references to inodes. No answer.
    Forget(Vec<(u64, u64)>),
    /// `held`: on behalf of a file that is open already, for a read. An open and a stat(2) are not.
    GetAttr {
        held: bool,
    },
    /// Of a size and nothing that procfs keeps.
    Truncate,
    ReadLink,
    Open,
    Read {
        handle: u64,
        offset: u64,
        size: u32,
    },
    Write {
        handle: u64,
        offset: u64,
        append: bool,
        data: &'a [u8],
    },
    OpenDir,
    ReadDir {
        offset: u64,
        size: u32,
        plus: bool,
    },
    Release(u64),
    /// RELEASEDIR.
    Done,
    StatFs,
    /// Answered with this error: what procfs answers, or ENOSYS, by which the kernel learns not to ask again.
    Refused(Errno),
    /// Neither served nor answered: DESTROY, a notification's reply.
    Silent,
}

/// A request that is none: what can be told of it, to answer EINVAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// None when there is not even a header.
    pub(super) unique: Option<u64>,
}

impl<'a> Request<'a> {
    /// Reads a request.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let mut header = || {
            let of = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
            // uid, gid, pid, extensions.
            fields.u64()?;
            fields.u64()?;
            Some(of)
        };
        let (length, opcode, unique, node) = header().ok_or(Malformed { unique: None })?;
        let malformed = Malformed { unique: Some(unique) };
        if usize::try_from(length) != Ok(bytes.len()) {
            return Err(malformed);
        }
        let ask = ask(opcode, node, fields).ok_or(malformed)?;
        Ok(Self { unique, node, ask })
    }
}

/// The opcodes of linux/fuse.h.
fn ask(opcode: u32, node: u64, mut fields: Fields<'_>) -> Option<Ask<'_>> {
    Some(match opcode {
        1 => Ask::Lookup(fields.name()?),
        2 => Ask::Forget(vec![(node, fields.u64()?)]),
        42 => Ask::Forget(fields.forgets()?),
        // FUSE_GETATTR_FH.
        3 => Ask::GetAttr { held: fields.u32()? & 1 != 0 },
        4 => match fields.u32()? {
            valid if valid & FATTR_SIZE != 0 && valid & FATTR_MODE_UID_GID == 0 => Ask::Truncate,
            _ => Ask::Refused(Errno::PERM),
        },
        5 => Ask::ReadLink,
        14 => Ask::Open,
        15 => {
            let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
            Ask::Read { handle, offset, size }
        }
        16 => fields.write()?,
        17 => Ask::StatFs,
        26 => Ask::Init { major: fields.u32()?, max_readahead: fields.u32_after(4)?, flags: fields.u32()? },
        27 => Ask::OpenDir,
        28 | 44 => {
            let (_handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
            Ask::ReadDir { offset, size, plus: opcode == 44 }
        }
        18 => Ask::Release(fields.u64()?),
        29 => Ask::Done,
        38 | 41 => Ask::Silent,
        // CREATE: what a directory without a method for it answers.
        35 => Ask::Refused(Errno::ACCESS),
        // SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, RENAME2.
        6 | 8..=13 | 45 => Ask::Refused(Errno::PERM),
        // FSYNC, FSYNCDIR: no method in procfs; ENOSYS would mean success.
        20 | 30 => Ask::Refused(Errno::INVAL),
        39 => Ask::Refused(Errno::NOTTY),
        // FLUSH, the extended attributes, ACCESS, INTERRUPT, POLL, FALLOCATE, LSEEK, STATX and what is to come.
        _ => Ask::Refused(Errno::NOSYS),
    })
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    fn u32_after(&mut self, skip: usize) -> Option<u32> {
        self.0 = self.0.get(skip..)?;
        self.u32()
    }

    /// A name of one component, without its NUL.
    fn name(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let name = self.0.get(..end)?;
        (!name.is_empty() && !name.contains(&b'/')).then_some(name)
    }

    fn forgets(&mut self) -> Option<Vec<(u64, u64)>> {
        let count = u64::from(self.u32()?);
        self.u32()?;
        let mut forgets = Vec::new();
        for _ in 0..count {
            forgets.push((self.u64()?, self.u64()?));
        }
        Some(forgets)
    }

    /// `struct fuse_write_in`, and the data.
    fn write(&mut self) -> Option<Ask<'a>> {
        let (handle, offset, size, _flags) = (self.u64()?, self.u64()?, self.u32()?, self.u32()?);
        let (_owner, flags, _padding) = (self.u64()?, self.u32()?, self.u32()?);
        let data = self.0.get(..usize::try_from(size).ok()?)?;
        let append = i32::try_from(flags).is_ok_and(|flags| flags & libc::O_APPEND != 0);
        Some(Ask::Write { handle, offset, append, data })
    }
}

/// `struct fuse_attr`, of what differs from inode to inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attr {
    pub(super) node: u64,
    /// In bytes.
    pub(super) size: u64,
    /// Since the epoch; of the other times too.
    pub(super) mtime: Duration,
    /// Type and permission bits.
    pub(super) mode: u32,
    /// Owner and group, host ids.
    pub(super) owner: u32,
    /// For how long the kernel need not ask again.
    pub(super) valid: Duration,
}

/// An answer that is being written, after its header.
#[derive(Debug, Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// `struct fuse_attr`.
    fn attr(self, attr: &Attr) -> Self {
        let (seconds, nanoseconds) = (attr.mtime.as_secs(), attr.mtime.subsec_nanos());
        let links = if attr.mode & libc::S_IFMT == libc::S_IFDIR { 2 } else { 1 };
        let times = self.u64(attr.node).u64(attr.size).u64(0).u64(seconds).u64(seconds).u64(seconds);
        let rest = times.u32(nanoseconds).u32(nanoseconds).u32(nanoseconds).u32(attr.mode).u32(links);
        rest.u32(attr.owner).u32(attr.owner).u32(0).u32(4096).u32(0)
    }

    /// `struct fuse_attr_out`.
    pub(super) fn attr_out(self, attr: &Attr) -> Self {
        self.u64(attr.valid.as_secs()).u32(attr.valid.subsec_nanos()).u32(0).attr(attr)
    }

    /// `struct fuse_entry_out`: the name stands for this inode for `valid`.
    pub(super) fn entry_out(self, attr: &Attr, valid: Duration) -> Self {
        let ids = self.u64(attr.node).u64(0).u64(valid.as_secs()).u64(attr.valid.as_secs());
        ids.u32(valid.subsec_nanos()).u32(attr.valid.subsec_nanos()).attr(attr)
    }

    /// `struct fuse_dirent`, padded. `next` is the offset that goes on after it.
    pub(super) fn dirent(self, node: u64, next: u64, mode: u32, name: &[u8]) -> Self {
        let padding = name.len().next_multiple_of(8) - name.len();
        let length = u32::try_from(name.len()).unwrap_or(0);
        self.u64(node).u64(next).u32(length).u32((mode & libc::S_IFMT) >> 12).bytes(name).zeros(padding)
    }

    /// The answer to the request `unique`.
    pub(super) fn answer(self, unique: u64) -> Vec<u8> {
        message(unique, 0, &self.0)
    }
}

/// An error as the answer. What has no number is EIO.
pub(super) fn error(unique: u64, error: &io::Error) -> Vec<u8> {
    // The kernel takes 1 to 511.
    let number = error.raw_os_error().filter(|number| (1..512).contains(number)).unwrap_or(libc::EIO);
    message(unique, -number, &[])
}

fn message(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(error.to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(body);
    message
}
