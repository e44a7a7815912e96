//! What the kernel tests of this crate share: a FUSE filesystem at `/mnt` of a mount namespace of the test's own. They
//! need root.

// Each test binary uses its part of it.
#![allow(dead_code)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};

use fsemu::table::{Kind, Node, Part};
use fsemu::{Emulation, Facts, fuse};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The host id that owns the files.
pub(crate) const ROOT: u32 = 1_000_000;

/// Serves these nodes at the path that `test` is given, and sees that the server ends with the mount.
pub(crate) fn served(part: Part, nodes: Vec<&'static Node>, test: impl FnOnce(&Path) + Send) {
    served_by(part, nodes, |root, _| test(root));
}

/// The thread that serves.
pub(crate) struct Server(i32);

impl Server {
    /// How many times it has read: once for each request of the kernel's, if its nodes read nothing. (proc_pid_io(5); the kernel
    /// counts a call when it is done.)
    pub(crate) fn reads(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/self/task/{}/io", self.0)).expect("CONFIG_TASK_IO_ACCOUNTING");
        let count = io.lines().find_map(|line| line.strip_prefix("syscr: "));
        count.expect("syscr").parse().expect("a number")
    }
}

/// [`served`], for a test that looks at who serves.
pub(crate) fn served_by(part: Part, nodes: Vec<&'static Node>, test: impl FnOnce(&Path, &Server) + Send) {
    let values = tempfile::tempdir().expect("a directory");
    let facts = Facts {
        root: ROOT,
        id: "test".into(),
        init: std::process::id().try_into().expect("a pid"),
        cgroups: groups(),
        values: std::sync::Arc::new(std::fs::File::open(values.path()).expect("a directory").into()),
    };
    let nodes = if nodes.is_empty() { fsemu::table::nodes().collect() } else { nodes };
    let emulation = Arc::new(Emulation::of(facts, nodes));
    let (sender, receiver) = mpsc::channel::<OwnedFd>();
    // Not of the namespace of the mount, which it would keep.
    let (tell, told) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        tell.send(Server(tid)).expect("who waits for it");
        fuse::serve(receiver.recv().expect("a device"), emulation, part)
    });
    let by = told.recv().expect("a server");
    let run = move || {
        // SAFETY: the thread has just started and shares its file system attributes with nobody who relies on them;
        // descriptors stay shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("a mount namespace (needs root)");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
        let (mount, device) = fuse::mount().expect("a filesystem");
        sender.send(device).expect("a server");
        mount.attach_at(std::fs::File::open("/mnt").expect("/mnt")).expect("attach");
        drop(mount);
        test(Path::new("/mnt"), &by);
    };
    let end = std::thread::scope(|scope| scope.spawn(run).join());
    end.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    server.join().expect("no panic").expect("the end of the mount is the end of the server");
}

/// The groups of this process.
pub(crate) fn groups() -> Vec<(Vec<String>, PathBuf)> {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let group = |line: &str| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
        let controllers: Vec<String> = controllers.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| match &controllers[..] {
                [] => fields[2] == "cgroup2",
                names => fields[2] == "cgroup" && fields[3].split(',').any(|option| option == names[0]),
            })?;
        Some((controllers, PathBuf::from(format!("{}{path}", mount[1]))))
    };
    own.lines().filter_map(group).collect()
}

/// What a shell script prints, both streams.
pub(crate) fn shell(directory: &Path, script: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(format!("exec 2>&1; {script}")).current_dir(directory).output();
    String::from_utf8_lossy(&output.expect("sh").stdout).into_owned()
}

pub(crate) const fn node(path: &'static str, mode: u32, kind: Kind) -> Node {
    Node { path, mode, kind, own_proc_only: false, reason: "a test" }
}

/// The kernel's error number.
pub(crate) fn errno<T>(result: std::io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}
