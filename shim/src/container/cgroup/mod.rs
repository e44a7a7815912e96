//! The container's cgroup: made with its limits, given to the container's root, joined before the first instruction of the
//! user's, updated, measured, emptied, removed.
//!
//! Main types: [`Layout`] is what this host (or this view of it) has, [`Cgroup`] a container's group in every hierarchy,
//! [`Entry`] the descriptors by which a process of ours gets in. v1, hybrid and v2 hosts are one code path: for each
//! controller the v1 hierarchy that has it, or else v2.
//!
//! Invariants: a group that has processes is never taken over, so that no two containers share one and nothing but the
//! container is ever killed; a group exists with all its limits or not at all; a value that cannot be set is an error that
//! names its field; besides the container's own groups only parents that one of us made are removed.

mod apply;
mod controllers;
mod cpuset;
mod delegate;
mod devices;
mod entry;
mod error;
mod freezer;
mod journal;
mod kill;
mod layout;
mod limits;
pub(crate) mod oom;
pub(crate) mod own;
mod place;
mod program;
pub(crate) mod stats;
mod systemd;
mod tree;
mod update;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy::Refusal;
use policy::plan::Resources;
use rustix::io::Errno;

pub(crate) use delegate::{LEAF, repeat_limits_of};
pub(crate) use entry::Entry;
pub(crate) use error::Error;
use error::{refused, step};
pub(crate) use layout::{Hierarchy, Kind, Layout};
pub(crate) use systemd::choose;
use systemd::{Scope, Unit, of_systemd};
pub(crate) use tree::write;

use syscall_trap::sys::bpf;

use crate::sys::signal;

/// How long a group may stay busy after its processes have been killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    hierarchy: Hierarchy,
    dir: PathBuf,
}

/// A container's group in every hierarchy. Dropping it removes nothing: the group's life is the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    groups: Vec<Group>,
    in_user_namespace: bool,
    /// The scope whose group it is, where systemd has made it.
    unit: Option<Unit>,
}

impl Cgroup {
    /// Makes the group that `plan` asks for, with its limits; `default_path` (such as `/eci/<namespace>/<id>`) is for a
    /// spec without `linux.cgroupsPath`. A group that is there already and has no process is replaced by a new one, so
    /// that no limit, device rule or child of its former life is left.
    ///
    /// # Errors
    /// When the path or a limit is refused, there are processes in the group, or the kernel says no. Nothing is left then.
    pub(crate) fn create(layout: &Layout, plan: &policy::plan::Cgroup, default_path: &str) -> Result<Self, Error> {
        let rules = devices::rules(&plan.resources.devices)?;
        let mut wanted = groups(layout, plan, default_path)?;
        // All are looked at before any is touched.
        for group in &wanted {
            refuse_processes(group)?;
        }
        let mut made = Self { groups: Vec::new(), in_user_namespace: layout.in_user_namespace, unit: None };
        if let Some(scope) = Scope::of(plan.path.as_ref()) {
            // Of a former life in the hierarchies that systemd does not manage.
            wanted.iter().try_for_each(replace)?;
            let unit = scope.start(&plan.resources, &rules, layout.is_unified());
            made.unit = Some(unit.map_err(of_systemd)?);
        }
        let delegate = layout.is_unified() || needs_v2(&plan.resources);
        let result = wanted.drain(..).try_for_each(|group| made.make(group, delegate));
        let result = result.and_then(|()| made.apply(&made.with_room_for_init(&plan.resources), None));
        let result = result.and_then(|()| made.limit_devices(&rules));
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                let _ = made.remove();
                Err(error)
            }
        }
    }

    /// Where [`Self::create`] makes the group, before it does.
    ///
    /// # Errors
    /// When the path is refused.
    pub(crate) fn wanted_paths(
        layout: &Layout,
        plan: &policy::plan::Cgroup,
        default_path: &str,
    ) -> Result<Vec<PathBuf>, Error> {
        Ok(groups(layout, plan, default_path)?.into_iter().map(|group| group.dir).collect())
    }

    /// The group of a container whose shim is dead, from what [`Self::paths`] and [`Self::unit`] said.
    ///
    /// # Errors
    /// When a path lies in no hierarchy that is mounted here. That the group is gone is no error.
    pub(crate) fn open_existing(layout: &Layout, paths: &[PathBuf], unit: Option<&str>) -> Result<Self, Error> {
        let group = |dir: &PathBuf| match layout.of_path(dir) {
            Some(hierarchy) => Ok(Group { hierarchy: hierarchy.clone(), dir: dir.clone() }),
            None => Err(Refusal::new(format!("cgroup {}", dir.display()), "is in no hierarchy that is mounted here")),
        };
        let groups = paths.iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { groups, in_user_namespace: layout.in_user_namespace, unit: unit.map(Unit::named) })
    }

    /// Its directories, absolute in this mount namespace, one in each hierarchy: for the lease's record.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.groups.iter().map(|group| group.dir.clone()).collect()
    }

    /// The same, with the controllers of each that is v1's.
    pub(crate) fn directories(&self) -> Vec<(Vec<String>, PathBuf)> {
        let controllers = |group: &Group| group.hierarchy.kind.controllers().to_vec();
        self.groups.iter().map(|group| (controllers(group), group.dir.clone())).collect()
    }

    /// Its directory of cgroup v2, where there is one.
    pub(crate) fn unified(&self) -> Option<&Path> {
        self.groups.iter().find(|group| group.hierarchy.is_v2()).map(|group| group.dir.as_path())
    }

    /// The name of its scope, where systemd has made it.
    pub(crate) fn unit(&self) -> Option<&str> {
        self.unit.as_ref().map(Unit::name)
    }

    /// The processes of the group and of all groups below it, by pid, sorted; none when it is gone. Those that this pid
    /// namespace cannot name are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn processes(&self) -> Result<Vec<u32>, Error> {
        // The container can reorder its processes among its groups but not leave them, so one hierarchy tells.
        let Some(group) = self.groups.iter().find(|it| it.hierarchy.is_v2()).or(self.groups.first()) else {
            return Ok(Vec::new());
        };
        let mut pids = tree::processes(&group.dir).map_err(step("list the processes of", &group.dir))?;
        pids.retain(|&pid| pid != 0);
        Ok(pids)
    }

    /// Sends signal `number` to every process of the tree but `init`, each by a descriptor. One that has just ended gets none.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(crate) fn signal_others(&self, init: u32, number: u32) -> Result<(), Error> {
        let list = || self.processes().map(|pids| pids.into_iter().filter(|pid| *pid != init).collect());
        let send = |pid, pidfd: BorrowedFd<'_>| {
            if let Err(errno) = signal::send(pidfd, number) {
                log::debug!("send signal {number} to process {pid}: {errno}");
            }
        };
        kill::each_by_descriptor(list, send).map(drop)
    }

    /// Kills every process of the tree and waits until they have gone. Blocks, as a rule for a few milliseconds.
    ///
    /// # Errors
    /// When one is still there after 10 s.
    pub(crate) fn kill_all(&self) -> Result<(), Error> {
        kill::kill_all(&self.groups, Instant::now() + PATIENCE)
    }

    /// Removes the group and all below it, in every hierarchy, and the parents that one of us made if they are empty now.
    /// What is gone already is no error. Blocks while a killed process is on its way out.
    ///
    /// # Errors
    /// The first one; the other hierarchies are still cleared. Busy after 10 s: a process is left, see
    /// [`Self::kill_all`].
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut result = self.unit.as_ref().map_or(Ok(()), |unit| unit.stop().map_err(of_systemd));
        for Group { hierarchy, dir } in &self.groups {
            let removed = tree::remove(dir, deadline).map_err(step("remove", dir));
            if removed.is_ok() {
                place::remove_parents(hierarchy, dir);
            }
            result = result.and(removed);
        }
        result
    }

    fn make(&mut self, group: Group, delegate: bool) -> Result<(), Error> {
        if self.unit.is_none() {
            replace(&group)?;
        }
        let delegate = delegate && group.hierarchy.is_v2();
        let made = place::make(&group.hierarchy, &group.dir, delegate, self.unit.is_some());
        match made {
            Ok(()) => self.groups.push(group),
            // The group itself may be somebody else's who was quicker.
            Err(_) => place::remove_parents(&group.hierarchy, &group.dir),
        }
        made
    }

    /// In a user namespace the kernel lets nobody set device rules; those of the host hold there, and mknod(2) fails.
    fn limit_devices(&self, rules: &[devices::Rule]) -> Result<(), Error> {
        if self.in_user_namespace {
            return Ok(());
        }
        if let Some(group) = self.groups.iter().find(|it| it.hierarchy.has_v1("devices")) {
            let directory = tree::open(&group.dir).map_err(step("open", &group.dir))?;
            return limit_devices_v1(directory.as_fd(), &devices::v1(rules)?);
        }
        let Some(group) = self.groups.iter().find(|it| it.hierarchy.is_v2()) else {
            return Err(Refusal::new("linux.resources.devices", "no device controller is mounted here").into());
        };
        if devices::allow_everything(rules) {
            return Ok(());
        }
        let directory = tree::open(&group.dir).map_err(step("open", &group.dir))?;
        let program = bpf::load(&bpf::Program::plain(program::compile(rules)));
        let attached = program.and_then(|program| bpf::attach_beside(directory.as_fd(), program.as_fd()));
        attached.map_err(|error| {
            let reason = error::reason(error::errno(&error));
            Refusal::new("linux.resources.devices", format!("the device program: {reason}")).into()
        })
    }
}

/// Whether the unified hierarchy of a hybrid host is asked for more than to hold processes.
fn needs_v2(resources: &Resources) -> bool {
    !(resources.hugepage_limits.is_empty() && resources.rdma.is_empty() && resources.unified.is_empty())
}

/// The group that a plan asks for, in every hierarchy.
fn groups(layout: &Layout, plan: &policy::plan::Cgroup, default_path: &str) -> Result<Vec<Group>, Error> {
    if let Some(scope) = Scope::of(plan.path.as_ref()) {
        let place = |root: Hierarchy| Group { dir: scope.directory(&root), hierarchy: root };
        return Ok(Layout::of_process_1()?.hierarchies.into_iter().map(place).collect());
    }
    let path = place::wanted(plan.path.as_ref(), default_path)?;
    let place = |hierarchy: &Hierarchy| Group { dir: place::directory(hierarchy, path), hierarchy: hierarchy.clone() };
    Ok(layout.hierarchies.iter().map(place).collect())
}

fn replace(group: &Group) -> Result<(), Error> {
    tree::remove(&group.dir, Instant::now()).map_err(step("replace", &group.dir))
}

fn refuse_processes(group: &Group) -> Result<(), Error> {
    let processes = tree::processes(&group.dir).map_err(step("list the processes of", &group.dir))?;
    if processes.is_empty() {
        return Ok(());
    }
    let (dir, count) = (group.dir.display(), processes.len());
    let reason = format!("the container's cgroup is not empty: {count} process(es) in {dir}");
    Err(Refusal::new("linux.cgroupsPath", reason).into())
}

/// A new group has what its parent has, so "everything" needs no line.
fn limit_devices_v1(group: BorrowedFd<'_>, rules: &devices::V1) -> Result<(), Error> {
    let field = "linux.resources.devices";
    let file = if rules.allow { "devices.deny" } else { "devices.allow" };
    if !rules.allow {
        tree::write(group, "devices.deny", "a").map_err(|errno| refused(field, "a", errno))?;
    }
    for exception in &rules.exceptions {
        match tree::write(group, file, &exception.to_string()) {
            Ok(()) => {}
            // What the parent does not have, it cannot give: of a default that is no harm.
            Err(Errno::PERM) if exception.from.index.is_none() => {}
            Err(errno) => return Err(refused(exception.from.field(), exception, errno)),
        }
    }
    Ok(())
}
