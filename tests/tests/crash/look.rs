//! What a test sees from outside: processes, cgroups, leases.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Bundle, place, until};

/// The failpoints, read from the table that the shim is built with: no second list can go stale.
pub(crate) fn failpoints() -> Vec<&'static str> {
    let source = include_str!("../../../shim/src/failpoint.rs");
    let (_, table) = source.split_once("NAMES: [").expect("the table");
    let (table, _) = table.split_once("];").expect("the table's end");
    let names: Vec<_> = table.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// State and parent of a process (proc_pid_stat(5)).
pub(crate) fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub(crate) fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process, zombies too.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    pids().into_iter().filter(|pid| stat(*pid).is_some_and(|(_, its)| its == parent)).collect()
}

pub(crate) async fn gone(pid: u32) {
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let ended = || stat(pid).is_none_or(|(state, _)| state == 'Z') && threads() <= 1;
    until(&format!("the end of process {pid}"), ended).await;
}

pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("kill");
}

/// The processes that live in user namespaces, each with the first of its host ids.
pub(crate) fn living_bases() -> Vec<(u32, u32)> {
    let base = |pid: u32| {
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
        map.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids().into_iter().filter_map(|pid| Some((pid, base(pid)?))).filter(|(_, base)| *base != 0).collect()
}

/// The lines of `ranges` that speak of a container.
pub(crate) fn ranges_of(id: &str) -> Vec<String> {
    let output = Command::new(place::shim()).arg("ranges").output().expect("ranges");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| line.split_whitespace().any(|word| word == id)).map(str::to_owned).collect()
}

/// What is left of a container besides its layer: its cgroups and its state file.
pub(crate) fn left_of(bundle: &Bundle) -> Vec<PathBuf> {
    let mut found = cgroups_of(&bundle.id);
    found.extend(["eci.json", "eci.json.new"].map(|name| bundle.dir.join(name)).into_iter().filter(|it| it.exists()));
    found
}

/// The cgroups of a container, in every hierarchy.
pub(crate) fn cgroups_of(id: &str) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten().map(|entry| entry.path());
    let tops = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
    tops.map(|top| top.join("eci-tests").join(id)).filter(|path| path.exists()).collect()
}

/// The processes in a container's cgroups.
pub(crate) fn processes_of(id: &str) -> Vec<u32> {
    let read = |dir: &PathBuf| std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    cgroups_of(id)
        .iter()
        .flat_map(|dir| read(dir).lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The verb `delete`, which must succeed, twice.
pub(crate) fn delete_twice(bundle: &Bundle) {
    for _ in 0..2 {
        let output = tests::shim::call_delete(&bundle.dir, &bundle.id);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.is_empty(), "delete: {text}");
        assert!(!output.stdout.is_empty(), "an answer");
    }
    assert_eq!(left_of(bundle), Vec::<PathBuf>::new());
}

/// Removes a container's writable layer, as an engine does.
pub(crate) fn remove_layer(bundle: &Bundle) {
    for name in ["upper", "work"] {
        std::fs::remove_dir_all(bundle.dir.join(name)).expect("the layer");
    }
}

/// Whether a path is that of a socket's file that is gone.
pub(crate) fn is_gone(path: &Path) -> bool {
    !path.exists()
}
