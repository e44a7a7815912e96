//! Terminals: always a pair of the container's own devpts, opened by descriptor (CVE-2025-52565: a path to `/dev/pts/N`
//! or `/dev/console` could be swapped).

use std::os::fd::{BorrowedFd, OwnedFd};

use policy::plan::ContainerPath;
use rustix::fs::{Mode, OFlags, ResolveFlags, Uid, openat2};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use userns::tree::Tree;

use super::message::{ExecOrder, Failure};

/// Magic of fstatfs(2) for devpts (linux/magic.h).
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// A pseudoterminal pair.
pub(super) struct Terminal {
    /// The engine's side.
    pub(super) master: OwnedFd,
    /// The process's side.
    pub(super) slave: OwnedFd,
}

/// Opens a pair of the devpts instance mounted at `devpts`, with `size` in columns and rows.
///
/// What the container has mounted over the multiplexor is none, though it may pass for one: a file of a filesystem that it serves
/// itself does every ioctl(2), and holds up for good whoever then reads, polls or only closes it: the shim.
#[expect(clippy::disallowed_methods, reason = "one name below a descriptor, and nothing mounted there")]
pub(super) fn open(devpts: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Result<Terminal, Failure> {
    let at = |step| Failure::at::<rustix::io::Errno>(step, "a terminal");
    let magic = rustix::fs::fstatfs(devpts).map_err(at("open"))?.f_type;
    if magic != DEVPTS_SUPER_MAGIC {
        return Err(Failure::line("open a terminal: /dev/pts is not a devpts"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = match openat2(devpts, "ptmx", flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        Err(Errno::XDEV) => return Err(Failure::line("open a terminal: something is mounted over /dev/pts/ptmx")),
        master => master.map_err(at("open"))?,
    };
    rustix::pty::unlockpt(&master).map_err(at("unlock"))?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .map_err(at("open the slave side of"))?;
    if let Some((columns, rows)) = size {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).map_err(at("set the size of"))?;
    }
    Ok(Terminal { master, slave })
}

/// Opens a pair inside a running container, whose namespaces the caller has joined. A devpts that the container has put
/// in place of the first one is its own business.
pub(super) fn of_container(order: &ExecOrder) -> Result<Terminal, Failure> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at("open", "the container's root"))?;
    let path = ContainerPath::parse("/dev/pts").map_err(|reason| Failure::line(format!("/dev/pts {reason}")))?;
    let devpts = Tree::new(root).open(&path)?;
    let terminal = open(devpts.fd(), order.process.console_size)?;
    // Both ids are the container's here: this process lives in its user namespace.
    rustix::fs::fchown(&terminal.slave, Some(Uid::from_raw(order.process.uid)), None)
        .map_err(Failure::at("change the owner of", "the terminal"))?;
    Ok(terminal)
}
