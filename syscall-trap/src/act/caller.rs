//! For whom something is done: the thread whose system call was trapped, by the descriptor of its directory in the host's
//! procfs, which stays with that thread (`ESRCH` once it has gone).
//!
//! Main type: [`Caller`]. What it may do is asked here ([`Caller::may`]), and here a process of ours becomes it
//! ([`Caller::enter`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType, move_into_link_name_space};

use super::{QUESTION, Result, YES};
use crate::sys::process as sys;

/// A thread, as it stands in its system call.
#[derive(Debug)]
pub(super) struct Caller {
    dir: OwnedFd,
    /// Whom to ask whether it still waits ([`Caller::enter`]).
    supervisor: OwnedFd,
    /// Its user namespace.
    user: OwnedFd,
    /// The view of the emulated files that it is to have; none for the container's own.
    pub(super) view: Option<u64>,
    /// What `/proc/PID/status` says.
    pub(super) status: Status,
}

/// The lines of proc_pid_status(5) that matter. Ids are the host's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Filesystem ids.
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Real, effective and saved ids.
    uids: [u32; 3],
    gids: [u32; 3],
    groups: Vec<u32>,
    /// Effective capabilities, in its user namespace.
    pub(crate) effective: u64,
    /// The file mode creation mask.
    pub(super) umask: u32,
    /// Process and thread, as its own pid namespace counts.
    pub(super) tgid: u32,
    pub(super) tid: u32,
}

impl Caller {
    /// The thread whose directory `dir` is, with a `view`. At the other end of `supervisor` is who knows whether it still waits.
    pub(super) fn new(dir: OwnedFd, view: Option<u64>, supervisor: OwnedFd) -> Result<Self> {
        let status = Status::of(dir.as_fd())?;
        let user = open(dir.as_fd(), "ns/user", OFlags::RDONLY)?;
        Ok(Self { user, view, status, dir, supervisor })
    }

    /// Whether the capability is effective, and its user namespace owns these namespaces of its own (names below
    /// `/proc/PID/ns`). That is what the kernel asks, or narrower: it also lets an ancestor's capability count.
    pub(super) fn may(&self, capability: CapabilitySet, namespaces: &[&str]) -> Result<bool> {
        if self.status.effective & capability.bits() == 0 {
            return Ok(false);
        }
        for name in namespaces {
            let owner = sys::owner(self.namespace(name)?.as_fd());
            if !matches!(owner, Ok(owner) if same(owner.as_fd(), self.user.as_fd())?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether its user namespace is this one.
    pub(super) fn is_of(&self, user: BorrowedFd<'_>) -> Result<bool> {
        same(self.user.as_fd(), user)
    }

    /// A namespace of its own.
    pub(super) fn namespace(&self, name: &str) -> Result<OwnedFd> {
        open(self.dir.as_fd(), &format!("ns/{name}"), OFlags::RDONLY)
    }

    /// What a link of its directory leads to: `root`, `cwd`, `exe`, `fd/N`.
    pub(super) fn link(&self, name: &str) -> Result<OwnedFd> {
        open(self.dir.as_fd(), name, OFlags::PATH)
    }

    /// Joins one of its namespaces, with the rights that this process has.
    pub(super) fn join(&self, name: &str, kind: LinkNameSpaceType) -> Result<()> {
        move_into_link_name_space(self.namespace(name)?.as_fd(), Some(kind))
    }

    /// Takes its root, ids, user namespace and capabilities, in its mount namespace ([`Caller::join`]): from here on this process can
    /// do what the caller can, and it is certain that all that has been read of the thread is the caller's. (It stays non-dumpable,
    /// and in the host's pid namespace, where nobody inside sees it.) It does not go to the caller's working directory, whose
    /// filesystem may be one that answers no more, but stands in the root.
    pub(super) fn enter(&self) -> Result<()> {
        let root = self.link("root")?;
        self.still_waits()?;
        self.take_ids()?;
        let stands = stand(&root);
        move_into_link_name_space(self.user.as_fd(), Some(LinkNameSpaceType::User))?;
        if stands.is_err() {
            // A FUSE filesystem lets in whoever is in the user namespace of its owner, and not even the host's root besides
            // (`fuse_allow_current_process()` of fs/fuse/dir.c).
            stand(&root)?;
        }
        let effective = CapabilitySet::from_bits_retain(self.status.effective);
        let sets = CapabilitySets { effective, permitted: effective, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)?;
        // A change of ids has set both anew: to `fs.suid_dumpable`, and to nothing.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
    }

    /// Takes all of its ids, for FUSE compares the three, too; keeps the capabilities of before.
    fn take_ids(&self) -> Result<()> {
        let Status { uid, gid, uids, gids, groups, .. } = &self.status;
        // The first keeps the capabilities over the change of the others, which changes the filesystem ids.
        userns::creds::take(*uid, *gid)?;
        let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
        rustix::thread::set_thread_groups(&groups)?;
        let ([real, effective, saved], of_users) = (gids.map(Gid::from_raw), uids.map(Uid::from_raw));
        rustix::thread::set_thread_res_gid(real, effective, saved)?;
        let [real, effective, saved] = of_users;
        rustix::thread::set_thread_res_uid(real, effective, saved)?;
        userns::creds::take(*uid, *gid)
    }

    /// Whether it has been in its call all the time. A process keeps its id, and thereby the directory in procfs, when
    /// another of its threads executes a program (`de_thread()` of fs/exec.c): what stands there then are the rights of
    /// that program, which may be set-user-ID. But before that the call has ended.
    fn still_waits(&self) -> Result<()> {
        let mut answer = [0_u8; 1];
        send(&self.supervisor, QUESTION, SendFlags::NOSIGNAL)?;
        match rustix::io::retry_on_intr(|| recv(&self.supervisor, &mut answer, RecvFlags::empty()))? {
            (_, 1) if answer == *YES => Ok(()),
            _ => Err(Errno::SRCH),
        }
    }

    /// A group of its user namespace as the host counts; all ones, which is no group, where there is none.
    pub(super) fn host_group(&self, group: u32) -> Result<u32> {
        let map = String::from_utf8_lossy(&read(self.dir.as_fd(), "gid_map")?).into_owned();
        let numbers = |line: &str| line.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u32>>();
        let host = map.lines().find_map(|line| match *numbers(line).as_slice() {
            [inside, host, size] if group.checked_sub(inside)? < size => host.checked_add(group - inside),
            _ => None,
        });
        Ok(host.unwrap_or(u32::MAX))
    }
}

impl Status {
    /// That of the thread whose directory `dir` is.
    pub(crate) fn of(dir: BorrowedFd<'_>) -> Result<Self> {
        std::str::from_utf8(&read(dir, "status")?).ok().and_then(Self::parse).ok_or(Errno::SRCH)
    }

    fn parse(text: &str) -> Option<Self> {
        let words = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|line| line.split_whitespace().collect::<Vec<_>>())
        };
        let last = |name: &str| words(name)?.last().copied();
        let number = |name: &str| last(name)?.parse().ok();
        let three = |name: &str| {
            let numbers: Vec<u32> = words(name)?.iter().filter_map(|word| word.parse().ok()).collect();
            numbers.first_chunk().copied()
        };
        Some(Self {
            uid: number("Uid")?,
            gid: number("Gid")?,
            uids: three("Uid")?,
            gids: three("Gid")?,
            groups: words("Groups")?.into_iter().filter_map(|group| group.parse().ok()).collect(),
            effective: u64::from_str_radix(last("CapEff")?, 16).ok()?,
            umask: u32::from_str_radix(last("Umask")?, 8).ok()?,
            tgid: number("NStgid")?,
            tid: number("NSpid")?,
        })
    }
}

pub(super) fn stand(root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")
}

pub(crate) fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
}

/// A whole file.
pub(crate) fn read(dir: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>> {
    read_all(&open(dir, name, OFlags::RDONLY)?)
}

/// The most that is read of a file. A hundred thousand mounts (`fs.mount-max`) have room, but not at places as deep as a container can
/// make them: the memory is the host's.
const MOST_TEXT: usize = 32 << 20;

/// A whole file from where it stands: a read of procfs gives a page at most. ENOMEM where that is too much.
pub(super) fn read_all(file: &OwnedFd) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer))? {
            0 => return Ok(text),
            _ if text.len() >= MOST_TEXT => return Err(Errno::NOMEM),
            length => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Whether both are the same namespace.
pub(crate) fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_its_names() {
        let text = "Name:\tx\nUmask:\t0027\nUid:\t1 2 3 4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nNStgid:\t300\t7\nNSpid:\t301\t8\n\
                    CapPrm:\tff\nCapEff:\t0000000000200000\n";
        let status = Status::parse(text).unwrap();
        let (uids, gids) = ([1, 2, 3], [5, 6, 7]);
        let (groups, effective, umask) = (vec![9, 10], 1 << 21, 0o27);
        let expected = Status { uid: 4, gid: 8, uids, gids, groups, effective, umask, tgid: 7, tid: 8 };
        assert_eq!(status, expected);
        assert_eq!(Status::parse(&text.replace("Groups:\t9 10 ", "Groups:\t ")).unwrap().groups, Vec::<u32>::new());
        // A thread that has just ended has no files and no umask.
        assert_eq!(Status::parse(&text.replace("Umask:\t0027\n", "")), None);
    }
}
