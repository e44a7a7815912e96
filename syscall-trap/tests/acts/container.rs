//! A container as the shim makes them, of util-linux and the kernel: a user namespace with a map, a tree that is assembled by
//! the host's root and locked by the crossing, and covers on `/proc` and `/sys`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use policy::idmap::IdMap;
use policy::plan::{MountFlags, RootMount};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsPickFlags, MountPropagationFlags, UnmountFlags, fsconfig_reconfigure, fsconfig_set_string, fspick,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use userns::creds::FsIds;
use userns::mount::{Detached, MountIds};
use userns::rootfs::{LayerRoute, Request};

pub(crate) const MAP: IdMap = IdMap { host: 1_000_000, size: 65536 };

/// What the emulated `/proc/uptime` says.
pub(crate) const UPTIME: &str = "777.77 0.00";

/// A container whose init waits.
pub(crate) struct Container {
    init: u32,
    /// Init ends with it.
    _stdin: OwnedFd,
    host: OwnedFd,
    proc: OwnedFd,
    pub(crate) emulated: Option<OwnedFd>,
    /// Who reads what is asked of a filesystem, and answers nothing.
    silent: Option<Child>,
}

/// A filesystem at `/srv/deep` that answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fuse {
    /// It lets everybody in, who then waits.
    Silent,
    /// It lets nobody in but its owner, who is not in the container.
    Foreign,
}

/// A process in the container that waits, for something to be done for it.
pub(crate) struct Waiting {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) pid: u32,
}

fn open(path: &str, flags: OFlags) -> OwnedFd {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn attach(mount: &Detached, path: &str) {
    mount.attach_at(open(path, OFlags::PATH)).unwrap_or_else(|errno| panic!("{path}: {errno}"));
}

fn new(fstype: &str, options: &[(&str, &str)]) -> Detached {
    let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
    Detached::filesystem(fstype, Some(fstype), &options, &[]).expect(fstype)
}

fn flags(mount: &Detached, set: u64) {
    mount.set_flags(MountFlags { set, clear: 0 }, false).expect("flags");
}

impl Container {
    /// Makes one. The calling process has one thread, and gives up its mount namespace.
    pub(crate) fn new(fuse: Option<Fuse>) -> Self {
        rustix::process::umask(Mode::empty());
        let host = open("/proc/self/ns/mnt", OFlags::RDONLY);
        let proc = open("/proc", OFlags::PATH);
        // SAFETY: one thread, no descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
        let (init, sync) = clone_init();
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{init}/{map}"), format!("0 {} {}", MAP.host, MAP.size)).expect("a map");
        }
        let user = open(&format!("/proc/{init}/ns/user"), OFlags::RDONLY);
        let spaces = ["net", "ipc", "cgroup"].map(|name| open(&format!("/proc/{init}/ns/{name}"), OFlags::RDONLY));
        let pid = open(&format!("/proc/{init}/ns/pid"), OFlags::RDONLY);
        let fuse = fuse.map(|fuse| (File::from(open("/dev/fuse", OFlags::RDWR)), fuse));
        let overlay = overlay(user.as_fd());
        assemble(user.as_fd(), &overlay);
        for space in spaces {
            move_into_link_name_space(space.as_fd(), None).expect("setns");
        }
        let emulated = emulate(pid.as_fd());
        let fuse = fuse.map(mount_fuse);
        rustix::io::write(&sync, b"go").expect("init");
        let mut this = Self { init, _stdin: sync, host, proc, emulated: Some(emulated.into_fd()), silent: None };
        this.until_it_runs();
        this.silent = fuse.map(|fuse| {
            let mut reader = this.command("cat");
            reader.stdin(fuse).stdout(Stdio::piped()).spawn().expect("cat")
        });
        this
    }

    /// Ends the filesystem that does not answer.
    pub(crate) fn answer_no_more(&mut self) {
        if let Some(mut silent) = self.silent.take() {
            silent.kill().expect("kill");
            silent.wait().expect("wait");
        }
    }

    fn until_it_runs(&self) {
        for _ in 0..6000 {
            if self.read(&format!("{}/comm", self.init)).trim() == "cat" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("init does not run: {:?}", self.read(&format!("{}/comm", self.init)));
    }

    fn read(&self, path: &str) -> String {
        let mut text = String::new();
        if let Ok(file) = rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            let _gone = File::from(file).read_to_string(&mut text);
        }
        text
    }

    /// Its user namespace.
    pub(crate) fn user(&self) -> OwnedFd {
        let path = format!("{}/ns/user", self.init);
        rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("a namespace")
    }

    /// Its network namespace.
    pub(crate) fn net(&self) -> OwnedFd {
        let path = format!("{}/ns/net", self.init);
        rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("a namespace")
    }

    /// The directory of a process in the host's procfs.
    pub(crate) fn dir(&self, pid: u32) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.proc, pid.to_string(), flags, Mode::empty()).expect("a process")
    }

    /// A command of the host's, whatever this process's mount namespace is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let host = self.host.as_raw_fd();
        let join = move || {
            // SAFETY: the container's owner keeps it open.
            let host = unsafe { BorrowedFd::borrow_raw(host) };
            move_into_link_name_space(host, Some(LinkNameSpaceType::Mount)).map_err(std::io::Error::from)
        };
        // SAFETY: system calls only.
        unsafe { command.pre_exec(join) };
        command
    }

    fn enter(&self, pid: u32, script: &str) -> Command {
        let mut command = self.command("nsenter");
        let same = ["-U", "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w", "-S", "0", "-G", "0"];
        command.args(["-t", &pid.to_string()]).args(same).args(["sh", "-c", script]);
        command
    }

    /// What a script prints as root of the container, in the namespaces of init.
    pub(crate) fn run(&self, script: &str) -> String {
        self.run_beside(self.init, script)
    }

    /// The same in the namespaces of another process of it.
    pub(crate) fn run_beside(&self, pid: u32, script: &str) -> String {
        // The helper has no /dev/null.
        let output =
            self.enter(pid, &format!("exec 2>&1; {script}")).stdin(Stdio::inherit()).output().expect("nsenter");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        text.trim_end().to_owned()
    }

    /// Takes `subset=pid` of a procfs back, as root of the container.
    pub(crate) fn whole(&self, path: &str) {
        let open = |name: &str| {
            let path = format!("{}/ns/{name}", self.init);
            rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("a namespace")
        };
        let (user, mounts, path) = (open("user"), open("mnt"), path.to_owned());
        let set = move || {
            move_into_link_name_space(user.as_fd(), None)?;
            move_into_link_name_space(mounts.as_fd(), None)?;
            let filesystem = fspick(CWD, &path, FsPickFlags::FSPICK_CLOEXEC)?;
            fsconfig_set_string(&filesystem, "subset", ",")?;
            Ok(fsconfig_reconfigure(&filesystem)?)
        };
        let mut command = self.command("true");
        // SAFETY: system calls only.
        unsafe { command.pre_exec(set) };
        assert!(command.status().expect("it is the owner's to take back").success());
    }

    /// A process that has run `script`, which ends in `$WAIT`: it waits there. (Within quotes it is what a shell waits with.)
    pub(crate) fn waiting(&self, script: &str) -> Waiting {
        // The waiting program says its name by its argument: procfs tells which process it is, as the host counts.
        let wait = format!("echo ready; read _; exit # eci-acts-{}", std::process::id());
        let script = script.strip_suffix("; $WAIT").map_or_else(
            || script.replacen("$WAIT", "exec sh -c \"$WAIT\"", usize::from(script == "$WAIT")),
            |before| format!("{before}; exec sh -c \"$WAIT\""),
        );
        let mut command = self.enter(self.init, &script);
        let mut child =
            command.env("WAIT", &wait).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "{script}");
        let pid = self.find(&wait);
        Waiting { stdin: child.stdin.take(), child, pid }
    }

    fn find(&self, argument: &str) -> u32 {
        let directory =
            rustix::fs::openat(&self.proc, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("procfs");
        let waits = |command: &str| {
            let script = command.strip_prefix("sh\0-c\0").and_then(|rest| rest.strip_suffix('\0'));
            script.is_some_and(|script| script.trim_start_matches("cd /; ") == argument)
        };
        for entry in rustix::fs::Dir::new(directory).expect("procfs").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let command = self.read(&format!("{name}/cmdline"));
            if name.parse::<u32>().is_ok() && waits(&command) {
                return name.parse().expect("a pid");
            }
        }
        panic!("no process {argument:?}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.answer_no_more();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _gone = stdin.write_all(b"\n");
        }
        let _status = self.child.wait();
    }
}

/// Where the layers of the container's overlay are, on the disk.
pub(crate) const LAYERS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/acts");

/// An overlay as the container's root filesystem is one: the host's, with id-mapped layers.
fn overlay(user: BorrowedFd<'_>) -> Detached {
    let _former = std::fs::remove_dir_all(LAYERS);
    for layer in ["lower", "upper", "work"] {
        std::fs::create_dir_all(format!("{LAYERS}/{layer}")).expect("mkdir");
    }
    let options = format!("lowerdir={LAYERS}/lower,upperdir={LAYERS}/upper,workdir={LAYERS}/work");
    let mount = RootMount {
        fstype: "overlay".to_owned(),
        source: "overlay".to_owned(),
        target: String::new(),
        options: options.split(',').map(str::to_owned).collect(),
    };
    let request = Request { mounts: &[mount], path: Path::new(LAYERS), userns: user, route: LayerRoute::Auto };
    let ids = FsIds::enter(MAP).expect("filesystem ids");
    userns::rootfs::assemble(&request, &ids).expect("an overlay")
}

/// The container's tree, and with it the root of this process: the host's files, read-only; tmpfs of its own.
fn assemble(user: BorrowedFd<'_>, overlay: &Detached) {
    let ids = MountIds { userns: user, own: Some(MAP), plain: false };
    let root = Detached::bind(open("/", OFlags::PATH), false, ids, "/", &[]).expect("the host's files");
    let root_dir = |path: &str| rustix::fs::openat(root.fd(), path, OFlags::PATH, Mode::empty()).expect("a directory");
    let owner = MAP.host.to_string();
    let own = [("uid", owner.as_str()), ("gid", owner.as_str()), ("mode", "755"), ("size", "16m")];
    let place = new("tmpfs", &own);
    attach(&place, "/mnt");
    for directory in ["root", "scratch"] {
        std::fs::create_dir(format!("/mnt/{directory}")).expect("mkdir");
    }
    attach(&root, "/mnt/root");
    flags(&root, libc::MOUNT_ATTR_RDONLY);
    for directory in ["tmp", "run", "dev", "srv"] {
        new("tmpfs", &own).attach_at(root_dir(directory)).expect("attach");
    }
    rustix::fs::mknodat(
        CWD,
        "/mnt/scratch/null",
        rustix::fs::FileType::CharacterDevice,
        0o666.into(),
        rustix::fs::makedev(1, 3),
    )
    .expect("mknod");
    std::fs::create_dir("/mnt/scratch/empty").expect("mkdir");
    for name in ["null", "zero"] {
        let minor = if name == "null" { 3 } else { 5 };
        let number = rustix::fs::makedev(1, minor);
        rustix::fs::mknodat(
            CWD,
            format!("/mnt/root/dev/{name}"),
            rustix::fs::FileType::CharacterDevice,
            0o666.into(),
            number,
        )
        .expect("mknod");
    }
    overlay.attach_at(root_dir("opt")).expect("attach");
    for directory in ["a", "b", "b/c", "deep"] {
        std::fs::create_dir(format!("/mnt/root/srv/{directory}")).expect("mkdir");
        rustix::fs::chownat(
            CWD,
            format!("/mnt/root/srv/{directory}"),
            Some(rustix::fs::Uid::from_raw(MAP.host)),
            Some(rustix::fs::Gid::from_raw(MAP.host)),
            rustix::fs::AtFlags::empty(),
        )
        .expect("chown");
    }
    // The pivot takes the scratch along, at a place that is covered.
    std::fs::create_dir("/mnt/root/run/scratch").expect("mkdir");
    let scratch = Detached::clone_of_path(Path::new("/mnt/scratch"), false).expect("scratch");
    attach(&scratch, "/mnt/root/run/scratch");
    rustix::process::fchdir(root.fd()).expect("chdir");
    rustix::process::pivot_root(".", ".").expect("pivot");
    rustix::mount::unmount(".", UnmountFlags::DETACH).expect("umount");
    rustix::process::chdir("/").expect("chdir");
}

/// `/proc` and `/sys`, and what covers them. Returns the emulated files.
fn emulate(pid: BorrowedFd<'_>) -> Detached {
    let private = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let proc = Detached::filesystem("proc", Some("proc"), &[], &[("pidns", pid)]).expect("proc (Linux 6.17)");
    flags(&proc, private);
    attach(&proc, "/proc");
    let sysfs = new("sysfs", &[]);
    flags(&sysfs, private);
    attach(&sysfs, "/sys");
    let emulated = new("tmpfs", &[("size", "1m")]);
    let staging = open("/srv/deep", OFlags::PATH);
    emulated.attach_at(staging).expect("attach");
    for name in ["proc.uptime", "proc.keys", "sys.notes"] {
        std::fs::write(format!("/srv/deep/{name}"), format!("{UPTIME}\n")).expect("write");
    }
    let cover = |source: &str, target: &str, set: u64| {
        let clone = Detached::clone_of_path(Path::new(source), false).expect(source);
        flags(&clone, set);
        attach(&clone, target);
    };
    cover("/srv/deep/proc.uptime", "/proc/uptime", 0);
    cover("/srv/deep/proc.keys", "/proc/keys", 0);
    cover("/srv/deep/sys.notes", "/sys/kernel/notes", 0);
    cover("/run/scratch/null", "/proc/kallsyms", 0);
    cover("/run/scratch/empty", "/proc/fs", libc::MOUNT_ATTR_RDONLY);
    cover("/proc/irq", "/proc/irq", libc::MOUNT_ATTR_RDONLY);
    rustix::mount::unmount("/run/scratch", UnmountFlags::DETACH).expect("umount");
    let detached = Detached::clone_of_path(Path::new("/srv/deep"), false).expect("emulated");
    rustix::mount::unmount("/srv/deep", UnmountFlags::DETACH).expect("umount");
    detached
}

/// Mounts a filesystem that answers FUSE_INIT (struct fuse_init_out of linux/fuse.h, protocol 7.31) at `/srv/deep`.
fn mount_fuse((mut fuse, kind): (File, Fuse)) -> File {
    let number = fuse.as_raw_fd().to_string();
    let options = [("fd", number.as_str()), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")];
    let mut options: Vec<_> =
        options.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
    if kind == Fuse::Silent {
        options.push(("allow_other".to_owned(), None));
    }
    let mount = Detached::filesystem("fuse", Some("silent"), &options, &[]).expect("fuse");
    attach(&mount, "/srv/deep");
    let mut request = [0; 16 * 1024];
    let length = fuse.read(&mut request).expect("FUSE_INIT");
    assert!(length >= 40 && request[4..8] == 26_u32.to_ne_bytes(), "FUSE_INIT comes first");
    let mut answer = vec![0; 16 + 64];
    answer[..4].copy_from_slice(&80_u32.to_ne_bytes());
    answer[8..16].copy_from_slice(&request[8..16]);
    answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
    answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
    answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
    fuse.write_all(&answer).expect("the answer to FUSE_INIT");
    fuse
}

/// Clones init, which waits for its map and for its tree, and executes `cat`.
fn clone_init() -> (u32, OwnedFd) {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::SIGCHLD;
    // SAFETY: a fork, of a process with one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert!(pid >= 0, "clone: {}", std::io::Error::last_os_error());
    if pid != 0 {
        return (u32::try_from(pid).expect("a pid"), go);
    }
    drop(go);
    let mut byte = [0_u8; 2];
    if rustix::io::read(&wait, &mut byte) != Ok(2) {
        std::process::exit(1);
    }
    rustix::thread::set_thread_groups(&[]).expect("setgroups");
    rustix::thread::set_thread_gid(rustix::fs::Gid::ROOT).expect("setgid");
    rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT).expect("setuid");
    // SAFETY: one thread, no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("lock the tree");
    let error = Command::new("cat").stdin(wait).stdout(Stdio::null()).env("PATH", "/usr/bin:/bin").exec();
    panic!("exec: {error}");
}
