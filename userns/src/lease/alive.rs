//! Whether a process of a container lives, told without its shim.
//!
//! Everything that is not a certain "no" is a "yes": a range is given away only on proof.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::{ProcessId, UsernsId};

/// How many groups of a tree are looked at before it counts as alive. A container can make very many cgroups, and the
/// allocation lock is held meanwhile.
const MOST_CGROUPS: usize = 10_000;

impl ProcessId {
    /// The process that has `pid` now.
    ///
    /// # Errors
    /// It does not exist, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = stat_of(pid)?;
        Ok(Self { pid, start: stat.start })
    }

    /// Whether it still runs. A zombie without other threads runs no more.
    pub fn is_alive(self) -> bool {
        match stat_of(self.pid) {
            Ok(stat) => stat.start == self.start && (!stat.dead || stat.threads > 1),
            Err(error) => !is_absent(&error),
        }
    }
}

struct Stat {
    dead: bool,
    threads: u64,
    start: u64,
}

fn stat_of(pid: u32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected content"))
}

/// proc_pid_stat(5). The second field is the command's name in parentheses, which may itself hold any byte: the fields
/// are counted from the last parenthesis.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
        threads: fields.get(17)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// The user namespace that a process is in.
pub(super) fn userns_of(pid: u32) -> io::Result<UsernsId> {
    let stat = rustix::fs::stat(format!("/proc/{pid}/ns/user"))?;
    Ok(UsernsId { dev: stat.st_dev, ino: stat.st_ino })
}

/// Whether a process is in one of the cgroups or below.
pub(super) fn any_in_cgroups(cgroups: &[PathBuf]) -> bool {
    cgroups.iter().any(|path| is_populated(path))
}

fn is_populated(cgroup: &Path) -> bool {
    // cgroup v2 counts the whole tree below itself.
    match fs::read_to_string(cgroup.join("cgroup.events")) {
        Ok(events) => !events.lines().any(|line| line == "populated 0"),
        Err(error) if is_absent(&error) => walk(cgroup),
        Err(_) => true,
    }
}

fn walk(top: &Path) -> bool {
    let mut looked_at = 0;
    let mut open = vec![top.to_owned()];
    while let Some(cgroup) = open.pop() {
        looked_at += 1;
        if looked_at > MOST_CGROUPS {
            return true;
        }
        match fs::read(cgroup.join("cgroup.procs")) {
            Ok(pids) if pids.is_empty() => {}
            Err(error) if is_absent(&error) => {}
            Ok(_) | Err(_) => return true,
        }
        match children(&cgroup) {
            Ok(children) => open.extend(children),
            Err(error) if is_absent(&error) => {}
            Err(_) => return true,
        }
    }
    false
}

fn children(cgroup: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A removed cgroup answers ENODEV, a dying process ESRCH.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{any_in_cgroups, parse_stat};

    #[test]
    fn any_command_name_is_read_over() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 3 0 4242 0 0";
        for name in ["sleep", ") Z 0 (", "a b\n) R 1", "\u{fffd}"] {
            let stat = parse_stat(format!("12 ({name}) {tail}").as_bytes()).expect("a stat line");
            assert_eq!((stat.dead, stat.threads, stat.start), (false, 3, 4242), "{name:?}");
        }
        assert!(parse_stat(b"12 (sleep) S 1").is_none() && parse_stat(b"").is_none());
    }

    #[test]
    fn a_tree_of_v1_groups_is_walked() {
        let temp = tempfile::tempdir().expect("a directory");
        let top = temp.path().join("c1");
        let leaf = top.join("a/b");
        fs::create_dir_all(&leaf).expect("mkdir");
        for group in [&top, &top.join("a"), &leaf] {
            fs::write(group.join("cgroup.procs"), "").expect("write");
        }
        let groups = [temp.path().join("removed"), top];
        assert!(!any_in_cgroups(&groups));
        fs::write(leaf.join("cgroup.procs"), "12\n").expect("write");
        assert!(any_in_cgroups(&groups) && !any_in_cgroups(&groups[..1]) && !any_in_cgroups(&[]));
    }

    #[test]
    fn a_v2_group_knows_of_its_children() {
        let temp = tempfile::tempdir().expect("a directory");
        let events = temp.path().join("cgroup.events");
        let groups = [temp.path().to_owned()];
        fs::write(&events, "populated 1\nfrozen 0\n").expect("write");
        assert!(any_in_cgroups(&groups));
        fs::write(&events, "populated 0\nfrozen 0\n").expect("write");
        assert!(!any_in_cgroups(&groups));
        fs::write(&events, "").expect("write");
        assert!(any_in_cgroups(&groups), "what is not understood counts as alive");
    }
}
