//! What is known of the namespaces that a spec wants to join: the facts on which policy decides.
//!
//! Each path is opened once, and what is found out and what is joined later is that descriptor, never the path again.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use policy::Refusal;
use policy::config::Missing;
use policy::namespaces::{Fact, Joins, Owner, UserNamespace, decide};
use policy::plan::{NamespaceKind, NamespaceWish};
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use userns::lease::{Leases, UsernsId};

use super::error::Error;
use crate::sys::namespace;

/// statfs(2) `NSFS_MAGIC`.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A namespace, as fstat(2) of its file shows it. It means something only while a descriptor or a process keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// What a container joins, and the descriptors by which.
pub(super) struct Joined {
    /// The decision. Where a user namespace is joined, its kind is the first of `joined`.
    pub(super) joins: Joins,
    /// One for each of `joins.joined`.
    pub(super) fds: Vec<OwnedFd>,
    /// The network namespace that the host owns (CNI's), if that is joined.
    pub(super) network: Option<Identity>,
}

impl Joined {
    /// The user namespace that is joined.
    pub(super) fn user(&self) -> Option<BorrowedFd<'_>> {
        match self.joins.joined.first() {
            Some(NamespaceKind::User) => self.fds.first().map(AsFd::as_fd),
            _ => None,
        }
    }
}

/// A path that was opened, and what is known of it.
struct Look {
    fact: Fact,
    fd: OwnedFd,
    identity: Identity,
    /// Whose user namespace owns it, if that is a container's.
    user: Option<OwnedFd>,
    /// Whether it is the user namespace that the engine has made for the pod.
    is_given: bool,
}

/// By what a namespace is judged.
pub(super) struct Judge<'a> {
    /// The leases of this host.
    pub(super) leases: &'a Leases,
    /// The networks of this pod's containers that the host owns.
    pub(super) networks: &'a [Identity],
    /// What the operator says of namespaces that the spec leaves out.
    pub(super) missing: Missing,
    /// Whether the spec brings an id map. A user namespace that comes with its map is one that the engine has made for
    /// the pod, unless it is a container's; the build stage holds the two maps against each other.
    pub(super) brings_map: bool,
}

/// Opens and judges the paths of `wishes`, of which the user namespace is the first.
///
/// # Errors
/// A refusal that names the kind and the path.
pub(super) fn join(wishes: &[NamespaceWish], judge: &Judge<'_>) -> Result<Joined, Error> {
    let mut looks: Vec<Look> = Vec::new();
    for wish in wishes {
        if let Some(path) = &wish.path {
            // The descriptors in `looks` keep it, so that its number is its own.
            let given = looks.iter().find(|look| look.fact.kind == NamespaceKind::User && look.is_given);
            looks.push(look(wish.kind, path, judge, given.map(|look| look.identity))?);
        }
    }
    let facts: Vec<Fact> = looks.iter().map(|look| look.fact.clone()).collect();
    let mut joins = decide(wishes, &facts, judge.missing)?;
    let network = looks.iter().find(|look| look.fact.kind == NamespaceKind::Network && joins.network_is_host_owned);
    let network = network.map(|look| look.identity);
    let mut fds = Vec::new();
    if joins.user != UserNamespace::New {
        let user = looks.iter_mut().find_map(|look| look.user.take());
        fds.push(user.ok_or_else(|| Error::Failed("the user namespace to join was not found".to_owned()))?);
    }
    for kind in &joins.joined {
        if let Some(at) = looks.iter().position(|look| look.fact.kind == *kind) {
            fds.push(looks.swap_remove(at).fd);
        }
    }
    if joins.user != UserNamespace::New {
        joins.joined.insert(0, NamespaceKind::User);
    }
    Ok(Joined { joins, fds, network })
}

fn look(kind: NamespaceKind, path: &Path, judge: &Judge<'_>, given: Option<Identity>) -> Result<Look, Error> {
    let refuse = |reason: String| Refusal::new("linux.namespaces", format!("the {kind} namespace {path:?} {reason}"));
    let unreadable = |errno: rustix::io::Errno| refuse(format!("cannot be opened: {errno}"));
    // Non-blocking: the path may name a fifo.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = openat(CWD, path, flags, Mode::empty()).map_err(unreadable)?;
    if fstatfs(&fd).map_err(unreadable)?.f_type as u64 != NSFS_MAGIC {
        return Err(refuse("is no namespace".to_owned()).into());
    }
    let identity = identity(fd.as_fd()).map_err(unreadable)?;
    let failed = |what: &str, error: std::io::Error| refuse(format!("cannot be judged: {what}: {error}"));
    let of_process = |pid, kind| of_process(pid, kind).map_err(|error| failed("the host's own", error));
    // Where the engine has been moved, by its unit's PrivateNetwork= or the like, process 1 still has what everyone takes
    // for the host's.
    let is_host = identity == of_process("self", kind)? || identity == of_process("1", kind)?;
    let host = of_process("self", NamespaceKind::User)?;
    let user = match kind {
        NamespaceKind::User => fd.try_clone().map_err(|error| failed("its descriptor", error))?,
        _ => namespace::owner(fd.as_fd()).map_err(|error| failed("its owner", error))?,
    };
    let owner = self::identity(user.as_fd()).map_err(unreadable)?;
    let given_here = kind == NamespaceKind::User && !is_host && judge.brings_map;
    let is_given = given_here && is_below(user.as_fd(), host).map_err(|error| failed("its parent", error))?;
    let owner = match owner {
        owner if owner == host => Owner::Host,
        owner if is_given || given == Some(owner) => Owner::Lease(key(owner)),
        owner => container(owner, judge.leases)?,
    };
    let user = matches!(owner, Owner::Lease(_)).then_some(user);
    let under_netns_dir = fs::canonicalize(path).is_ok_and(|path| path.starts_with("/run/netns"));
    let is_pod_network = kind == NamespaceKind::Network && judge.networks.contains(&identity);
    let fact = Fact { kind, path: path.to_owned(), is_host, owner, under_netns_dir, is_pod_network };
    Ok(Look { fact, fd, identity, user, is_given })
}

/// Whether a user namespace is a child of the host's. One below another is under the power of that one's root.
fn is_below(user: BorrowedFd<'_>, host: Identity) -> std::io::Result<bool> {
    // The owner of a user namespace is its parent (ioctl_ns(2), "NS_GET_USERNS" as "NS_GET_PARENT").
    Ok(identity(namespace::owner(user)?.as_fd())? == host)
}

/// Whether a user namespace, of which a descriptor is open, is that of a living container of ours.
fn container(id: Identity, leases: &Leases) -> Result<Owner, Error> {
    let living = leases.find_by_userns(UsernsId { dev: id.device, ino: id.inode });
    let living = living.map_err(|error| Error::Failed(error.to_string()))?;
    Ok(if living.is_empty() { Owner::Other } else { Owner::Lease(key(id)) })
}

/// By which a user namespace, and with it the leases of its containers, is known.
fn key(user: Identity) -> String {
    format!("{}:{}", user.device, user.inode)
}

fn identity(fd: BorrowedFd<'_>) -> rustix::io::Result<Identity> {
    let stat = fstat(fd)?;
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
}

/// The namespace of a process, by its name below /proc.
fn of_process(pid: &str, kind: NamespaceKind) -> std::io::Result<Identity> {
    let name = match kind {
        NamespaceKind::Mount => "mnt".to_owned(),
        NamespaceKind::Network => "net".to_owned(),
        kind => kind.to_string(),
    };
    let stat = rustix::fs::stat(format!("/proc/{pid}/ns/{name}"))?;
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(kind: NamespaceKind, path: &Path) -> Result<Joins, String> {
        let dir = tempfile::tempdir().unwrap();
        let leases = Leases::open(dir.path().join("ranges")).unwrap();
        let wish = NamespaceWish { kind, path: Some(path.to_owned()), named: true };
        let judge = Judge { leases: &leases, networks: &[], missing: Missing::Private, brings_map: true };
        join(&[wish], &judge).map(|joined| joined.joins).map_err(|error| error.to_string())
    }

    #[test]
    fn the_hosts_own_namespaces_are_recognised_by_what_they_are() {
        for (kind, name) in
            [(NamespaceKind::Ipc, "ipc"), (NamespaceKind::Network, "net"), (NamespaceKind::User, "user")]
        {
            let error = joined(kind, Path::new(&format!("/proc/self/ns/{name}"))).unwrap_err();
            assert!(error.contains("with the host"), "{error}");
        }
    }

    #[test]
    fn what_is_no_namespace_is_refused_by_its_path() {
        let error = joined(NamespaceKind::Ipc, Path::new("/proc/self/stat")).unwrap_err();
        assert_eq!(error, "linux.namespaces: the ipc namespace \"/proc/self/stat\" is no namespace");
        let error = joined(NamespaceKind::Ipc, Path::new("/proc/self/ns/none")).unwrap_err();
        assert!(error.contains("cannot be opened"), "{error}");
    }
}
