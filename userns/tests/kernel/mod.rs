//! What the kernel tests of this crate share: a mount namespace of each test's own, a directory on the disk, a map.
//! The tests need root.

// Each test binary uses its part of it.
#![allow(dead_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use policy::idmap::IdMap;
use policy::plan::ContainerPath;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use userns::mount::Detached;
use userns::tree::Tree;

/// The map of the test's container.
pub(crate) const MAP: IdMap = IdMap { host: 1_000_000, size: 65536 };

/// Runs `test` in a thread whose mount namespace is its own, with private propagation.
pub(crate) fn private(test: impl FnOnce() + Send) {
    let run = || {
        // SAFETY: the thread has just started and shares its file system attributes with nobody who relies on them;
        // descriptors stay shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("a mount namespace (needs root)");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        test();
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// A new directory on the disk that the target directory lies on, removed at the end.
pub(crate) fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Mounts a new tmpfs at `path`, or another filesystem.
pub(crate) fn mount_new(fstype: &str, path: &Path) {
    std::fs::create_dir_all(path).expect("mkdir");
    let filesystem = Detached::filesystem(fstype, Some(fstype), &[], &[]).expect("a filesystem");
    filesystem.attach_at(File::open(path).expect("a directory")).expect("attach");
}

/// A user namespace with [`MAP`].
pub(crate) fn user_namespace() -> OwnedFd {
    userns::idmap::user_namespace_of(File::open("/proc").expect("/proc"), MAP).expect("a user namespace")
}

/// Attaches a mount at `/mnt`, which everybody may traverse, and returns the path.
pub(crate) fn at_mnt(mount: &Detached) -> PathBuf {
    mount.attach_at(File::open("/mnt").expect("/mnt")).expect("attach to /mnt");
    "/mnt".into()
}

/// Runs a shell script as root of `userns`, in a new mount namespace of that (so that what is mounted now is locked),
/// with `directory` as its working directory; returns what it prints, both streams.
pub(crate) fn inside(userns: &OwnedFd, directory: &Path, script: &str) -> String {
    let namespace = format!("--user=/proc/{}/fd/{}", std::process::id(), userns.as_raw_fd());
    let unshare = ["unshare", "--mount", "--propagation", "unchanged", "--wd"];
    let output = Command::new("nsenter")
        .args([&namespace, "--setuid", "0", "--setgid", "0", "--"])
        .args(unshare)
        .arg(directory)
        .args(["sh", "-c", &format!("exec 2>&1; {script}")])
        .output()
        .expect("nsenter and unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.trim_end().to_owned()
}

/// uid and gid of a file, not following symlinks.
pub(crate) fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let path = path.as_ref();
    let stat = std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (stat.uid(), stat.gid())
}

pub(crate) fn path(text: &str) -> ContainerPath {
    ContainerPath::parse(text).expect("a container path")
}

pub(crate) fn tree(root: &Path) -> Tree {
    Tree::new(File::open(root).expect("a directory").into())
}
