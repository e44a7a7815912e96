//! Open-file-description locks (fcntl(2)): they belong to the open file, not to the process, so that two containers of
//! one shim exclude each other like two shims do, and a process that inherits the descriptor inherits the lock.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Takes the lock, waiting for it. The file must be open for writing.
pub(super) fn wait(file: impl AsFd) -> io::Result<()> {
    let lock = whole_file(libc::F_WRLCK);
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&lock)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the lock of a file that nobody else has. The file must be open for writing.
pub(super) fn take(file: impl AsFd) -> io::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))?;
    Ok(())
}

/// Gives the lock up, for every descriptor of this open file.
pub(super) fn give_up(file: impl AsFd) -> io::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

/// Whether somebody holds the lock through another open file; takes nothing itself.
pub(super) fn is_held(file: impl AsFd) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // Must be 0 for the F_OFD commands.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{give_up, is_held, take};

    #[test]
    fn a_lock_belongs_to_the_open_file_and_its_duplicates() {
        let temp = tempfile::NamedTempFile::new().expect("a file");
        let mine = temp.reopen().expect("open");
        let other = std::fs::File::open(temp.path()).expect("open");
        assert!(!is_held(&other).expect("getlk"));
        take(&mine).expect("the lock");
        assert!(is_held(&other).expect("getlk") && !is_held(&mine).expect("getlk"));
        assert!(take(temp.reopen().expect("open")).is_err(), "the lock is exclusive within one process");
        let inherited = mine.try_clone().expect("dup");
        drop(mine);
        assert!(is_held(&other).expect("getlk"), "a duplicate keeps the lock");
        give_up(&inherited).expect("unlock");
        assert!(!is_held(&other).expect("getlk"));
    }
}
