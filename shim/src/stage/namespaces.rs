//! The namespaces of a container: which are made by the clone, which are joined, and what is set in them from outside.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::idmap::IdMap;
use policy::plan::NamespaceKind;
use rustix::fs::{Mode, OFlags, Uid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::channel::Channel;
use super::clocks;
use super::message::{BuildOrder, Failure};

/// The other side of the build stage's socket pair with init.
pub(super) struct Peer {
    /// Init's pid as the host counts; 0 in init itself.
    pub(super) pid: i32,
    /// The socket.
    pub(super) sync: Channel,
    /// The container's own cgroup, where init lives in a leaf of it.
    pub(super) own: Option<OwnedFd>,
}

/// unshare(2) for a process with one thread.
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    crate::sys::unshare(flags)
}

/// The namespaces that clone(2) makes; of the user namespace the caller says whether it does. The mount namespace is not
/// among them (it is init's copy of the finished tree), nor are those that must be made after something else: the cgroup
/// namespace (its root is the group that its maker is in) and the time namespace (unshare(2) only).
pub(super) fn clone_flags(order: &BuildOrder, new_user: bool) -> u64 {
    let user = if new_user { libc::CLONE_NEWUSER } else { 0 };
    let flags = [
        (NamespaceKind::Pid, libc::CLONE_NEWPID),
        (NamespaceKind::Ipc, libc::CLONE_NEWIPC),
        (NamespaceKind::Uts, libc::CLONE_NEWUTS),
        (NamespaceKind::Network, libc::CLONE_NEWNET),
    ]
    .into_iter()
    .filter(|(kind, _)| !order.joins.joined.contains(kind))
    .fold(user, |flags, (_, flag)| flags | flag);
    flags as u64
}

/// Joins what the host owns, while we are still the host's root: a network namespace that CNI made.
pub(super) fn join_host_owned(order: &BuildOrder, joined: &[(NamespaceKind, OwnedFd)]) -> Result<(), Failure> {
    if !order.joins.network_is_host_owned {
        return Ok(());
    }
    joined.iter().filter(|(kind, _)| *kind == NamespaceKind::Network).try_for_each(|(kind, fd)| join(*kind, fd.as_fd()))
}

/// Joins a living container's user namespace, and with its rights over them every other namespace that is joined. The
/// pid namespace is the children's.
pub(super) fn join_before_user(order: &BuildOrder, joined: &[(NamespaceKind, OwnedFd)]) -> Result<(), Failure> {
    join_host_owned(order, joined)?;
    join_user(joined)?;
    joined
        .iter()
        .filter(|(kind, _)| *kind != NamespaceKind::User)
        .filter(|(kind, _)| !(order.joins.network_is_host_owned && *kind == NamespaceKind::Network))
        .try_for_each(|(kind, fd)| join(*kind, fd.as_fd()))
}

/// Joins the user namespace among them, if there is one.
pub(super) fn join_user(joined: &[(NamespaceKind, OwnedFd)]) -> Result<(), Failure> {
    let users = joined.iter().filter(|(kind, _)| *kind == NamespaceKind::User);
    users.into_iter().try_for_each(|(kind, fd)| join(*kind, fd.as_fd()))
}

/// Writes the id maps of a process's new user namespace.
pub(super) fn write_maps(ids: IdMap, proc: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
    ["uid_map", "gid_map"].into_iter().try_for_each(|map| write_below(proc, &format!("{pid}/{map}"), &ids.line()))
}

/// Refuses a user namespace, that of process `pid`, whose maps are not the container's: what the spec says of one that
/// the engine has made is taken from the kernel.
pub(super) fn check_maps(order: &BuildOrder, proc: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
    for (kind, map) in [("uid", "uid_map"), ("gid", "gid_map")] {
        let text = read_below(proc, &format!("{pid}/{map}"))?;
        if merged(&text) != Some(order.id_map) {
            let has = text.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(Failure::line(format!(
                "linux.{kind}Mappings: are not those of the user namespace that is joined, which has {has:?}"
            )));
        }
    }
    Ok(())
}

/// The lines of a `uid_map` as one map; none when they are none (user_namespaces(7)).
fn merged(text: &str) -> Option<IdMap> {
    text.lines().try_fold(None, |map: Option<IdMap>, line| {
        let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[container, host, size] = numbers.as_slice() else { return None };
        let map = map.unwrap_or(IdMap { host, size: 0 });
        let follows = container == map.size && map.host.checked_add(map.size) == Some(host);
        follows.then_some(Some(IdMap { size: map.size.checked_add(size)?, ..map }))
    })?
}

/// setns(2) of one namespace.
pub(super) fn join(kind: NamespaceKind, fd: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::thread::move_into_link_name_space(fd, Some(link_type(kind)))
        .map_err(Failure::at("join", format!("the {} namespace", name(kind))))
}

/// Joins the cgroup v1 groups of these `tasks` files.
pub(super) fn join_groups(tasks: Vec<OwnedFd>) -> Result<(), Failure> {
    // 0 is the writer (cgroups(7)). The permission is that of whoever opened the file.
    let join = |group| rustix::io::write(group, b"0").map(drop);
    tasks.into_iter().try_for_each(join).map_err(Failure::at("join", "the container's cgroup"))
}

/// Init's own part, once it is root of its user namespace and in its cgroups: the namespaces that clone(2) leaves out. Says
/// whether a time namespace is among them, for [`clocks::enter_own`].
pub(super) fn settle(order: &BuildOrder) -> Result<bool, Failure> {
    // In a leaf it was made before.
    if !order.joins.joined.contains(&NamespaceKind::Cgroup) && !order.groups.leaf {
        unshare(UnshareFlags::NEWCGROUP).map_err(Failure::at("unshare", "the cgroup namespace"))?;
    }
    let own_clocks = clocks::has_own(order);
    if own_clocks {
        unshare(UnshareFlags::NEWTIME).map_err(Failure::at("unshare", "the time namespace"))?;
    }
    Ok(own_clocks)
}

/// Opens the time namespace that a process's children are in.
pub(super) fn open_time_for_children_of(
    proc: BorrowedFd<'_>,
    process: impl std::fmt::Display,
) -> Result<OwnedFd, Failure> {
    open_below(proc, &format!("{process}/ns/time_for_children"))
}

/// Whether the kernel has a kind of namespace at all (time: 5.6 and CONFIG_TIME_NS).
pub(super) fn host_has(kind: NamespaceKind) -> bool {
    rustix::fs::access(format!("/proc/self/ns/{}", name(kind)), rustix::fs::Access::EXISTS).is_ok()
}

/// Opens a namespace of a process through a procfs of the host.
pub(super) fn open_of(
    proc: BorrowedFd<'_>,
    pid: impl std::fmt::Display,
    kind: NamespaceKind,
) -> Result<OwnedFd, Failure> {
    open_below(proc, &format!("{pid}/ns/{}", name(kind)))
}

fn open_below(proc: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at("open", format!("/proc/{path}")))
}

/// Reads a file below a procfs of the host.
pub(super) fn read_below(proc: BorrowedFd<'_>, path: &str) -> Result<String, Failure> {
    let read = || -> std::io::Result<String> {
        let file = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::io::read_to_string(std::fs::File::from(file))
    };
    read().map_err(Failure::at("read", format!("/proc/{path}")))
}

/// Writes a file below a procfs of the host, in one write.
pub(super) fn write_below(proc: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Failure> {
    let at = || Failure::at::<std::io::Error>("write", format!("/proc/{path}"));
    let file = rustix::fs::openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .map_err(at())?;
    std::fs::File::from(file).write_all(value.as_bytes()).map_err(at())
}

/// What host root sets in the container's namespaces; the caller has joined its network and ipc namespaces, on which
/// the contents of `/proc/sys` depend.
pub(super) fn configure(order: &BuildOrder, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    if !order.joins.joined.contains(&NamespaceKind::Network) {
        crate::sys::net::loopback_up().map_err(Failure::at("bring up", "lo"))?;
    }
    if order.joins.network_is_host_owned {
        // The container's root has no capability over a network namespace of the host's: what an unprivileged user may
        // do there is what it can do (ip(7), icmp(7)).
        write_below(proc, "sys/net/ipv4/ip_unprivileged_port_start", "0")?;
        let gid_map = read_below(proc, "self/gid_map")?;
        write_below(proc, "sys/net/ipv4/ping_group_range", &every_group(&gid_map, order.id_map))?;
    }
    let of_network = |name: &str| name.starts_with(NET);
    set_sysctls(order, proc, of_network)?;
    if order.plan.sysctl.iter().all(|(name, _)| of_network(name)) {
        return Ok(());
    }
    as_containers_root(order, || set_sysctls(order, proc, |name| !of_network(name)))
}

/// Acts with the effective uid of the container's root. The files of the ipc namespace's sysctls are writable for the
/// root of the user namespace that owns it and for nobody else, not even the host's root (mq_permissions() of
/// ipc/mq_sysctl.c, since Linux 6.2).
fn as_containers_root(order: &BuildOrder, act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let become_uid = |uid| {
        // The real uid stays the host's root, by which there is a way back.
        rustix::thread::set_thread_res_uid(None, Uid::from_raw(uid), None)
            .map_err(Failure::at("take the effective uid", uid))
    };
    become_uid(order.id_map.host)?;
    let acted = act();
    become_uid(0)?;
    acted
}

/// What the names of the network namespace's sysctls begin with; all others that a plan has are the ipc namespace's.
const NET: &str = "net.";

fn set_sysctls(order: &BuildOrder, proc: BorrowedFd<'_>, wanted: impl Fn(&str) -> bool) -> Result<(), Failure> {
    for (name, value) in order.plan.sysctl.iter().filter(|(name, _)| wanted(name)) {
        let path = format!("sys/{}", sysctl_path(name));
        let value = match name.as_str() {
            PING_GROUPS if !order.joins.network_is_host_owned => host_groups(value, order.id_map),
            _ => value.clone(),
        };
        write_below(proc, &path, &value)
            .map_err(|failure| Failure::line(format!("linux.sysctl[{name}]: {}", failure.line)))?;
    }
    Ok(())
}

/// The one sysctl of a namespace whose value is ids: those of the writer's user namespace, which is the host's.
const PING_GROUPS: &str = "net.ipv4.ping_group_range";

/// As many groups as may ping, with this `gid_map` of ours. The kernel takes only those that are mapped (EINVAL:
/// `ipv4_ping_group_range()` of net/ipv4/sysctl_net_ipv4.c); where they are no single run, the container's.
fn every_group(gid_map: &str, of_container: IdMap) -> String {
    let most = i32::MAX.unsigned_abs();
    match merged(gid_map) {
        Some(map) => format!("0 {}", map.size.saturating_sub(1).min(most)),
        None => host_groups(&format!("0 {most}"), of_container),
    }
}

/// A range of the container's groups as the host counts, as far as the container has them. What is no such range (`1 0`
/// is nobody) stays as it is.
fn host_groups(value: &str, map: IdMap) -> String {
    let ids: Vec<u32> = value.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    match ids.as_slice() {
        &[low, high] if low <= high => match (map.to_host(low), map.to_host(high.min(map.size.saturating_sub(1)))) {
            (Some(low), Some(high)) => format!("{low} {high}"),
            _ => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

/// The file below `/proc/sys`: dots separate, and a dot within a component is written as a slash (sysctl.d(5)).
fn sysctl_path(name: &str) -> String {
    name.chars()
        .map(|letter| {
            if letter == '.' {
                '/'
            } else if letter == '/' {
                '.'
            } else {
                letter
            }
        })
        .collect()
}

/// The name below `/proc/PID/ns`.
pub(super) fn name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::User => "user",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::Network => "net",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

fn link_type(kind: NamespaceKind) -> LinkNameSpaceType {
    match kind {
        NamespaceKind::User => LinkNameSpaceType::User,
        NamespaceKind::Mount => LinkNameSpaceType::Mount,
        NamespaceKind::Pid => LinkNameSpaceType::ProcessID,
        NamespaceKind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        NamespaceKind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        NamespaceKind::Network => LinkNameSpaceType::Network,
        NamespaceKind::Cgroup => LinkNameSpaceType::ControlGroup,
        NamespaceKind::Time => LinkNameSpaceType::Time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_container_are_written_as_the_host_counts() {
        let map = IdMap { host: 100_000, size: 65536 };
        for (value, written) in [
            ("5 7", "100005 100007"),
            ("0\t2147483647", "100000 165535"),
            ("1 0", "1 0"),
            ("70000 70001", "70000 70001"),
            ("junk", "junk"),
        ] {
            assert_eq!(host_groups(value, map), written);
        }
    }

    #[test]
    fn groups_that_may_ping_are_mapped() {
        let map = IdMap { host: 100_000, size: 65536 };
        for (gid_map, groups) in [
            ("         0          0 4294967295\n", "0 2147483647"),
            ("0 1000000 1048576\n", "0 1048575"),
            ("100000 1000000 65536\n", "100000 165535"),
        ] {
            assert_eq!(every_group(gid_map, map), groups);
        }
    }

    #[test]
    fn the_lines_of_a_map_are_one_map_or_none() {
        let map = Some(IdMap { host: 65536, size: 65536 });
        assert_eq!(merged("         0      65536      65536\n"), map);
        assert_eq!(merged("0 65536 1\n1 65537 65535\n"), map);
        for other in ["", "0 65536 1\n2 65538 65534\n", "0 65536 1\n1 65538 65535\n", "1 65536 65536\n", "0 65536\n"] {
            assert_eq!(merged(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_dot_within_a_sysctls_component_is_a_slash_in_its_name() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }
}
