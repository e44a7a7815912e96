//! What the files of a group held before an update, so that an update that fails changes nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::tree;

/// What was written over, in that order.
#[derive(Debug, Default)]
pub(super) struct Journal(Vec<Former>);

#[derive(Debug)]
struct Former {
    group: OwnedFd,
    file: String,
    content: String,
}

impl Journal {
    /// What would have to be written to `file` to undo a write of `content`; none where nothing does.
    pub(super) fn look(group: BorrowedFd<'_>, file: &str, content: &str) -> Option<String> {
        former(&tree::read(group, file).ok()?, file, content)
    }

    /// Notes what was written over.
    pub(super) fn keep(&mut self, group: BorrowedFd<'_>, file: &str, content: String) {
        if let Ok(group) = group.try_clone_to_owned() {
            self.0.push(Former { group, file: file.to_owned(), content });
        }
    }

    /// Puts everything back, the last first; what the kernel refuses is tried again after the others.
    pub(super) fn undo(self) {
        let mut waiting: Vec<Former> = self.0.into_iter().rev().collect();
        loop {
            let before = waiting.len();
            let mut last = Errno::INVAL;
            waiting.retain(|it| match tree::write(it.group.as_fd(), &it.file, &it.content) {
                Ok(()) => false,
                Err(errno) => {
                    last = errno;
                    true
                }
            });
            if waiting.is_empty() {
                return;
            }
            if waiting.len() == before {
                for Former { file, content, .. } in &waiting {
                    log::warn!("an update that failed leaves {file} changed, which was {content:?}: {last}");
                }
                return;
            }
        }
    }
}

/// Most files read as they are written. Those with a line for each device are written a line at a time, and there is a
/// word for a device that had none.
fn former(text: &str, file: &str, content: &str) -> Option<String> {
    let key = content.split_once(' ').map(|(key, _)| key);
    let line = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key)).map(str::to_owned);
    let none = |key: &str| {
        let word = match file {
            "io.max" => "rbps=max wbps=max riops=max wiops=max",
            "io.weight" | "io.bfq.weight" | "blkio.bfq.weight_device" => "default",
            "rdma.max" => "hca_handle=max hca_object=max",
            _ if file.starts_with("blkio.throttle.") => "0",
            _ => return None,
        };
        Some(format!("{key} {word}"))
    };
    match (file.split('.').next(), key) {
        (Some("io" | "blkio" | "rdma" | "net_prio"), Some(key)) => line(key).or_else(|| none(key)),
        (Some("io"), None) => line("default"),
        _ if file == "memory.oom_control" => {
            line("oom_kill_disable").and_then(|line| line.split(' ').nth(1).map(str::to_owned))
        }
        // A write of nothing is none; a line break empties a list.
        _ if text.trim().is_empty() => Some("\n".to_owned()),
        _ => Some(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_what_is_written_back() {
        for (file, text, content, expected) in [
            ("memory.max", "max\n", "5", Some("max")),
            ("cpu.max", "50000 100000\n", "1000 100000", Some("50000 100000")),
            ("cpuset.cpus", "\n", "0", Some("\n")),
            ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "0", Some("1")),
            (
                "io.max",
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 rbps=2",
                Some("8:0 rbps=1 wbps=max riops=max wiops=max"),
            ),
            ("io.max", "8:1 rbps=1\n", "8:0 rbps=2", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            ("io.bfq.weight", "default 100\n8:0 7\n", "200", Some("default 100")),
            ("io.bfq.weight", "default 100\n8:0 7\n", "8:0 9", Some("8:0 7")),
            ("io.weight", "default 100\n", "8:0 9", Some("8:0 default")),
            ("blkio.throttle.read_bps_device", "", "8:0 9", Some("8:0 0")),
            ("blkio.throttle.read_bps_device", "8:0 5\n", "8:0 9", Some("8:0 5")),
            ("blkio.bfq.weight", "100\n", "200", Some("100")),
            ("rdma.max", "", "mlx4_0 hca_handle=1", Some("mlx4_0 hca_handle=max hca_object=max")),
            ("net_prio.ifpriomap", "lo 0\neth0 3\n", "eth0 5", Some("eth0 3")),
            ("net_prio.ifpriomap", "lo 0\n", "eth0 5", None),
        ] {
            assert_eq!(former(text, file, content).as_deref(), expected, "{file}: {content}");
        }
    }

    #[test]
    fn everything_is_put_back_whatever_the_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let group = tree::open(dir.path()).expect("a group");
        let mut journal = Journal::default();
        for (file, before, after) in [("a", "1", "2"), ("b", "3", "4"), ("a", "2", "5")] {
            std::fs::write(dir.path().join(file), before).expect("a file");
            let former = Journal::look(group.as_fd(), file, after).expect("what was there");
            tree::write(group.as_fd(), file, after).expect("a write");
            journal.keep(group.as_fd(), file, former);
        }
        journal.undo();
        let text = |file| std::fs::read_to_string(dir.path().join(file)).expect("a file");
        assert_eq!((text("a").as_str(), text("b").as_str()), ("1", "3"));
    }
}
