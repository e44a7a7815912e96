use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::fixture::{emulation, write};

fn of(_: &Emulation) -> io::Result<BTreeSet<u32>> {
    Ok(BTreeSet::from([0, 2]))
}

const MIRROR: Mirror = Mirror {
    shows: |_, path| !path.split('/').any(|name| name == "cpu1"),
    files: &[
        ("online", Text::List(of)),
        ("offline", Text::Made(|_| Ok(b"made\n".to_vec()))),
        ("cpu*/topology/*_list", Text::List(of)),
        ("cpu*/topology/mask", Text::Map(of)),
    ],
    native: false,
    by_groups: true,
};

/// A tree with all that is awkward.
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
fn tree() -> (TempDir, MirrorNode, Emulation) {
    let tree = tempfile::tempdir().expect("a directory");
    let at = |name: &str| tree.path().join(name);
    for name in ["cpu0/topology", "cpu1/topology", "cpu2/cpu1", "private"] {
        std::fs::create_dir_all(at(name)).expect(name);
    }
    for (name, text) in [
        ("online", "0-7\n"),
        ("offline", "8\n"),
        ("uevent", "same\n"),
        ("secret", "secret\n"),
        ("cpu0/topology/core_list", "1-2\n"),
        ("cpu0/topology/mask", "ff\n"),
        ("cpu1/topology/core_list", "1\n"),
        ("cpu2/cpu1/x", "x\n"),
    ] {
        write(tree.path(), name, text);
    }
    for (name, mode) in [("online", 0o644), ("secret", 0o440), ("private", 0o700), ("cpu0", 0o755)] {
        std::fs::set_permissions(at(name), Permissions::from_mode(mode)).expect(name);
    }
    for (link, target) in [("out", "/etc"), ("up", "../.."), ("in", "cpu1"), ("file", "secret")] {
        std::os::unix::fs::symlink(target, at(link)).expect(link);
    }
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::from(0o644), 0).expect("a pipe");
    let node = MirrorNode::open(tree.path(), MIRROR).expect("the tree");
    let emulation = emulation(tree.path(), tree.path());
    (tree, node, emulation)
}

fn errno<T: std::fmt::Debug>(outcome: io::Result<T>) -> Errno {
    Errno::from_io_error(&outcome.expect_err("refused")).expect("an errno")
}

#[test]
fn entries_show_through_the_filter() {
    let (_tree, node, emulation) = tree();
    let names = |path: &str| {
        let mut all: Vec<_> = node.list(&emulation, Path::new(path)).expect(path);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.into_iter().map(|entry| (entry.name.into_string().expect("a name"), entry.mode)).collect::<Vec<_>>()
    };
    let expected = [
        ("cpu0", 0o555),
        ("cpu2", 0o555),
        ("file", 0o777),
        ("in", 0o777),
        ("offline", 0o444),
        ("online", 0o444),
        ("out", 0o777),
        ("private", 0),
        ("secret", 0),
        ("uevent", 0o444),
        ("up", 0o777),
    ];
    assert_eq!(names(""), expected.map(|(name, mode)| (name.to_owned(), mode)));
    assert_eq!(names("cpu2"), []);
    let root = node.lookup(&emulation, Path::new(""), OsStr::new("")).expect("the root").expect("the root");
    assert_eq!(root.kind, FileType::Directory);
    let found = |parent: &str, name: &str| node.lookup(&emulation, Path::new(parent), OsStr::new(name)).expect(name);
    assert_eq!(found("", "online").map(|entry| (entry.kind, entry.mode)), Some((FileType::RegularFile, 0o444)));
    assert_eq!(found("cpu0", "topology").map(|entry| entry.kind), Some(FileType::Directory));
    for (parent, name) in
        [("", "cpu1"), ("cpu1", "topology"), ("cpu2", "cpu1"), ("", "none"), ("", "pipe"), ("online", "x")]
    {
        assert_eq!(found(parent, name), None, "{parent} {name}");
    }
}

#[test]
fn texts_are_the_hosts_or_cut() {
    let (_tree, node, emulation) = tree();
    let read = |path: &str| String::from_utf8(node.read(&emulation, Path::new(path)).expect(path)).expect(path);
    for (path, text) in [
        ("uevent", "same\n"),
        ("online", "0,2\n"),
        ("offline", "made\n"),
        ("cpu0/topology/core_list", "2\n"),
        ("cpu0/topology/mask", "05\n"),
    ] {
        assert_eq!(read(path), text, "{path}");
    }
    let refused = |path: &str| errno(node.read(&emulation, Path::new(path)));
    assert_eq!(refused("secret"), Errno::ACCESS, "the server could read it, nobody else");
    assert_eq!(refused("cpu0"), Errno::ISDIR);
    for path in ["cpu1/topology/core_list", "cpu2/cpu1/x", "none", "pipe"] {
        assert_eq!(refused(path), Errno::NOENT, "{path}");
    }
    assert_eq!(errno(node.list(&emulation, Path::new("private"))), Errno::ACCESS);
}

#[test]
fn nothing_leads_out() {
    let (_tree, node, emulation) = tree();
    for path in
        ["out/passwd", "up", "in/topology/core_list", "file", "../x", "/etc/passwd", "cpu0/../secret", "./online"]
    {
        assert!(node.read(&emulation, Path::new(path)).is_err(), "{path}");
    }
    assert!(node.list(&emulation, Path::new("out")).is_err());
    assert!(node.list(&emulation, Path::new("..")).is_err());
    assert_eq!(node.readlink(&emulation, Path::new("out")).expect("a link"), Path::new("/etc"));
    assert_eq!(node.readlink(&emulation, Path::new("in")).expect("a link"), Path::new("cpu1"));
    assert_eq!(errno(node.readlink(&emulation, Path::new("online"))), Errno::INVAL);
    assert_eq!(errno(node.readlink(&emulation, Path::new("cpu1"))), Errno::NOENT);
}

#[test]
fn no_other_filesystem_shows() {
    let emulation = emulation(Path::new("/sys"), Path::new("/sys"));
    let all =
        MirrorNode::open(Path::new("/"), Mirror { shows: |_, _| true, files: &[], native: false, by_groups: true })
            .expect("/");
    assert!(all.lookup(&emulation, Path::new(""), OsStr::new("proc")).is_err());
    assert!(all.read(&emulation, Path::new("proc/uptime")).is_err());
    let bound = MirrorNode::open(
        Path::new("/sys/devices/system"),
        Mirror { shows: |_, _| true, files: &[], native: false, by_groups: true },
    )
    .expect("sysfs");
    assert!(bound.read(&emulation, Path::new("cpu/online")).is_ok());
}

#[test]
fn patterns_match_by_component() {
    for (pattern, path, expected) in [
        ("online", "online", true),
        ("online", "cpu0/online", false),
        ("cpu*/topology/*_list", "cpu12/topology/core_cpus_list", true),
        ("cpu*/topology/*_list", "cpu12/topology/list", false),
        ("cpu*/topology/*_list", "cpu12/x/topology/a_list", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
    ] {
        assert_eq!(matches(pattern, Path::new(path)), expected, "{pattern} {path}");
    }
}
