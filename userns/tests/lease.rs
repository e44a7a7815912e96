//! Kernel tests of id-range leases: locks, processes, cgroups and user namespaces as the kernel keeps them. They run as
//! root. Shims are played by this test binary itself, started again with a role (see [`shim`]).
//!
//! One test runs at a time: between fork and execve the processes that one starts have the descriptors of another, and
//! with them its locks.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml's leave for tests does not reach their helpers"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use policy::config::Ranges;
use policy::idmap::{IdMap, RANGE_SIZE};
use policy::subid::{HostIds, Pool};
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use tempfile::TempDir;
use userns::lease::{LayerId, Lease, LeaseError, Leases, ProcessId, Request, Status, UsernsId};

const FIRST: u32 = Ranges::DEFAULT_FIRST;

fn pool() -> Pool {
    Pool::new(&Ranges::default(), &HostIds::default()).expect("the default pool")
}

fn request(id: &str) -> Request {
    Request { container: id.into(), namespace: "default".into(), ..Request::default() }
}

/// A host of its own for one test: leases, and a directory for the test's files.
struct Host {
    leases: Leases,
    temp: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Host {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let temp = tempfile::tempdir().expect("a directory");
        let leases = Leases::open(temp.path().join("ranges")).expect("the state directory");
        Self { leases, temp, _alone: alone }
    }
}

fn statuses(leases: &Leases) -> Vec<Status> {
    leases.list().expect("the list").into_iter().map(|info| info.status).collect()
}

/// A process that lives until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        // Its echo tells that it is past execve, in the namespaces that it was to make.
        child.stdin.as_mut().expect("a pipe").write_all(b"x\n").expect("write");
        let mut echo = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut echo).expect("read");
        assert_eq!(echo, "x\n");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

// The shims of the tests: this binary again, doing what the environment says, one line for each act.

const ROLE: &str = "LEASE_TEST_ROLE";
const DIR: &str = "LEASE_TEST_DIR";
const MARK: &str = "shim: ";

struct Shim {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shim {
    fn start(role: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "a_shim_is_this_program_with_a_role", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shim");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { child, input, output: BufReader::new(output) }
    }

    /// The next line that it says.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).expect("read"), 0, "the shim has ended");
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return said.to_owned();
            }
        }
    }

    fn tell(&mut self) {
        self.input.write_all(b"go\n").expect("write");
    }

    fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

fn say(text: impl std::fmt::Display) {
    println!("{MARK}{text}");
}

fn listen() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("read");
}

/// A process of the other tests, which does what their environment says; without one it starts such a process.
#[test]
fn a_shim_is_this_program_with_a_role() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        let host = Host::new();
        let mut shim = Shim::start("hold fifty", host.temp.path());
        assert_eq!(shim.hear(), "ready");
        return shim.kill();
    };
    let leases = Leases::open(dir.join("ranges")).expect("the state directory");
    match std::env::var(ROLE).expect("started by a test").as_str() {
        "hold fifty" => hold_fifty(&leases),
        "leave a process" => leave_a_process(&leases),
        "live and die" => live_and_die(&leases, &dir),
        role => panic!("no such role: {role}"),
    }
}

#[test]
fn a_thousand_allocations_by_threads_do_not_collide() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("setrlimit");
    let Host { leases, .. } = &Host::new();
    let barrier = Barrier::new(1000);
    let held: Vec<Lease> = std::thread::scope(|scope| {
        let take = |index: usize| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                leases.acquire(&request(&format!("c{index}")), &pool()).expect("a lease")
            })
        };
        let threads: Vec<_> = (0..1000).map(take).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    assert_thousand(held.iter().map(|lease| lease.id_map().host));
}

/// The lowest thousand ranges, each once.
fn assert_thousand(hosts: impl Iterator<Item = u32>) {
    let hosts: Vec<u32> = hosts.collect();
    let distinct: BTreeSet<u32> = hosts.iter().copied().collect();
    assert_eq!((hosts.len(), distinct.len()), (1000, 1000));
    assert!(distinct.into_iter().eq((0..1000).map(|index| FIRST + index * RANGE_SIZE)));
}

#[test]
fn a_thousand_allocations_by_processes_do_not_collide() {
    let Host { leases, temp, .. } = &Host::new();
    let mut shims: Vec<_> = (0..20).map(|_| Shim::start("hold fifty", temp.path())).collect();
    for shim in &mut shims {
        assert_eq!(shim.hear(), "ready");
    }
    shims.iter_mut().for_each(Shim::tell);
    let hosts: Vec<u32> = shims
        .iter_mut()
        .flat_map(|shim| (0..50).map(|_| shim.hear().parse().expect("an id")).collect::<Vec<_>>())
        .collect();
    assert_thousand(hosts.into_iter());
    shims.into_iter().for_each(Shim::kill);
    assert_eq!(leases.list().expect("the list"), [], "nothing is left of killed shims without containers");
}

fn hold_fifty(leases: &Leases) {
    say("ready");
    listen();
    let take = |index| leases.acquire(&request(&format!("{}-{index}", std::process::id())), &pool()).expect("a lease");
    let held: Vec<Lease> = (0..50).map(take).collect();
    for lease in &held {
        say(lease.id_map().host);
    }
    listen();
}

#[test]
fn kill_at_any_point_neither_leaks_nor_gives_twice() {
    let Host { leases, temp, .. } = &Host::new();
    fs::write(temp.path().join("claims"), "").expect("write");
    fs::create_dir(temp.path().join("layers")).expect("mkdir");
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let dir = temp.path();
            scope.spawn(move || {
                for round in 0..20 {
                    let mut shim = Shim::start("live and die", dir);
                    // Killed somewhere after this many lives, wherever it is by then.
                    for _ in 0..=(thread * 7 + round * 5) % 11 {
                        assert_eq!(shim.hear(), "lived");
                    }
                    shim.kill();
                }
            });
        }
    });
    let stopped = leases.list().expect("the list");
    assert!(stopped.iter().all(|info| info.status == Status::Stopped), "{stopped:?}");
    fs::remove_dir_all(temp.path().join("layers")).expect("rmdir");
    assert_eq!(leases.list().expect("the list"), []);
    let files: Vec<_> = fs::read_dir(temp.path().join("ranges"))
        .expect("readdir")
        .map(|file| file.expect("file").file_name())
        .collect();
    assert_eq!(files, ["lock"], "no half-made lease is left");
    assert_eq!(leases.acquire(&request("last"), &pool()).expect("a lease").id_map().host, FIRST);
}

/// Containers that start, stop, start again and are removed. A witness that is not ours, one locked byte for each
/// range, tells whether another living shim has the range. It has the highest descriptor: a process that dies lets go of
/// its open files in the reverse order of their numbers (close_files() queues them on a stack, task_work_run()), so the
/// witness is gone before the lease is.
fn live_and_die(leases: &Leases, dir: &Path) {
    let witness = File::options().write(true).open(dir.join("claims")).expect("the witness");
    let witness = rustix::io::fcntl_dupfd_cloexec(&witness, 1000).expect("a high descriptor");
    let claim = |kind: libc::c_int, lease: &Lease| {
        let byte = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: i64::from(lease.id_map().host),
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&witness, FcntlArg::F_OFD_SETLK(&byte)).expect("two living shims have one range");
    };
    let start = |request: &Request| {
        let lease = leases.acquire(request, &pool()).expect("a lease");
        claim(libc::F_WRLCK, &lease);
        lease
    };
    let delete = |lease: Lease| {
        let map = lease.id_map();
        claim(libc::F_UNLCK, &lease);
        lease.release().expect("release");
        map
    };
    for life in 0.. {
        let id = format!("{}-{life}", std::process::id());
        // Nothing but its lock guards the range of this one, while the next come and go.
        let without_layer = start(&request(&id));
        let layer = dir.join("layers").join(&id);
        fs::create_dir(&layer).expect("mkdir");
        let request = Request { layer: Some(LayerId::of(&layer).expect("statx")), ..request(&id) };
        let former = delete(start(&request));
        let mut again = start(&request);
        again.record(std::process::id(), &[]).expect("record");
        assert_eq!(delete(again), former, "a restart keeps the range");
        if life % 8 > 0 {
            fs::remove_dir(&layer).expect("rmdir");
        }
        delete(without_layer);
        say("lived");
    }
}

#[test]
fn a_process_that_outlives_its_shim_keeps_the_range() {
    let Host { leases, temp, .. } = &Host::new();
    let mut shim = Shim::start("leave a process", temp.path());
    let (pid, held) = (shim.hear().parse::<i32>().expect("a pid"), statuses(leases));
    assert_eq!(held, [Status::Running]);
    shim.kill();
    assert_eq!(statuses(leases), [Status::Orphaned]);
    let other = leases.acquire(&request("other"), &pool()).expect("a lease");
    assert_eq!(other.id_map().host, FIRST + RANGE_SIZE);
    let pid = Pid::from_raw(pid).expect("a pid");
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd_open");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let mut exited = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut exited, None).expect("poll");
    assert_eq!(leases.acquire(&request("next"), &pool()).expect("a lease").id_map().host, FIRST);
}

fn leave_a_process(leases: &Leases) {
    let mut lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    let sleep = Command::new("sleep").arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = sleep.expect("a process");
    lease.record(child.id(), &[]).expect("record");
    say(child.id());
    child.wait().expect("wait");
}

#[test]
fn a_descriptor_that_a_stage_inherits_keeps_the_lease() {
    let Host { leases, .. } = &Host::new();
    let lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    let inherited: OwnedFd = lease.as_fd().try_clone_to_owned().expect("dup");
    let mut stage = Command::new("sleep").arg("1000").stdin(inherited).spawn().expect("a process");
    drop(lease);
    assert_eq!(statuses(leases), [Status::Starting], "the shim is gone, its stage is not");
    stage.kill().expect("kill");
    stage.wait().expect("wait");
    assert_eq!(statuses(leases), []);
}

#[test]
fn a_released_lease_is_over_for_a_stage_that_still_has_it() {
    let Host { leases, .. } = &Host::new();
    let lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    let inherited = lease.as_fd().try_clone_to_owned().expect("dup");
    lease.release().expect("release");
    assert_eq!(leases.acquire(&request("c2"), &pool()).expect("a lease").id_map().host, FIRST);
    drop(inherited);
}

/// Hierarchies of this host: v1, v2 or both.
fn hierarchies() -> Vec<PathBuf> {
    let candidates = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];
    candidates.iter().map(PathBuf::from).filter(|path| path.join("cgroup.procs").exists()).collect()
}

#[test]
fn a_process_in_the_cgroup_or_below_keeps_the_range() {
    assert!(!hierarchies().is_empty(), "no cgroup hierarchy is mounted");
    for hierarchy in hierarchies() {
        let Host { leases, .. } = &Host::new();
        let top = hierarchy.join(format!("eci-lease-test-{}", std::process::id()));
        let inner = top.join("inner");
        fs::create_dir_all(&inner).expect("mkdir");
        let (init, other) = (Sleeper::new(&mut Command::new("cat")), Sleeper::new(&mut Command::new("cat")));
        fs::write(inner.join("cgroup.procs"), other.pid().to_string()).expect("join");
        let mut lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
        lease.record(init.pid(), std::slice::from_ref(&top)).expect("record");
        drop((lease, init));
        let with_process = statuses(leases);
        drop(other);
        let without = statuses(leases);
        fs::remove_dir(&inner).and_then(|()| fs::remove_dir(&top)).expect("rmdir");
        assert_eq!((with_process, without), (vec![Status::Orphaned], vec![]), "{}", hierarchy.display());
    }
}

fn userns(process: &Sleeper) -> File {
    File::open(format!("/proc/{}/ns/user", process.pid())).expect("a user namespace")
}

fn id_of(userns: &File) -> UsernsId {
    let stat = userns.metadata().expect("fstat");
    UsernsId { dev: stat.dev(), ino: stat.ino() }
}

#[test]
fn members_of_a_user_namespace_hold_the_range_together() {
    let Host { leases, .. } = &Host::new();
    let init = Sleeper::new(Command::new("unshare").args(["--user", "cat"]));
    let namespace = userns(&init);
    let mut sandbox = leases.acquire(&request("sandbox"), &pool()).expect("a lease");
    sandbox.record(init.pid(), &[]).expect("record");
    let member = leases.join(&request("member"), namespace.as_fd()).expect("a member");
    assert_eq!(member.id_map(), sandbox.id_map());
    assert_eq!(leases.find_by_userns(id_of(&namespace)).expect("the list").len(), 2);
    sandbox.release().expect("release");
    drop(init);
    let other = leases.acquire(&request("other"), &pool()).expect("a lease");
    assert_eq!(other.id_map().host, FIRST + RANGE_SIZE, "one member is left");
    let late = leases.join(&request("late"), namespace.as_fd()).expect("the namespace still has a member");
    assert_eq!(late.id_map(), member.id_map());
    drop((member, late));
    let error = leases.join(&request("too late"), namespace.as_fd()).expect_err("no member is left").to_string();
    let ino = id_of(&namespace).ino;
    assert_eq!(error, format!("linux.namespaces: the user namespace {ino} belongs to no running container of eci"));
    assert_eq!(leases.acquire(&request("next"), &pool()).expect("a lease").id_map().host, FIRST);
}

/// What is in the state directory besides the lock and the leases.
fn value_directories(host: &Host) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(host.temp.path().join("ranges")).expect("readdir").map(|entry| entry.expect("entry").path());
    entries.filter(|path| path.is_dir()).collect()
}

fn value(lease: &Lease) -> File {
    let directory = lease.values().expect("the directory");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CREATE;
    File::from(rustix::fs::openat(directory, "kernel.panic", flags, 0o600.into()).expect("a value"))
}

#[test]
fn members_of_a_user_namespace_share_values_until_the_last_has_gone() {
    let host = Host::new();
    let leases = &host.leases;
    let init = Sleeper::new(Command::new("unshare").args(["--user", "cat"]));
    let namespace = userns(&init);
    let mut sandbox = leases.acquire(&request("sandbox"), &pool()).expect("a lease");
    sandbox.record(init.pid(), &[]).expect("record");
    let member = leases.join(&request("member"), namespace.as_fd()).expect("a member");
    assert_eq!(value_directories(&host), Vec::<PathBuf>::new(), "nobody has asked for one");
    value(&sandbox).write_all(b"7").expect("write");
    assert_eq!(std::io::read_to_string(value(&member)).expect("read"), "7");
    let other = leases.acquire(&request("other"), &pool()).expect("a lease");
    assert_eq!(std::io::read_to_string(value(&other)).expect("read"), "");
    assert_eq!(value_directories(&host).len(), 2);
    sandbox.release().expect("release");
    other.release().expect("release");
    let late = leases.join(&request("late"), namespace.as_fd()).expect("the namespace still has a member");
    assert_eq!(std::io::read_to_string(value(&late)).expect("read"), "7", "it has outlived its maker");
    member.release().expect("release");
    assert_eq!(value_directories(&host).len(), 1);
    // The last one's shim is killed: whoever looks next removes it.
    drop(late);
    drop(init);
    assert_eq!(statuses(leases), []);
    assert_eq!(value_directories(&host), Vec::<PathBuf>::new());
}

#[test]
fn specs_that_bring_the_same_map_share_no_values() {
    let host = Host::new();
    let map = IdMap { host: FIRST, size: RANGE_SIZE };
    let one = host.leases.acquire_map(&request("one"), map).expect("a lease");
    value(&one).write_all(b"7").expect("write");
    let two = host.leases.acquire_map(&request("two"), map).expect("a lease");
    assert_eq!(std::io::read_to_string(value(&two)).expect("read"), "");
    // The same container once more while somebody else keeps the range: what it left is not what it finds.
    drop(one);
    let again = host.leases.acquire_map(&request("one"), map).expect("a lease");
    assert_eq!(std::io::read_to_string(value(&again)).expect("read"), "");
    for lease in [two, again] {
        lease.release().expect("release");
    }
    assert_eq!(statuses(&host.leases), []);
    assert_eq!(value_directories(&host), Vec::<PathBuf>::new());
}

#[test]
fn a_namespace_that_is_not_a_containers_cannot_be_joined() {
    let Host { leases, .. } = &Host::new();
    let _lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    let host = File::open("/proc/self/ns/user").expect("a user namespace");
    assert!(matches!(leases.join(&request("c2"), host.as_fd()), Err(LeaseError::NoSuchUserns { .. })));
}

#[test]
fn a_namespace_is_found_while_its_shim_is_dead_and_a_process_is_not() {
    let Host { leases, .. } = &Host::new();
    let init = Sleeper::new(Command::new("unshare").args(["--user", "cat"]));
    let namespace = userns(&init);
    let mut lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    lease.record(init.pid(), &[]).expect("record");
    drop(lease);
    let member = leases.join(&request("c2"), namespace.as_fd()).expect("its init lives in the namespace");
    assert_eq!(member.id_map().host, FIRST);
}

#[test]
fn the_recorded_namespace_is_kept_so_that_its_number_is_not_reused() {
    let Host { leases, .. } = &Host::new();
    let init = Sleeper::new(Command::new("unshare").args(["--user", "cat"]));
    let id = id_of(&userns(&init));
    let mut lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    lease.record(init.pid(), &[]).expect("record");
    drop(init);
    for _ in 0..20 {
        let other = Sleeper::new(Command::new("unshare").args(["--user", "cat"]));
        assert_ne!(id_of(&userns(&other)), id);
    }
    let kept = lease.userns().expect("recorded");
    assert_eq!(rustix::fs::fstat(kept).expect("fstat").st_ino, id.ino);
}

#[test]
fn a_process_lives_until_it_is_dead_even_before_it_is_reaped() {
    let Host { .. } = &Host::new();
    let mut sleeper = Sleeper::new(&mut Command::new("cat"));
    let id = ProcessId::of(sleeper.pid()).expect("its start time");
    assert!(id.is_alive());
    assert!(!ProcessId { start: id.start - 1, ..id }.is_alive(), "an earlier process of this pid");
    sleeper.0.kill().expect("kill");
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&sleeper.0)), exited).expect("waitid");
    assert!(!id.is_alive(), "a zombie");
}

#[test]
fn a_process_that_is_gone_cannot_be_recorded() {
    let Host { leases, .. } = &Host::new();
    let mut lease = leases.acquire(&request("c1"), &pool()).expect("a lease");
    let sleeper = Sleeper::new(&mut Command::new("cat"));
    let pid = sleeper.pid();
    lease.record(pid, &[]).expect("a living one can");
    drop(sleeper);
    let error = lease.record(pid, &[]).expect_err("it is gone").to_string();
    let expected =
        format!("id range leases: cannot read the start time of process {pid}: No such file or directory (os error 2)");
    assert_eq!(error, expected);
}

#[test]
fn a_full_filesystem_is_one_clear_error() {
    let Host { temp, .. } = &Host::new();
    let data = c"size=8k,mode=700";
    rustix::mount::mount("none", temp.path(), "tmpfs", rustix::mount::MountFlags::empty(), data).expect("a tmpfs");
    let outcome = std::panic::catch_unwind(|| {
        let leases = Leases::open(temp.path()).expect("the state directory");
        let held = leases.acquire(&request("c1"), &pool()).expect("room for one");
        fs::write(temp.path().join("filler"), [0; 8192]).expect_err("the filesystem is full now");
        let error = leases.acquire(&request("c2"), &pool()).expect_err("no room").to_string();
        let start =
            format!("id range leases: cannot write {}/{}-{RANGE_SIZE}.", temp.path().display(), FIRST + RANGE_SIZE);
        assert!(error.starts_with(&start) && error.ends_with(": No space left on device (os error 28)"), "{error}");
        assert_eq!(fs::read_dir(temp.path()).expect("readdir").count(), 3, "lock, filler and the one lease");
        fs::remove_file(temp.path().join("filler")).expect("rm");
        let next = leases.acquire(&request("c2"), &pool()).expect("room again");
        assert_eq!(next.id_map(), IdMap { host: FIRST + RANGE_SIZE, size: RANGE_SIZE });
        drop(held);
    });
    rustix::mount::unmount(temp.path(), rustix::mount::UnmountFlags::DETACH).expect("umount");
    outcome.expect("the test");
}
