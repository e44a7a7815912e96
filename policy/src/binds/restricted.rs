//! What never may be bound: the list, in the order in which docs/configuration.md has it.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::RootMount;

/// A file or directory that may not be bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restricted {
    /// Its path on the host.
    pub path: PathBuf,
    /// What it is.
    pub class: Class,
}

/// What a restricted path is, and with that what of it may be bound all the same ([`super::made`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The operator says so: no exceptions.
    Operator,
    /// Configuration and state.
    Tree,
    /// The socket of an engine.
    Socket,
    /// Docker's data root.
    Docker,
    /// containerd's root.
    ContainerdRoot,
    /// containerd's state.
    ContainerdState,
    /// The kubelet's directory.
    Kubelet,
    /// nerdctl's data root.
    Nerdctl,
    /// The host's devices.
    Devices,
}

/// Engines, eci and kubelet; then kernel and devices. What lies below `/run` is looked for below `/var/run`, too.
pub const RESTRICTED: &[(&str, Class)] = &[
    ("/etc/eci", Class::Tree),
    ("/run/eci", Class::Tree),
    ("/etc/docker", Class::Tree),
    ("/var/lib/docker", Class::Docker),
    ("/run/docker", Class::Tree),
    ("/run/docker.sock", Class::Socket),
    ("/run/cri-dockerd.sock", Class::Socket),
    ("/run/dockershim.sock", Class::Socket),
    ("/etc/containerd", Class::Tree),
    ("/var/lib/containerd", Class::ContainerdRoot),
    ("/run/containerd", Class::ContainerdState),
    ("/run/containerd/containerd.sock", Class::Socket),
    ("/run/containerd/containerd.sock.ttrpc", Class::Socket),
    ("/opt/containerd", Class::Tree),
    ("/etc/nerdctl", Class::Tree),
    ("/var/lib/nerdctl", Class::Nerdctl),
    ("/etc/cni", Class::Tree),
    ("/var/lib/cni", Class::Tree),
    ("/opt/cni", Class::Tree),
    ("/etc/buildkit", Class::Tree),
    ("/var/lib/buildkit", Class::Tree),
    ("/run/buildkit", Class::Tree),
    ("/run/buildkit/buildkitd.sock", Class::Socket),
    ("/etc/containers", Class::Tree),
    ("/var/lib/containers", Class::Tree),
    ("/run/containers", Class::Tree),
    ("/run/podman", Class::Tree),
    ("/run/podman/podman.sock", Class::Socket),
    ("/etc/crio", Class::Tree),
    ("/var/lib/crio", Class::Tree),
    ("/run/crio", Class::Tree),
    ("/run/crio/crio.sock", Class::Socket),
    ("/etc/kubernetes", Class::Tree),
    ("/var/lib/kubelet", Class::Kubelet),
    ("/var/lib/kubelet/device-plugins/kubelet.sock", Class::Socket),
    ("/var/lib/kubelet/pod-resources/kubelet.sock", Class::Socket),
    ("/etc/rancher", Class::Tree),
    ("/var/lib/rancher/k3s/agent", Class::Tree),
    ("/var/lib/rancher/k3s/server", Class::Tree),
    ("/var/lib/rancher/rke2/agent", Class::Tree),
    ("/var/lib/rancher/rke2/server", Class::Tree),
    ("/run/k3s", Class::Tree),
    ("/run/k3s/containerd/containerd.sock", Class::Socket),
    ("/proc", Class::Tree),
    ("/sys", Class::Tree),
    ("/dev", Class::Devices),
    ("/boot", Class::Tree),
];

/// Filesystems that are windows into the kernel, or into its devices: no directory or file of one may be bound, wherever
/// it is mounted.
const KERNEL: [&str; 18] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "bpf",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "efivarfs",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "selinuxfs",
    "resctrl",
];

/// Whether a filesystem type belongs to the kernel.
pub fn is_kernels(fstype: &str) -> bool {
    KERNEL.contains(&fstype)
}

/// The list as it is looked up on a host.
pub(super) fn builtin() -> Vec<Restricted> {
    let mut list = Vec::new();
    for (path, class) in RESTRICTED {
        list.push(Restricted { path: path.into(), class: *class });
        if path.starts_with("/run/") {
            list.push(Restricted { path: format!("/var{path}").into(), class: *class });
        }
    }
    list
}

/// Where the directory of a container's root is below Docker's data root: with its graph drivers, and with containerd's
/// image store.
const DOCKER_ROOTS: [&[&str]; 7] = [
    &["overlay2", "*", "merged"],
    &["fuse-overlayfs", "*", "merged"],
    &["rootfs", "*", "*"],
    &["btrfs", "subvolumes", "*"],
    &["zfs", "graph", "*"],
    &["vfs", "dir", "*"],
    &["overlay2", "*", "rootfs"],
];

/// The directories that the engine of this container really uses, as the paths that it gives tell: of its bundle, its root,
/// and the layers of its root.
pub(super) fn of_engine(bundle: &Path, root: &Path, rootfs: &[RootMount]) -> Vec<Restricted> {
    let mut found = Vec::new();
    let mut add = |path: Option<PathBuf>, class| {
        let entry = path.filter(|path| path.parent().is_some()).map(|path| Restricted { path, class });
        found.extend(entry.filter(|entry| entry.path.is_absolute()));
    };
    add(before(bundle, "io.containerd.runtime.v2.task"), Class::ContainerdState);
    if !root.starts_with(bundle) {
        add(DOCKER_ROOTS.iter().find_map(|tail| before_tail(root, tail)), Class::Docker);
    }
    let layers = rootfs.iter().flat_map(|mount| mount.options.iter().chain([&mount.source]));
    let layer = |text: &String| {
        let path = text.split_once('=').map_or(text.as_str(), |(_, value)| value);
        before(Path::new(path.split(':').next()?), "io.containerd.snapshotter.v1.")
    };
    add(layers.clone().find_map(layer), Class::ContainerdRoot);
    found
}

/// What comes before the first component that begins with `name`.
fn before(path: &Path, name: &str) -> Option<PathBuf> {
    let mut above = PathBuf::new();
    for component in path.components() {
        if matches!(component, Component::Normal(part) if part.to_string_lossy().starts_with(name)) {
            return Some(above);
        }
        above.push(component);
    }
    None
}

/// What comes before the last components, where they are these; `*` is any one.
fn before_tail(path: &Path, tail: &[&str]) -> Option<PathBuf> {
    let mut above = path;
    for part in tail.iter().rev() {
        let name = above.file_name()?;
        if *part != "*" && name != *part {
            return None;
        }
        above = above.parent()?;
    }
    Some(above.to_owned())
}
