//! The filesystem as the kernel and its users see it. These tests need root.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail the test"
)]

mod kernel;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fsemu::Emulation;
use fsemu::table::{Kind, Live, Mirror, Node, Part};
use kernel::{ROOT, errno, node, served, served_by, shell};
use rustix::io::Errno;

const fn live(path: &'static str, render: fsemu::render::Render, fresh: u64, steady: bool) -> Node {
    node(path, 0o444, Kind::Live(Live { render, fresh: Duration::from_millis(fresh), steady }))
}

static FIXED: Node = live("/proc/fixed", |_| Ok(b"fixed\n".into()), 24 * 60 * 60 * 1000, true);
static EMPTY: Node = node("/proc/empty", 0o555, Kind::Empty);
static MIRROR: Node = {
    fn shows(_: &Emulation, name: &str) -> bool {
        name != "cpu1"
    }
    node("/sys/devices/system/cpu", 0o555, Kind::Mirror(Mirror { shows, files: &[], native: false, by_groups: true }))
};
static FAILS: Node = {
    fn fails(_: &Emulation) -> io::Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP.into())
    }
    live("/proc/fails", fails, 10, true)
};

/// Texts of many lengths, over a page and under, that tell their own length.
static CHANGES: Node = live("/proc/changes", changing, 10, false);

fn changing(_: &Emulation) -> io::Result<Vec<u8>> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let length = [10, 9000, 4096, 4097, 100, 12345, 11][turn % 7];
    let fill = char::from(b'a' + u8::try_from(turn % 26).expect("a letter"));
    let mut text = format!("{length}\n").into_bytes();
    text.resize(length, u8::try_from(fill).expect("ASCII"));
    Ok(text)
}

/// Whether it is one text, whole.
fn whole(text: &[u8]) -> bool {
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let length: usize = std::str::from_utf8(&text[..end]).ok().and_then(|it| it.parse().ok()).unwrap_or(0);
    text.len() == length && text[end + 1..].iter().all(|byte| Some(byte) == text.last())
}

#[test]
fn every_node_of_the_table_reads_alike_in_every_way() {
    [Part::Cached, Part::Direct].into_iter().for_each(|part| served(part, Vec::new(), |root| reads_alike(part, root)));
}

/// Where a row is below the root.
fn name(node: &Node) -> String {
    match node.path.rsplit_once('/') {
        Some((_, entry)) if !fsemu::table::tops().any(|top| top.path == node.path) => {
            format!("{}/{entry}", node.name().trim_end_matches(&format!(".{entry}")))
        }
        _ => node.name(),
    }
}

fn reads_alike(part: Part, root: &Path) {
    let nodes: Vec<&Node> = fsemu::table::tops().filter(|node| node.part() == part).collect();
    let mut listed: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected: Vec<_> = nodes.iter().map(|node| node.name()).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    // What has no place on this host is bound nowhere.
    let all = fsemu::table::nodes().filter(|node| node.part() == part);
    let shown = all.filter(|node| matches!(node.kind, Kind::Live(_)) && Path::new(node.path).exists());
    for (name, mode) in shown.map(|node| (name(node), node.mode)) {
        let path = root.join(&name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if name.starts_with("proc.pressure") => {
                assert_eq!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP), "{name}");
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(text.ends_with('\n') && !text.contains('\0'), "{name}: {text}");
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode()), (ROOT, ROOT, libc::S_IFREG | mode), "{name}");
        let lines = |text: &str| text.lines().count();
        let copied = shell(root, &format!("f=$(mktemp); cp {name} $f; cat $f; rm $f"));
        assert_eq!(lines(&copied), lines(&text), "cp {name}: {copied}");
        for how in
            ["cat", "busybox cat", "dd bs=1 status=none if=", "dd bs=7 status=none if=", "head -c 9999999", "tac"]
        {
            let output = shell(root, &format!("{how}{}{name}", if how.ends_with('=') { "" } else { " " }));
            assert!(output.ends_with('\n') && !output.contains('\0'), "{how} {name}: {output}");
            assert_eq!(lines(&output), lines(&text), "{how} {name}: {output}");
        }
    }
}

#[test]
fn parts_of_a_text_are_those_of_the_whole() {
    served(Part::Cached, vec![&FIXED], |root| {
        let mut file = File::open(root.join("proc.fixed")).unwrap();
        let mut part = [0; 9];
        assert_eq!((file.read_at(&mut part[..2], 3).unwrap(), &part[..2]), (2, &b"ed"[..]));
        assert_eq!(file.read_at(&mut part, 6).unwrap(), 0);
        assert_eq!(file.read_at(&mut part, i64::MAX as u64 - 9).unwrap(), 0);
        assert_eq!(errno(file.read_at(&mut part, u64::MAX)), Some(Errno::INVAL));
        assert_eq!(file.seek(SeekFrom::End(-2)).unwrap(), 4);
        assert_eq!((file.read(&mut part).unwrap(), &part[..2]), (2, &b"d\n"[..]));
        assert_eq!(file.seek(SeekFrom::Start(1 << 40)).unwrap(), 1 << 40);
        assert_eq!(file.read(&mut part).unwrap(), 0);
    });
    served(Part::Direct, vec![&CHANGES], |root| {
        // However slow the reader: one open file, one text.
        let mut file = File::open(root.join("proc.changes")).unwrap();
        let (mut text, mut part) = (Vec::new(), [0; 1000]);
        while let length @ 1.. = file.read(&mut part).unwrap() {
            text.extend(&part[..length]);
            std::thread::sleep(Duration::from_millis(20));
            fs::read(root.join("proc.changes")).unwrap();
        }
        assert!(whole(&text), "{}", text.len());
        // From the start again: another.
        std::thread::sleep(Duration::from_millis(100));
        let mut again = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut again).unwrap();
        assert!(whole(&again) && again != text);
        assert_eq!(file.read_at(&mut part, i64::MAX as u64 - 1000).unwrap(), 0);
    });
}

#[test]
fn a_text_that_changes_its_length_is_never_cut_or_padded() {
    served(Part::Direct, vec![&CHANGES], |root| {
        let path = root.join("proc.changes");
        let end = Instant::now() + Duration::from_secs(2);
        let read = |mut file: &File, buffer: &mut Vec<u8>| {
            buffer.clear();
            file.rewind().unwrap();
            file.read_to_end(buffer).unwrap();
            assert!(whole(buffer), "{} of {}", buffer.len(), String::from_utf8_lossy(&buffer[..6]));
        };
        let open_again = || {
            let (mut count, mut buffer) = (0, Vec::new());
            while count <= 100 || Instant::now() < end {
                read(&File::open(&path).unwrap(), &mut buffer);
                count += 1;
            }
        };
        let held = || {
            let (file, mut buffer) = (File::open(&path).unwrap(), Vec::new());
            while Instant::now() < end {
                read(&file, &mut buffer);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(open_again);
            scope.spawn(open_again);
            scope.spawn(held);
        });
    });
}

#[test]
fn a_value_is_fresh_when_its_resolution_has_passed() {
    fn count(_: &Emulation) -> io::Result<Vec<u8>> {
        static COUNT: AtomicUsize = AtomicUsize::new(100);
        Ok(format!("{}\n", COUNT.fetch_add(1, Ordering::Relaxed)).into_bytes())
    }
    static CACHED: Node = live("/proc/counts", count, 50, true);
    static DIRECT: Node = live("/proc/counts", count, 50, false);
    for node in [&CACHED, &DIRECT] {
        served(node.part(), vec![node], |root| {
            let read = || fs::read_to_string(root.join("proc.counts")).unwrap();
            let first = read();
            let held = File::open(root.join("proc.counts")).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            let second = read();
            assert_ne!(first, second);
            std::thread::sleep(Duration::from_millis(150));
            let mut buffer = [0; 9];
            let length = held.read_at(&mut buffer, 0).unwrap();
            assert_ne!(&buffer[..length], second.as_bytes(), "through an open file too");
        });
    }
}

/// As cheap as a file: neither opening nor reading it asks anybody, whoever reads.
#[test]
fn what_never_changes_costs_no_request_after_the_first() {
    fn steady(_: &Emulation) -> io::Result<Vec<u8>> {
        Ok(b"for ever\n".into())
    }
    fn moment(_: &Emulation) -> io::Result<Vec<u8>> {
        Ok(b"a moment\n".into())
    }
    static FOR_EVER: Node = live("/proc/ever", steady, 24 * 60 * 60 * 1000, true);
    static MOMENT: Node = live("/proc/moment", moment, 1, true);
    served_by(Part::Cached, vec![&FIXED, &FOR_EVER, &MOMENT], |root, server| {
        let asks = |times: usize, name: &str, text: &str| {
            let before = server.reads();
            for _ in 0..times {
                assert_eq!(fs::read_to_string(root.join(name)).unwrap(), text);
                std::thread::sleep(Duration::from_millis(1));
            }
            server.reads() - before
        };
        for (name, text) in [("proc.fixed", "fixed\n"), ("proc.ever", "for ever\n")] {
            assert!(asks(1, name, text) > 0, "{name}: the first is asked for");
            // The kernel has forgotten its time of access: fuse_invalidate_atime().
            assert!(asks(1, name, text) <= 1, "{name}");
            assert_eq!(asks(200, name, text), 0, "{name}");
            assert_eq!(shell(root, &format!("cat {name}; dd if={name} bs=1 status=none")), text.repeat(2));
            assert_eq!(asks(1, name, text), 0, "{name}, after others have read it");
        }
        // The near miss.
        assert!(asks(200, "proc.moment", "a moment\n") > 5);
    });
}

#[test]
fn what_procfs_refuses_elsewhere_is_refused_alike() {
    served(Part::Cached, vec![&FIXED, &EMPTY, &FAILS], |root| {
        let (fixed, empty) = (root.join("proc.fixed"), root.join("proc.empty"));
        let perm = Some(Errno::PERM);
        assert_eq!(errno(fs::remove_file(&fixed)), perm);
        assert_eq!(errno(fs::create_dir(empty.join("new"))), perm);
        assert_eq!(errno(fs::remove_dir(&empty)), perm);
        assert_eq!(errno(std::os::unix::fs::symlink("x", empty.join("new"))), perm);
        assert_eq!(errno(File::create(empty.join("new"))), Some(Errno::ACCESS));
        assert_eq!(errno(fs::read(empty.join("none"))), Some(Errno::NOENT));
        assert_eq!(errno(fs::read(root.join("none"))), Some(Errno::NOENT));
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
        let write = OpenOptions::new().write(true).open(&fixed).and_then(|mut file| file.write(b"x"));
        assert_eq!(errno(write), Some(Errno::ACCESS));
        assert_eq!(fs::read_to_string(&fixed).unwrap(), "fixed\n");
        assert_eq!(errno(fs::read(root.join("proc.fails"))), Some(Errno::OPNOTSUPP));
        assert!(fs::metadata(root.join("proc.fails")).is_ok());
        assert_eq!(errno(File::open(&fixed).and_then(|it| it.sync_all())), Some(Errno::INVAL));
        assert_eq!(errno(fs::File::open(fixed.join("below"))), Some(Errno::NOTDIR));
        let stat = rustix::fs::statfs(root).unwrap();
        assert_eq!((stat.f_blocks, stat.f_bavail, stat.f_files, stat.f_type), (0, 0, 0, 0x6573_5546));
        assert!(!shell(root, "df").contains("/mnt"));
        let mount = shell(root, "grep ' /mnt ' /proc/self/mountinfo");
        assert!(mount.contains(" rw,nosuid,nodev,noexec,relatime - fuse eci "), "{mount}");
    });
}

#[test]
fn a_mirrored_directory_shows_what_its_filter_lets_through() {
    served(Part::Cached, vec![&MIRROR], |root| {
        let (ours, host) = (root.join("sys.devices.system.cpu"), Path::new(MIRROR.path));
        let names = |dir: &Path| {
            let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let expected: Vec<_> = names(host).into_iter().filter(|name| name != "cpu1").collect();
        assert_eq!(names(&ours), expected);
        assert_eq!(errno(fs::read(ours.join("cpu1/online"))), Some(Errno::NOENT));
        assert_eq!(fs::read(ours.join("online")).unwrap(), fs::read(host.join("online")).unwrap());
        assert_eq!(names(&ours.join("cpu0")), names(&host.join("cpu0")));
        assert_eq!(
            fs::read_link(ours.join("cpu0/subsystem")).unwrap(),
            fs::read_link(host.join("cpu0/subsystem")).unwrap()
        );
        assert_eq!(
            errno(OpenOptions::new().write(true).open(ours.join("online")).and_then(|mut it| it.write(b"1"))),
            Some(Errno::ACCESS)
        );
        // Only for root on the host: for nobody here.
        let secret = shell(host, "find . -maxdepth 3 -type f ! -perm -o=r | grep -v cpu1 | head -1");
        if !secret.is_empty() {
            assert_eq!(errno(fs::read(ours.join(secret.trim()))), Some(Errno::ACCESS), "{secret}");
            assert_eq!(fs::metadata(ours.join(secret.trim())).unwrap().mode() & 0o777, 0, "{secret}");
        }
    });
}

#[test]
fn a_reader_that_is_killed_leaves_the_server_running() {
    static SLOW: Node = {
        fn slow(_: &Emulation) -> io::Result<Vec<u8>> {
            std::thread::sleep(Duration::from_millis(300));
            Ok(b"slow\n".into())
        }
        live("/proc/slow", slow, 1, true)
    };
    served(Part::Cached, vec![&SLOW, &FIXED], |root| {
        for _ in 0..3 {
            let mut reader = std::process::Command::new("cat").arg(root.join("proc.slow")).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
        assert_eq!(fs::read_to_string(root.join("proc.fixed")).unwrap(), "fixed\n");
        assert_eq!(fs::read_to_string(root.join("proc.slow")).unwrap(), "slow\n");
    });
}

#[test]
fn many_reads_finish() {
    served(Part::Cached, Vec::new(), |root| {
        // Batches, of which the fastest tells most on a busy machine.
        let time = |path: &Path| {
            let batch = || {
                let start = Instant::now();
                for _ in 0..1000 {
                    let mut text = [0; 64];
                    assert!(File::open(path).unwrap().read(&mut text).unwrap() > 0);
                }
                start.elapsed() / 1000
            };
            (0..20).map(|_| batch()).min().unwrap()
        };
        println!("native {:?}, ours {:?}", time(Path::new("/proc/meminfo")), time(&root.join("proc.meminfo")));
        let cold = |path: &Path| {
            let read = || {
                std::thread::sleep(Duration::from_millis(60));
                let start = Instant::now();
                fs::read(path).unwrap();
                start.elapsed()
            };
            (0..20).map(|_| read()).min().unwrap()
        };
        println!("cold: native {:?}, ours {:?}", cold(Path::new("/proc/meminfo")), cold(&root.join("proc.meminfo")));
    });
}
