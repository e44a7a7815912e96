//! A procfs or sysfs that takes a process of its own to mount: either of them by mount(2), in a container of eci's.
//!
//! There fsopen(2) of both is answered with ENOSYS and the kernel refuses the mount, as the covers of the outer container
//! hide a part of its own (`mount_too_revealing()` of fs/namespace.c). mount(2) is served on behalf: the new one comes with
//! those covers, locked. It is so for whoever is in the user namespace that owns its mount namespace and the one that
//! decides what the filesystem shows.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use userns::child::handed_over_or;
use userns::mount::Detached;

use super::message::Failure;
use super::mounts::Data;
use super::namespaces;

/// Makes it by mount(2), of the namespaces that this process and its children are in. `user` is the container's user
/// namespace.
///
/// A network namespace of the engine's is not the container's: then it takes our own user namespace.
pub(super) fn by_mount(fstype: &'static str, user: BorrowedFd<'_>, data: &Data) -> Result<Detached, Failure> {
    let as_root_of = |user: Option<BorrowedFd<'_>>| in_child(fstype, || mount(fstype, user, data));
    as_root_of(Some(user)).or_else(|refused| as_root_of(None).map_err(|_| refused))
}

/// The child's part: mounts it in a mount namespace of its own, and takes a clone with the covers along.
#[expect(clippy::disallowed_methods, reason = "in a mount namespace that ends with this process")]
fn mount(fstype: &'static str, user: Option<BorrowedFd<'_>>, data: &Data) -> Result<Detached, Failure> {
    if let Some(user) = user {
        rustix::thread::move_into_link_name_space(user, Some(LinkNameSpaceType::User))
            .map_err(Failure::at("join", "the user namespace"))?;
    }
    namespaces::unshare(UnshareFlags::NEWNS).map_err(Failure::at("unshare", "the mount namespace"))?;
    let option = |(key, value): &(String, Option<String>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    let data = std::ffi::CString::new(data.iter().map(option).collect::<Vec<_>>().join(","))
        .map_err(|_| Failure::line(format!("mount {fstype}: its options have a zero byte")))?;
    // Any directory but the one where there is one already, which for sysfs may be the same filesystem (EBUSY).
    let place = Path::new("/dev");
    rustix::mount::mount(fstype, place, fstype, rustix::mount::MountFlags::empty(), Some(data.as_c_str()))
        .map_err(Failure::at("mount", fstype))?;
    Ok(Detached::clone_of_path(place, true)?)
}

/// Has a child make a mount, and takes it over.
fn in_child(fstype: &'static str, make: impl FnOnce() -> Result<Detached, Failure>) -> Result<Detached, Failure> {
    let words = |failure: Failure| serde_json::to_vec(&failure).unwrap_or_default();
    let made = handed_over_or(|| make().map(Detached::into_fd).map_err(words));
    match made.map_err(Failure::at("listen to", "a helper"))? {
        Ok(made) => Ok(Detached::from_fd(made, fstype)),
        Err(words) => Err(serde_json::from_slice(&words)
            .unwrap_or_else(|_| Failure::line(format!("mount {fstype}: the helper died")))),
    }
}
