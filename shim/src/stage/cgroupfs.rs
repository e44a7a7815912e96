//! `/sys/fs/cgroup` as the container's cgroup namespace shows it: cgroup2 alone, or a tmpfs with a directory for each v1
//! hierarchy of the host (cgroups(7)).

use policy::plan::{Mount, MountFlags};
use rustix::fs::Mode;
use userns::mount::Detached;

use super::message::Failure;
use super::mounts::{Builder, Data};

/// Mounts it. The caller is in the container's cgroup namespace, which is what a new mount takes its root from.
#[expect(clippy::disallowed_methods, reason = "a tmpfs of our own that is not attached yet")]
pub(super) fn mount(builder: &Builder<'_>, mount: &Mount) -> Result<(), Failure> {
    let at = builder.tree.mountpoint_dir(&mount.destination)?;
    let hierarchies = &builder.order.groups.hierarchies;
    if hierarchies.is_empty() {
        return builder.finish(mount, unified()?, &at, true);
    }
    let top = Detached::filesystem("tmpfs", Some("tmpfs"), &[("mode".into(), Some("755".into()))], &[])?;
    for name in hierarchies {
        let directory = name.strip_prefix("name=").unwrap_or(if name.is_empty() { "unified" } else { name });
        rustix::fs::mkdirat(top.fd(), directory, Mode::from_raw_mode(0o755))
            .map_err(Failure::at("make directory", directory))?;
        for controller in directory.split(',').filter(|controller| *controller != directory) {
            rustix::fs::symlinkat(directory, top.fd(), controller).map_err(Failure::at("link", controller))?;
        }
    }
    builder.finish(mount, top, &at, true)?;
    // Below an attached mount: attaching to a detached one came with Linux 6.15.
    for name in hierarchies {
        let directory = name.strip_prefix("name=").unwrap_or(if name.is_empty() { "unified" } else { name });
        let place = builder.tree.open(&mount.destination)?.child(directory)?;
        let hierarchy = if name.is_empty() { unified()? } else { legacy(name)? };
        hierarchy.set_flags(MountFlags { set: mount.flags.set, clear: mount.flags.clear }, false)?;
        hierarchy.attach(&place)?;
    }
    Ok(())
}

fn unified() -> Result<Detached, Failure> {
    Ok(Detached::filesystem("cgroup2", Some("cgroup"), &[], &[])?)
}

/// A v1 hierarchy, by its controllers or its name (`name=systemd`).
fn legacy(name: &str) -> Result<Detached, Failure> {
    let data: Vec<(String, Option<String>)> = match name.strip_prefix("name=") {
        Some(name) => vec![("none".into(), None), ("name".into(), Some(name.into()))],
        None => name.split(',').map(|controller| (controller.to_owned(), None)).collect(),
    };
    let data: &Data = &data;
    Ok(Detached::filesystem("cgroup", Some("cgroup"), data, &[])?)
}
