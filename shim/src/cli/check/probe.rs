//! Looking at the host. Nothing is changed, but that the kernel loads what the first container would have it load; what cannot be
//! read counts as not there.

use std::fs;
use std::path::{Path, PathBuf};

use policy::config::Config;
use policy::idmap::IdMap;
use rustix::fs::{Mode, OFlags};
use syscall_trap::filter::{Instruction, Program};
use userns::lease::LeaseError;
use userns::mount::{Detached, MountIds};

use crate::container::cgroup::Layout;
use crate::container::config;
use crate::container::error::Error;
use crate::container::options::Options;

/// Where engines keep images and writable layers.
const STORAGE: [&str; 4] = ["/var/lib/containerd", "/var/lib/docker", "/var/lib/containers", "/run/containerd"];

/// Where engines keep what containers share.
const VOLUMES: [&str; 3] = ["/var/lib/docker/volumes", "/var/lib/nerdctl", "/var/lib/kubelet/pods"];

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) release: String,
    pub(super) max_user_namespaces: Option<u64>,
    pub(super) time_namespace: bool,
    pub(super) overlay: bool,
    /// `v1`, `v2` or `hybrid`.
    pub(super) cgroups: Option<String>,
    /// Whether a filter can have a listener, or why not.
    pub(super) seccomp_notify: Result<(), String>,
    /// Whether there is FUSE, or why not.
    pub(super) fuse: Result<(), String>,
    pub(super) io_uring_disabled: Option<u64>,
    pub(super) apparmor_restricts_userns: bool,
    /// Directory, filesystem, and whether it takes an id map.
    pub(super) storage: Vec<(String, String, bool)>,
    /// Directory, mode, and whether host users can traverse it and all that leads there.
    pub(super) volumes: Vec<(String, u32, bool)>,
    /// How many ranges the pool has, and how many of them nobody else owns.
    pub(super) pool: Result<(usize, usize), String>,
    pub(super) maxkeys: Option<u64>,
    pub(super) inotify_instances: Option<u64>,
    pub(super) inotify_watches: Option<u64>,
}

impl Host {
    /// Looks at this host.
    pub(super) fn probe() -> Self {
        let filesystems = text("/proc/filesystems");
        let has = |name: &str| filesystems.lines().any(|line| line.split_whitespace().last() == Some(name));
        let config = config::load(&Options::default());
        Self {
            release: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            max_user_namespaces: Path::new("/proc/self/ns/user")
                .exists()
                .then(|| number("/proc/sys/user/max_user_namespaces"))
                .flatten(),
            time_namespace: Path::new("/proc/self/ns/time").exists(),
            overlay: has("overlay"),
            cgroups: cgroups(),
            seccomp_notify: listener().map_err(|error| error.to_string()),
            // That what is there as a module is loaded.
            fuse: fsemu::fuse::mount().map(drop).map_err(|error| error.to_string()),
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            apparmor_restricts_userns: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1),
            storage: all_storage(),
            volumes: volumes(config.as_ref().ok()),
            pool: pool(config),
            maxkeys: number("/proc/sys/kernel/keys/maxkeys"),
            inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
            inotify_watches: number("/proc/sys/fs/inotify/max_user_watches"),
        }
    }
}

/// Installs a filter that allows everything, with a listener: on a thread that ends then.
fn listener() -> std::io::Result<()> {
    let code = u16::try_from(libc::BPF_RET | libc::BPF_K).map_err(std::io::Error::other)?;
    let allow = Instruction { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = Program { instructions: vec![allow], flags: libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV };
    let listen = move || syscall_trap::sys::listen(&program).map(drop);
    std::thread::spawn(listen).join().map_err(|_| std::io::Error::other("a thread has died"))?
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(path: &str) -> Option<u64> {
    text(path).trim().parse().ok()
}

/// Where engines keep what containers share, and what the config shares besides.
fn volumes(config: Option<&Config>) -> Vec<(String, u32, bool)> {
    let shared = config.and_then(|config| config.mounts.shared.as_ref()).into_iter().flatten();
    let shared = shared.map(|path| path.to_string_lossy().into_owned());
    VOLUMES.iter().map(|path| (*path).to_owned()).chain(shared).filter_map(|path| volume(&path)).collect()
}

fn volume(path: &str) -> Option<(String, u32, bool)> {
    let real = fs::canonicalize(path).ok()?;
    let modes: Option<Vec<u32>> = real.ancestors().map(mode).collect();
    let modes = modes?;
    Some((path.to_owned(), *modes.first()?, modes.iter().all(|mode| mode & 0o001 != 0)))
}

fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| metadata.mode())
}

fn cgroups() -> Option<String> {
    let layout = Layout::detect().ok()?;
    let name = match (layout.is_unified(), layout.hierarchies.iter().any(|hierarchy| hierarchy.is_v2())) {
        (true, _) => "v2",
        (false, true) => "hybrid (v1 controllers, v2 beside them)",
        (false, false) => "v1",
    };
    Some(format!("{name}, driver cgroupfs"))
}

fn pool(config: Result<Config, Error>) -> Result<(usize, usize), String> {
    let config = config.map_err(|error| error.to_string())?;
    let pool = userns::lease::read_pool(&config.ranges, Path::new("/etc")).map_err(|error| error.to_string())?;
    if let Some(range) = pool.unmapped() {
        return Err(LeaseError::Unmapped { range, mapped: pool.mapped().clone() }.to_string());
    }
    Ok((pool.ranges().count(), pool.ranges().filter(|range| !pool.is_foreign(*range)).count()))
}

/// Each place where the engines of this host keep files. Where there is none yet, it will be made in the nearest directory
/// above.
fn all_storage() -> Vec<(String, String, bool)> {
    let existing = |path: &&str| Path::new(path).ancestors().find(|path| path.exists()).map(Path::to_path_buf);
    let mut places: Vec<_> = STORAGE.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    if places.is_empty() {
        places = STORAGE.iter().filter_map(existing).collect();
    }
    places.sort();
    places.dedup();
    places.iter().filter_map(|path| storage(path.to_str()?)).collect()
}

/// Whether the filesystem of a directory takes an id map: a detached clone of its mount is given one.
fn storage(path: &str) -> Option<(String, String, bool)> {
    let real = fs::canonicalize(path).ok()?;
    Some((path.to_owned(), filesystem(&real), mappable(&real).is_ok()))
}

fn filesystem(path: &Path) -> String {
    let mounts = userns::mountinfo::read().unwrap_or_default();
    // The last of the longest mount points that lead to the path is the one on top.
    let mount = mounts.into_iter().filter(|mount| path.starts_with(&mount.mount_point));
    let mount = mount.max_by_key(|mount| mount.mount_point.as_os_str().len());
    mount.map_or_else(|| "unknown".to_owned(), |mount| mount.fstype)
}

fn mappable(path: &Path) -> userns::Result<()> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| userns::Error::failed("open", path.display(), errno))
    };
    let map = IdMap { host: 100_000, size: 65536 };
    // This process has one thread, as the making of a user namespace needs.
    let userns = userns::idmap::user_namespace_of(open(Path::new("/proc"))?, map)?;
    let ids = MountIds { userns: std::os::fd::AsFd::as_fd(&userns), own: None, plain: false };
    Detached::bind(open(path)?, false, ids, &path.display().to_string(), &[]).map(drop)
}
