//! The systemd driver: the container's group is that of a transient scope, which systemd makes, shows and keeps.
//!
//! `slice:prefix:name` is the scope `prefix-name.scope` in `slice`. systemd makes its group in the hierarchies that it
//! manages, delegated; in those that it does not (v1's cpuset, freezer, …) the rest of this module makes one at the same
//! path, as runc does, and init joins them all in the usual way. The limits are properties of the unit as well as values in
//! the group's files: systemd writes what it knows of a unit whenever it likes (`systemctl daemon-reload`), and where it
//! knows nothing that is "no limit" and, on v1, "every device".
//!
//! Main types: [`Scope`] is what a spec asks for, [`Unit`] a scope that has been made. systemd is talked to ([`bus`]) when
//! one is made, changed and ended, and there is no connection in between.

mod bus;
mod dbus;
mod driver;
mod holder;
mod properties;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use policy::Refusal;
use policy::plan::{CgroupPath, Resources};

pub(crate) use driver::choose;
pub(super) use driver::of_systemd;

use super::devices::Rule;
use super::layout::Hierarchy;
use super::place;
use bus::Manager;
use holder::Holder;

/// Why systemd does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Process 1 is not systemd.
    #[error(
        "needs systemd, and this host does not run it (there is no socket of systemd or of the system's bus in /run)"
    )]
    NotBooted,
    /// Another container, or a service of the host, has the name.
    #[error("the unit {0} exists already")]
    Exists(String),
    /// A property cannot be had.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A step failed.
    #[error("{step} {object}: {reason}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// With what.
        object: String,
        /// systemd's words.
        reason: String,
    },
}

impl Error {
    fn of(step: &'static str, object: &str, error: dbus::Error) -> Self {
        Self::Step { step, object: object.to_owned(), reason: error.to_string().replace(['\n', '\r'], " ") }
    }
}

/// A scope that a spec asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    slice: String,
    name: String,
}

impl Scope {
    /// None for a path of the other form. Without a slice it is `system.slice`, as in runc.
    pub(super) fn of(path: Option<&CgroupPath>) -> Option<Self> {
        let Some(CgroupPath::Systemd { slice, prefix, name }) = path else { return None };
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        Some(Self { slice: slice.to_owned(), name: format!("{prefix}-{name}.scope") })
    }

    /// The directory of its group, where `root` is the hierarchy with process 1's group as its own.
    pub(super) fn directory(&self, root: &Hierarchy) -> PathBuf {
        let own = &root.own;
        let above = if own.ends_with("init.scope") { own.parent().unwrap_or(own) } else { own };
        place::join(above, &format!("{}/{}", expand(&self.slice), self.name))
    }

    /// Makes the scope, around a process that stays until [`Unit::has_init`].
    pub(super) fn start(&self, resources: &Resources, rules: &[Rule], unified: bool) -> Result<Unit, Error> {
        let manager = Manager::connect()?;
        let version = manager.version()?;
        let holder = Holder::start()?;
        let mut properties = properties::of_scope(&self.slice, &self.name, holder.pid(), unified);
        properties.extend(properties::limits(resources, unified, version));
        if !unified {
            properties.extend(properties::devices(rules)?);
        }
        manager.start(&self.name, &properties)?;
        let pids_limit = resources.pids_limit.filter(|limit| (0..=2).contains(limit));
        Ok(Unit { name: self.name.clone(), pids_limit, holder: Arc::new(Mutex::new(Some(holder))) })
    }
}

/// A scope that has been made.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    name: String,
    /// The limit of processes, where that is so small that it waits until nobody stands in for init.
    pids_limit: Option<i64>,
    holder: Arc<Mutex<Option<Holder>>>,
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Unit {}

impl Unit {
    /// One that was made by a shim that is dead.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), pids_limit: None, holder: Arc::default() }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The pid of the process that stands in for init.
    pub(super) fn holder(&self) -> Option<u32> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Holder::pid)
    }

    /// Init is in the group: nothing stands in for it any more.
    pub(super) fn has_init(&self) {
        drop(self.holder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Changes the properties of the limits that are given.
    pub(super) fn update(&self, resources: &Resources, unified: bool) -> Result<(), Error> {
        let manager = Manager::connect()?;
        let properties = properties::limits(resources, unified, manager.version()?);
        if properties.is_empty() { Ok(()) } else { manager.set(&self.name, &properties) }
    }

    /// Ends the scope. systemd removes its group.
    pub(super) fn stop(&self) -> Result<(), Error> {
        self.has_init();
        Manager::connect()?.stop(&self.name)
    }
}

/// The path of a slice's group: each dash begins one below (systemd.slice(5)).
fn expand(slice: &str) -> String {
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    if name == "-" {
        return String::new();
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::layout::Kind;
    use super::*;

    fn scope(slice: &str) -> Scope {
        let path = CgroupPath::Systemd { slice: slice.into(), prefix: "docker".into(), name: "c1".into() };
        Scope::of(Some(&path)).expect("a scope")
    }

    #[test]
    fn a_slice_with_dashes_lies_in_those_that_it_names() {
        for (slice, path) in [
            ("system.slice", "system.slice"),
            ("kubepods-burstable.slice", "kubepods.slice/kubepods-burstable.slice"),
            ("a-b-c_d.slice", "a.slice/a-b.slice/a-b-c_d.slice"),
            ("-.slice", ""),
        ] {
            assert_eq!(expand(slice), path);
        }
        assert_eq!(scope("").slice, "system.slice");
        assert_eq!(Scope::of(Some(&CgroupPath::Cgroupfs("/a".into()))), None);
        assert_eq!(Scope::of(None), None);
    }

    #[test]
    fn a_scope_lies_below_the_group_that_systemd_itself_began_in() {
        for (own, expected) in [
            ("/m", "/m/system.slice/docker-c1.scope"),
            ("/m/init.scope", "/m/system.slice/docker-c1.scope"),
            ("/m/host/init.scope", "/m/host/system.slice/docker-c1.scope"),
        ] {
            let root = Hierarchy { kind: Kind::V2, mount_point: "/m".into(), own: own.into() };
            assert_eq!(scope("system.slice").directory(&root), PathBuf::from(expected));
        }
        let root = Hierarchy { kind: Kind::V2, mount_point: "/m".into(), own: "/m/init.scope".into() };
        assert_eq!(scope("-.slice").directory(&root), PathBuf::from("/m/docker-c1.scope"));
    }

    #[test]
    fn every_error_is_one_readable_line() {
        let absent = Error::NotBooted.to_string();
        assert!(absent.starts_with("needs systemd, and this host does not run it"), "{absent}");
        assert_eq!(Error::Exists("a.scope".into()).to_string(), "the unit a.scope exists already");
        let words = Error::of("start", "a.scope", dbus::Error::Malformed("one\ntwo".into())).to_string();
        assert!(words.starts_with("start a.scope: ") && !words.contains('\n'), "{words}");
    }
}
