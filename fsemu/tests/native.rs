//! Which files the kernel keeps apart itself: a user namespace with namespaces of its own, as a container has, against the
//! table. Needs root.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml's leave for tests does not reach their helpers"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fsemu::table::{Kind, Node, nodes};

/// The host id of the container's root.
const ROOT: u32 = 1_000_000;

/// A process in namespaces of its own, killed at the end.
struct Container(Child);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Container {
    /// Its namespaces, once the maps are written. `cat` lives for as long as this process holds its input.
    fn new() -> Self {
        let unshare = ["--user", "--net", "--ipc", "--uts", "--mount", "--pid", "--fork", "--kill-child", "cat"];
        let child = Command::new("unshare").args(unshare).stdin(Stdio::piped()).spawn().expect("unshare");
        let own = |path: String| std::fs::read_link(path).expect("a namespace");
        let start = Instant::now();
        while own(format!("/proc/{}/ns/user", child.id())) == own("/proc/self/ns/user".into()) {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", child.id()), format!("0 {ROOT} 65536")).expect(map);
        }
        Self(child)
    }

    /// The pid of init, once there is one.
    fn init(&self) -> String {
        let start = Instant::now();
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        loop {
            let pid = std::fs::read_to_string(&children).expect("children").trim().to_owned();
            if !pid.is_empty() {
                return pid;
            }
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a script prints that runs as its root, with a procfs of its own, and gets `input`.
    fn run(&self, script: &str, input: &str) -> String {
        let namespaces = ["--user", "--net", "--ipc", "--uts", "--mount", "--pid"];
        let mut child = Command::new("nsenter")
            .args(["--target", &self.init()])
            .args(namespaces)
            .args(["sh", "-c", &format!("mount -t proc proc /proc && mount -t sysfs sysfs /sys && {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the input");
        let output = child.wait_with_output().expect("the output");
        assert!(output.status.success(), "{:?}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

/// docs/emulation.md.
const DOCUMENTATION: &str = include_str!("../../docs/emulation.md");

/// Path, owner as the container sees it, mode, whether it opens for writing; only what is there.
const PROBE: &str = r#"while read path; do
    [ -e "$path" ] || continue
    if (: >> "$path") 2>/dev/null; then opens=yes; else opens=no; fi
    echo "$path $(stat -c '%u %a' "$path") $opens"
done"#;

fn probe(paths: &[&str]) -> BTreeMap<String, (bool, u32, bool)> {
    probed(&Container::new().run(PROBE, &(paths.join("\n") + "\n")))
}

/// The answers of [`PROBE`].
fn probed(answers: &str) -> BTreeMap<String, (bool, u32, bool)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [path, owner, mode, opens] = words[..] else { panic!("{line}") };
        (path.to_owned(), (owner == "0", u32::from_str_radix(mode, 8).expect(mode), opens == "yes"))
    };
    answers.lines().map(line).collect()
}

#[test]
fn the_hook_tells_what_the_kernel_lets_the_container_write() {
    let kept = || nodes().filter(|node| matches!(node.kind, Kind::Kept(_)) && node.path.starts_with("/proc/"));
    let paths: Vec<&str> = kept().map(|node| node.path).collect();
    let found = probe(&paths);
    assert!(found.len() > 30, "{found:?}");
    for node in kept() {
        let Some((root, mode, opens)) = found.get(node.path) else { continue };
        let owner = if *root { ROOT } else { 0 };
        assert_eq!(node.is_native(owner, *mode, ROOT), *opens, "{} {root} {mode:o}", node.path);
        // Moved from kernel to kernel so far: kernel.pid_max, to pid namespaces.
        assert!(!*opens || node.path == "/proc/sys/kernel/pid_max", "{} has no need of a row", node.path);
    }
    // The near miss: files of the container's own, of which the hook would say so.
    let (first, own) = (kept().next().expect("a row"), ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmax"]);
    for (path, (root, mode, opens)) in probe(&own) {
        let owner = if root { ROOT } else { 0 };
        assert!(opens && Node { path: own[0], ..*first }.is_native(owner, mode, ROOT), "{path} {mode:o}");
    }
}

/// What of `net` is for nobody to write, as docs/emulation.md lists it.
fn read_only_for_everybody() -> Vec<&'static str> {
    let (_, list) = DOCUMENTATION.split_once("these are for nobody to write").expect("the list");
    let list = list.split("\n* ").next().unwrap_or(list);
    list.split('`').filter(|word| word.starts_with("/proc/sys/net/")).collect()
}

/// Whether a path is one of a pattern's, in which a `*` stands for any run of characters in one component.
fn is_of(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            let component = path.find('/').unwrap_or(path.len());
            (0..=component).any(|end| path.is_char_boundary(end) && is_of(rest, &path[end..]))
        }),
    }
}

/// A new kernel's file of the network that a container sees, and only the host may write, wants a row.
#[test]
fn what_a_network_namespace_shows_and_cannot_write_has_a_row() {
    let found = probed(&Container::new().run(&format!("find /proc/sys/net -type f | {PROBE}"), ""));
    assert!(found.len() > 300, "{found:?}");
    let (nobodys, mut with_row) = (read_only_for_everybody(), 0);
    for (path, (_, mode, _)) in found.iter().filter(|(_, (_, _, opens))| !opens) {
        assert_eq!(mode & 0o222, 0, "{path}");
        let has_row = nodes().any(|node| node.path == path);
        let documented = nobodys.iter().any(|pattern| is_of(pattern, path));
        assert!(
            has_row != documented,
            "{path}: a row {has_row}, in the list of those for nobody to write {documented}"
        );
        with_row += usize::from(has_row);
    }
    assert!(with_row >= 5, "{with_row}");
    // The list is of what the first network namespace has read-only, too: where this test is in it, its root tells.
    let of_the_list = found.keys().filter(|path| nobodys.iter().any(|pattern| is_of(pattern, path)));
    for path in of_the_list {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect(path).permissions());
        assert_eq!(mode & 0o222, 0, "{path}");
    }
    assert!(is_of("/a/*/c*", "/a/bb/cc") && !is_of("/a/*/c", "/a/b/b/c") && !is_of("/a/*", "/a/b/c"));
}

/// What is in a directory that is bound as a whole would be hidden if a namespace had it.
#[test]
fn no_namespace_has_anything_in_a_directory_that_is_one_mount() {
    let directories = nodes().filter(|node| matches!(node.kind, Kind::Mirror(mirror) if mirror.native));
    let entries = directories.flat_map(|node| std::fs::read_dir(node.path).into_iter().flatten());
    let paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    let paths: Vec<_> = paths.iter().filter_map(|path| path.to_str()).collect();
    let found = probe(&paths);
    assert!(found.len() > 30 && found.len() == paths.len(), "{found:?}");
    for (path, (root, _, opens)) in found {
        // The kernel lets anybody set triggers.
        assert!(!root && (!opens || path.starts_with("/proc/pressure/")), "{path}");
    }
}

/// The list of docs/emulation.md: the kernel refuses these itself, since the host's root owns them.
#[test]
fn the_kernel_refuses_what_would_act_on_the_host() {
    let (_, section) = DOCUMENTATION.split_once("\n## What refuses\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let paths: Vec<&str> = section.split('`').filter(|word| word.starts_with('/') && !word.contains('*')).collect();
    assert!(paths.len() > 15, "{paths:?}");
    let found = probe(&paths);
    assert!(found.len() > 8, "{found:?}");
    for (path, (_, mode, opens)) in found {
        assert!(!opens, "{path} {mode:o}");
    }
}

/// The last list of docs/emulation.md: a file that is not there is nobody's to emulate.
#[test]
fn what_only_the_first_network_namespace_shows_has_no_row() {
    let absent = [
        "core/default_qdisc",
        "core/netdev_max_backlog",
        "core/dev_weight",
        "ipv4/neigh/default/gc_thresh1",
        "ipv4/tcp_mem",
        "ipv4/udp_mem",
        "nf_conntrack_max",
    ]
    .map(|name| format!("/proc/sys/net/{name}"));
    let near = "/proc/sys/net/core/somaxconn";
    let mut asked: Vec<&str> = absent.iter().map(String::as_str).collect();
    assert!(!nodes().any(|node| asked.contains(&node.path)));
    asked.push(near);
    let found = probe(&asked);
    assert!(found.keys().all(|path| path == near), "{found:?}");
}

/// The kernel's own sysfs has them empty: what the host mounts there is not part of it.
#[test]
fn the_mount_points_of_a_fresh_sysfs_are_empty() {
    let places = ["config", "debug", "tracing", "security"].map(|name| format!("/sys/kernel/{name}"));
    let script = "while read place; do [ ! -d $place ] || echo $place $(ls -A $place | wc -l); done";
    let answers = Container::new().run(script, &(places.join("\n") + "\n"));
    let there = places.iter().filter(|place| Path::new(place).is_dir());
    assert_eq!(answers, there.map(|place| format!("{place} 0\n")).collect::<String>());
    assert!(!answers.is_empty());
}
