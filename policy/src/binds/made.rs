//! What engines make for one container below the directories that are theirs: it is bound although they are restricted.

use std::path::{Component, Path};

use super::Ids;
use super::restricted::Class;

/// One kind of file that an engine makes.
struct Made {
    /// Whose directory it lies in.
    class: Class,
    /// Where in it: `*` is any name (or any end of one), `{own}` the container's or its pod's id, `{peer}` that or, where the container shares
    /// namespaces with another one, any id, and `**` whatever lies below.
    place: &'static str,
    /// Whether users choose what is mounted there: a volume of Docker's driver `local` can be a bind mount or a filesystem by
    /// any other name.
    chosen: bool,
}

const fn engines(class: Class, place: &'static str) -> Made {
    Made { class, place, chosen: false }
}

const fn users(class: Class, place: &'static str) -> Made {
    Made { class, place, chosen: true }
}

const MADE: &[Made] = &[
    engines(Class::Docker, "containers/{peer}/resolv.conf"),
    engines(Class::Docker, "containers/{peer}/hostname"),
    engines(Class::Docker, "containers/{peer}/hosts"),
    engines(Class::Docker, "containers/{peer}/mounts/shm"),
    engines(Class::Docker, "containers/{own}/mounts/**"),
    users(Class::Docker, "volumes/*/_data/**"),
    // `volume-subpath`: the part is bound there, so that nobody can exchange it.
    users(Class::Docker, "tmp/safe-mount*"),
    users(Class::Docker, "plugins/*/propagated-mount/**"),
    engines(Class::ContainerdRoot, "io.containerd.grpc.v1.cri/sandboxes/{peer}/hostname"),
    engines(Class::ContainerdRoot, "io.containerd.grpc.v1.cri/sandboxes/{peer}/hosts"),
    engines(Class::ContainerdRoot, "io.containerd.grpc.v1.cri/sandboxes/{peer}/resolv.conf"),
    engines(Class::ContainerdRoot, "io.containerd.grpc.v1.cri/containers/{own}/volumes/*/**"),
    engines(Class::ContainerdState, "io.containerd.grpc.v1.cri/sandboxes/{peer}/shm"),
    engines(Class::ContainerdState, "io.containerd.grpc.v1.cri/image-volumes/{peer}/**"),
    engines(Class::Kubelet, "pods/*/etc-hosts"),
    engines(Class::Kubelet, "pods/*/containers/*/*"),
    engines(Class::Kubelet, "pods/*/volumes/*/*/**"),
    engines(Class::Kubelet, "pods/*/volume-subpaths/*/*/*/**"),
    engines(Class::Nerdctl, "*/etchosts/*/{peer}/hosts"),
    engines(Class::Nerdctl, "*/containers/*/{peer}/resolv.conf"),
    engines(Class::Nerdctl, "*/containers/*/{peer}/hostname"),
    users(Class::Nerdctl, "*/volumes/*/*/_data/**"),
    // Plain memory that programs share by name, not devices.
    users(Class::Devices, "shm/**"),
    users(Class::Devices, "hugepages/**"),
];

/// Programs that Docker's and nerdctl's `--init` bind.
const PROGRAMS: &[&str] = &["docker-init", "tini", "tini-static"];
const PROGRAM_DIRECTORIES: &[&str] =
    &["/usr/bin", "/usr/local/bin", "/usr/libexec/docker", "/usr/local/libexec/docker", "/usr/lib/docker"];

/// What is known of a place below a restricted directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// The engine makes it, and mounts there what it likes.
    Engine,
    /// The engine makes it, and users say what is mounted there.
    User,
}

/// Who makes what lies at `below` in a directory of this class; none: it is the engine's own affair.
pub(super) fn made(class: Class, below: &Path, ids: &Ids) -> Option<Maker> {
    let made = MADE.iter().find(|made| made.class == class && matches(made.place, below, ids))?;
    Some(if made.chosen { Maker::User } else { Maker::Engine })
}

/// Whether it is one of the engines' programs, by its path with all symlinks resolved.
pub(super) fn is_program(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let directory = path.parent().and_then(Path::to_str);
    name.is_some_and(|name| PROGRAMS.contains(&name))
        && directory.is_some_and(|directory| PROGRAM_DIRECTORIES.contains(&directory))
}

fn matches(pattern: &str, path: &Path, ids: &Ids) -> bool {
    let mut names = path.components();
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        let Some(Component::Normal(name)) = names.next() else { return false };
        let own = || ids.own.iter().any(|id| name == id.as_str());
        let fits = match part {
            "*" => true,
            "{own}" => own(),
            "{peer}" => ids.shares || own(),
            literal => match literal.strip_suffix('*') {
                Some(beginning) => name.to_string_lossy().starts_with(beginning),
                None => name == literal,
            },
        };
        if !fits {
            return false;
        }
    }
    names.next().is_none()
}
