//! What a machine has of everything that a container could leave behind.

use std::collections::BTreeSet;
use std::path::Path;

/// The things of one moment, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    things: BTreeSet<String>,
}

impl Machine {
    /// Looks at mounts, cgroups, files in /run, namespaces and processes.
    ///
    /// What looking itself makes (this thread, kernel threads) is left out.
    pub fn now() -> Self {
        let mut things = BTreeSet::new();
        for line in std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines() {
            // Without its ids, which are given anew.
            let rest: Vec<&str> = line.split(' ').skip(2).collect();
            things.insert(format!("mount {}", rest.join(" ")));
        }
        walk(Path::new("/sys/fs/cgroup"), &mut |path, is_dir| {
            if is_dir {
                things.insert(format!("cgroup {}", path.display()));
            }
        });
        walk(Path::new("/run"), &mut |path, _| {
            things.insert(format!("file {}", path.display()));
        });
        for (kind, inode) in namespaces() {
            things.insert(format!("namespace {kind} {inode}"));
        }
        for pid in pids() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            things.insert(format!("process {pid} {}", name.trim()));
        }
        Self { things }
    }

    /// What is there now and was not before. A lease whose container is gone counts as gone: the next look at the leases
    /// removes it, and here it is `ranges` that looks.
    pub fn since(&self) -> Vec<String> {
        let ranges = std::process::Command::new(crate::place::shim()).arg("ranges").output().expect("ranges");
        assert!(ranges.status.success(), "ranges");
        let mut new: Vec<String> = Self::now().things.difference(&self.things).cloned().collect();
        new.retain(|thing| !is_fixed(thing));
        new
    }
}

/// What stays by design: the directories of state, and the lock that guards the leases.
fn is_fixed(thing: &str) -> bool {
    ["file /run/eci", "file /run/eci/ranges", "file /run/eci/ranges/lock", "file /run/eci/s"].contains(&thing)
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The namespaces that some process is in.
fn namespaces() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for pid in pids() {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/ns")) else { continue };
        for entry in entries.flatten() {
            if let Ok(target) = std::fs::read_link(entry.path()) {
                let kind = entry.file_name().to_string_lossy().into_owned();
                found.insert((kind, target.display().to_string()));
            }
        }
    }
    found
}

fn walk(dir: &Path, see: &mut impl FnMut(&Path, bool)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        see(&entry.path(), is_dir);
        if is_dir {
            walk(&entry.path(), see);
        }
    }
}
