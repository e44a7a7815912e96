//! Paths, by examples and judged by the kernel: what our process makes of a caller's path is what the caller itself would.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::fs::readlinkat;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal};

use super::super::caller::{open, stand};
use super::*;
use crate::sys::process::{Forked, fork, unshare};

#[test]
fn what_procfs_tells_a_process_of_itself_is_the_callers() {
    let link = |name: &str, rest| Own::Link(name.to_owned(), rest);
    let none: &[u8] = b"";
    for (path, expected) in [
        ("/proc/self/fd/7", link("fd/7", none)),
        ("/proc/thread-self/fd/7/", link("fd/7", b".")),
        ("/proc/12/fd/7/a/b", link("fd/7", b"a/b")),
        ("/dev/fd/3", link("fd/3", none)),
        ("/proc/self/root//proc", link("root", b"proc")),
        ("/proc/self/cwd", link("cwd", none)),
        ("/proc/self/exe", link("exe", none)),
        ("/proc/self/rooted", Own::Path(b"/proc/12/rooted".to_vec())),
        ("/proc/self/attr", Own::Path(b"/proc/12/attr".to_vec())),
        ("/proc/thread-self/comm", Own::Path(b"/proc/12/task/13/comm".to_vec())),
        ("/proc/self/fd/x", Own::Path(b"/proc/12/fd/x".to_vec())),
        ("/proc/self/fd/", Own::Path(b"/proc/12/fd/".to_vec())),
        ("/dev/fd/x", Own::No),
        ("/proc/selfish/fd/7", Own::No),
        ("/proc/1/fd/7", Own::No),
        ("proc/self/fd/7", Own::No),
        ("/proc/self", Own::No),
    ] {
        assert_eq!(own(path.as_bytes(), 12, 13), expected, "{path}");
    }
}

#[test]
fn a_new_file_has_a_directory_and_a_name() {
    let split = |path: &str| {
        let place = Place { base: None, rest: path.as_bytes().to_vec(), is_link: false };
        place.split().map(|(place, name)| (place.rest, name))
    };
    let both = |directory: &str, name: &str| Some((directory.as_bytes().to_vec(), name.as_bytes().to_vec()));
    assert_eq!(split("/dev/null"), both("/dev/", "null"));
    assert_eq!(split("null"), both("", "null"));
    assert_eq!(split("/null"), both("/", "null"));
    for path in ["a/null/", "/", "a/..", "a/.", ""] {
        assert_eq!(split(path), None, "{path}");
    }
}

/// Where the tree is. A tmpfs lies there, in a mount namespace of the test's own.
const TREE: &str = "/tmp";

/// Descriptors that the caller has: a directory, a file; one that it has not.
const DIRECTORY: i32 = 200;
const FILE: i32 = 201;
const NONE: i32 = 202;

/// How a caller stands, and what it names.
#[derive(Debug, Clone)]
struct Case {
    /// Where links lie, and to where they lead.
    links: Vec<(&'static str, String)>,
    /// Below the tree.
    root: &'static str,
    cwd: &'static str,
    queries: Vec<Query>,
}

#[derive(Debug, Clone)]
struct Query {
    dirfd: i32,
    path: String,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What is there.
    File { nofollow: bool, empty: bool },
    /// A new file.
    New,
}

/// Components without any of procfs: what that tells each process of itself is known by its own names alone.
fn tail() -> impl Strategy<Value = String> {
    let names = vec!["a", "b", "c", "f", "l0", "l1", "l2", "new", "..", ".", ""];
    prop::collection::vec(prop::sample::select(names), 0..6).prop_map(|names| names.join("/"))
}

fn path() -> impl Strategy<Value = String> {
    let heads = vec![
        "/proc/self/fd/200",
        "/proc/self/fd/201",
        "/proc/self/fd/202",
        "/proc/self/fd/0200",
        "/proc/self/fd/x",
        "/proc/self/fd",
        "/proc/self/cwd",
        "/proc/self/root",
        "/proc/self/exe",
        "/proc/self/rooted",
        "/proc/self/attr",
        "/proc/thread-self/fd/200",
        "/proc/thread-self/cwd",
        "/proc/thread-self/attr",
        "/proc/PID/fd/200",
        "/proc/PID/cwd",
        "/proc/PID/attr",
        "/proc/selfish",
        "/dev/fd/200",
        "/dev/fd/201",
        "/dev/fd/x",
    ];
    let of_procfs = (prop::sample::select(heads), prop::sample::select(vec!["", "/", "//"]), tail());
    let of_procfs = of_procfs.prop_map(|(head, slash, tail)| match slash {
        "" if !tail.is_empty() => format!("{head}/{tail}"),
        _ => format!("{head}{slash}{tail}"),
    });
    prop_oneof![tail(), tail().prop_map(|tail| format!("/{tail}")), of_procfs]
}

fn case() -> impl Strategy<Value = Case> {
    let wanted = prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(nofollow, empty)| Wanted::File { nofollow, empty }),
        Just(Wanted::New)
    ];
    let dirfd = prop_oneof![3 => Just(libc::AT_FDCWD), 1 => prop::sample::select(vec![DIRECTORY, FILE, NONE])];
    let query = (dirfd, path(), wanted).prop_map(|(dirfd, path, wanted)| Query { dirfd, path, wanted });
    let link = prop_oneof![tail(), tail().prop_map(|tail| format!("/{tail}"))];
    let directories = || prop::sample::select(vec![".", "a", "a/b"]);
    let places = prop::sample::subsequence(vec!["l0", "a/l0", "a/b/l0", "l1", "a/l1", "a/b/l1", "l2", "a/l2"], 0..8);
    let roots = prop::sample::select(vec![".", "a"]);
    (places, prop::collection::vec(link, 8), roots, directories(), prop::collection::vec(query, 1..40)).prop_map(
        |(places, targets, root, cwd, queries)| {
            let links = places.into_iter().zip(targets).filter(|(_, target)| !target.is_empty()).collect();
            Case { links, root, cwd, queries }
        },
    )
}

/// Makes the tree, and opens what [`DIRECTORY`] and [`FILE`] are to be.
fn make(case: &Case) -> [OwnedFd; 2] {
    rustix::mount::mount("tree", TREE, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    std::fs::create_dir_all(format!("{TREE}/a/b/c")).unwrap();
    for (name, target) in &case.links {
        std::os::unix::fs::symlink(target, format!("{TREE}/{name}")).unwrap();
    }
    for file in ["f", "a/f", "a/b/f"] {
        std::fs::write(format!("{TREE}/{file}"), "").unwrap();
    }
    let root = format!("{TREE}/{}", case.root);
    for directory in ["proc", "dev"] {
        std::fs::create_dir(format!("{root}/{directory}")).unwrap();
    }
    std::os::unix::fs::symlink("/proc/self/fd", format!("{root}/dev/fd")).unwrap();
    rustix::mount::mount_bind("/proc", format!("{root}/proc")).unwrap();
    ["a/b", "a/f"].map(|path| open(CWD, &format!("{TREE}/{path}"), OFlags::PATH).unwrap())
}

fn error(errno: Errno) -> String {
    format!("error {}", errno.raw_os_error())
}

/// The name that the kernel has for what was found, or the error.
fn name(procfs: &OwnedFd, found: Result<OwnedFd>) -> String {
    let name = found.map(|found| readlinkat(procfs, format!("self/fd/{}", found.as_raw_fd()), Vec::new()).unwrap());
    name.map_or_else(error, |name| name.into_string().unwrap())
}

/// Makes a file and takes it away again.
fn new(procfs: &OwnedFd, directory: impl AsFd, path: &[u8]) -> String {
    match rustix::fs::mknodat(&directory, path, FileType::Fifo, Mode::RUSR, 0) {
        Err(errno) => error(errno),
        Ok(()) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = name(procfs, rustix::fs::openat(&directory, path, flags, Mode::empty()));
            rustix::fs::unlinkat(&directory, path, AtFlags::empty()).unwrap();
            format!("made {made}")
        }
    }
}

/// What the caller itself finds.
fn natively(procfs: &OwnedFd, Query { dirfd, path, wanted }: &Query) -> String {
    // SAFETY: whatever the number is: a system call takes it, and nothing else does.
    let directory = unsafe { BorrowedFd::borrow_raw(*dirfd) };
    let open =
        |path: &str, flags| rustix::fs::openat(directory, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty());
    match wanted {
        Wanted::New => new(procfs, directory, path.as_bytes()),
        Wanted::File { empty: true, .. } if path.is_empty() && *dirfd == libc::AT_FDCWD => {
            name(procfs, open(".", OFlags::empty()))
        }
        Wanted::File { empty: true, .. } if path.is_empty() => {
            name(procfs, rustix::io::fcntl_dupfd_cloexec(directory, 3))
        }
        Wanted::File { nofollow, .. } => name(procfs, open(path, nofollow_of(*nofollow))),
    }
}

/// What our process finds, which stands in the caller's root.
fn on_behalf(procfs: &OwnedFd, place: Result<Place>, wanted: Wanted) -> String {
    match (place, wanted) {
        (Err(errno), _) => error(errno),
        (Ok(place), Wanted::File { nofollow, empty }) => name(procfs, place.open(nofollow_of(nofollow), empty)),
        (Ok(place), Wanted::New) => match place.split() {
            None => "no name".to_owned(),
            Some((place, name)) => match place.open(OFlags::DIRECTORY, true) {
                Err(errno) => error(errno),
                Ok(directory) => new(procfs, directory, &name),
            },
        },
    }
}

/// Has a child say a list. It lives until it is killed.
fn child(say: impl FnOnce() -> Vec<String>) -> (Pid, Vec<String>) {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    match fork().unwrap() {
        Forked::Child => {
            let said = serde_json::to_vec(&say()).unwrap();
            std::io::Write::write_all(&mut File::from(theirs), &said).unwrap();
            loop {
                let _slept = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 1000, tv_nsec: 0 });
            }
        }
        Forked::Parent(pid) => {
            drop(theirs);
            let mut said = Vec::new();
            File::from(ours).read_to_end(&mut said).unwrap();
            (pid, serde_json::from_slice(&said).expect("the child's answer"))
        }
    }
}

fn end(pid: Pid) {
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
}

/// The queries, and what either finds.
fn both(procfs: &OwnedFd, case: &Case) -> Vec<(Query, String, String)> {
    let held = make(case);
    let root = open(CWD, &format!("{TREE}/{}", case.root), OFlags::PATH).unwrap();
    let cwd = open(CWD, &format!("{TREE}/{}", case.cwd), OFlags::PATH).unwrap();
    let of = |pid: Pid| {
        let named = |query: &Query| Query { path: query.path.replace("PID", &pid.to_string()), ..query.clone() };
        case.queries.iter().map(named).collect::<Vec<_>>()
    };
    let (caller, native) = child(|| {
        stand(&root).unwrap();
        rustix::process::fchdir(&cwd).unwrap();
        for (number, held) in [(DIRECTORY, &held[0]), (FILE, &held[1])] {
            // SAFETY: numbers that nothing of this process has.
            assert_eq!(unsafe { libc::dup2(held.as_raw_fd(), number) }, number);
        }
        of(rustix::process::getpid()).iter().map(|query| natively(procfs, query)).collect()
    });
    let queries = of(caller);
    let (ours, found) = child(|| {
        let (supervisor, _) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let directory = open(procfs.as_fd(), &caller.to_string(), OFlags::PATH).unwrap();
        let caller = Caller::new(directory, None, supervisor).unwrap();
        let places: Vec<_> =
            queries.iter().map(|query| Place::new(&caller, query.dirfd, query.path.as_bytes())).collect();
        stand(&root).unwrap();
        let wanted = queries.iter().map(|query| query.wanted);
        places.into_iter().zip(wanted).map(|(place, wanted)| on_behalf(procfs, place, wanted)).collect()
    });
    end(caller);
    end(ours);
    rustix::mount::unmount(TREE, UnmountFlags::DETACH).unwrap();
    queries
        .into_iter()
        .zip(native.into_iter().zip(found))
        .map(|(query, (native, found))| (query, native, found))
        .collect()
}

/// Whatever the path, the links on it, the caller's root, working directory and descriptors.
#[test]
fn a_path_is_what_it_is_to_the_caller() {
    if unshare(rustix::thread::UnshareFlags::NEWNS).is_err() {
        return eprintln!("needs root");
    }
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let procfs = open(CWD, "/proc", OFlags::PATH).unwrap();
    let config = ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&case(), |case| {
        for (query, native, ours) in both(&procfs, &case) {
            let is_the_same = match query.wanted {
                // Two things are wrong, of which either may be said.
                _ if query.dirfd == NONE && query.path.is_empty() => {
                    [&native, &ours].iter().all(|said| said.starts_with("error"))
                }
                // A link of procfs's that is not followed: nobody has a use for it.
                Wanted::File { nofollow: true, .. } if ours == error(Errno::LOOP) => {
                    native == ours || native.starts_with("/proc/")
                }
                Wanted::New if ours == "no name" => !native.starts_with("made"),
                _ => ours == native,
            };
            prop_assert!(is_the_same, "{query:?}: {native} to the caller, {ours} to us");
        }
        Ok(())
    });
    run.unwrap();
}
