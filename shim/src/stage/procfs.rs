//! A procfs or sysfs that takes a process of its own to mount: a procfs of another pid namespace on kernels whose fsconfig(2)
//! has no `pidns`; and either of them by mount(2), in a container of eci's.
//!
//! There fsopen(2) of both is answered with ENOSYS and the kernel refuses the mount, as the covers of the outer container
//! hide a part of its own (`mount_too_revealing()` of fs/namespace.c). mount(2) is served on behalf: the new one comes with
//! those covers, locked. It is so for whoever is in the user namespace that owns its mount namespace and the one that
//! decides what the filesystem shows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::plan::NamespaceKind;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use userns::mount::Detached;

use super::channel::Channel;
use super::message::Failure;
use super::mounts::Data;
use super::namespaces;
use crate::sys::clone::{Cloned, clone3};

/// Makes it in a child that lives in the namespace (a new procfs shows its maker's), and takes it over. `proc` is the
/// host's procfs.
pub(super) fn from_inside(
    proc: BorrowedFd<'_>,
    pid_namespace: BorrowedFd<'_>,
    data: &Data,
) -> Result<Detached, Failure> {
    with_children_in(proc, pid_namespace, || {
        in_child("proc", || Ok(Detached::filesystem("proc", Some("proc"), data, &[])?))
    })
}

/// Makes it by mount(2), of the namespaces that this process and its children are in. `user` is the container's user
/// namespace.
///
/// A network namespace of the engine's is not the container's: then it takes our own user namespace.
pub(super) fn by_mount(fstype: &'static str, user: BorrowedFd<'_>, data: &Data) -> Result<Detached, Failure> {
    let as_root_of = |user: Option<BorrowedFd<'_>>| in_child(fstype, || mount(fstype, user, data));
    as_root_of(Some(user)).or_else(|refused| as_root_of(None).map_err(|_| refused))
}

/// Has children live in a pid namespace while `act` lasts; this process stays where it is (setns(2)).
pub(super) fn with_children_in<T>(
    proc: BorrowedFd<'_>,
    pid_namespace: BorrowedFd<'_>,
    act: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let own = namespaces::open_of(proc, "self", NamespaceKind::Pid)?;
    let enter = |namespace| {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::ProcessID))
            .map_err(Failure::at("join", "the pid namespace"))
    };
    enter(pid_namespace)?;
    let done = act();
    enter(own.as_fd())?;
    done
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
    let (ours, theirs) = Channel::pair().map_err(Failure::at("make", "a socket pair"))?;
    match clone3(0, None).map_err(Failure::at("clone", "a helper"))? {
        Cloned::Child => {
            let _gone = match make() {
                Ok(made) => theirs.send(&None::<Failure>, &[made.fd()]),
                Err(failure) => theirs.send(&Some(failure), &[]),
            };
            std::process::exit(0)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let received = ours.receive::<Option<Failure>>().map_err(Failure::at("listen to", "the helper"))?;
            let _status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            match received {
                Some((None, fds)) => taken_over(fstype, fds),
                Some((Some(failure), _)) => Err(failure),
                None => Err(Failure::line(format!("mount {fstype}: the helper died"))),
            }
        }
    }
}

fn taken_over(fstype: &'static str, mut fds: Vec<OwnedFd>) -> Result<Detached, Failure> {
    let made = fds.pop().ok_or_else(|| Failure::line(format!("mount {fstype}: the helper sent none")))?;
    Ok(Detached::from_fd(made, fstype))
}
