//! The OCI runtime spec: read, judged, and made into a plan.
//!
//! * [`load`] reads a `config.json`, [`load_process`] the process of an exec request, [`load_resources`] the limits of an
//!   update; all go through the table of [`crate::fields`].
//! * [`plan()`] makes a [`Plan`] of a spec, [`plan_process`] a [`plan::Process`] of an exec's process, and
//!   [`plan_update`] what an update changes. Each idea of the spec has a module of its own here.
//! * [`check_ids`] holds the ids in a plan against the id map of the container once that is known.
//!
//! Nothing is filled in from the defaults of the `oci-spec` crate: what the document does not say stays unsaid.
//!
//! Invariant: a plan asks for nothing that its spec does not ask for, save what isolates the container further.

mod capabilities;
mod cgroup;
mod controllers;
pub(crate) mod cpu_list;
mod device_rules;
mod devices;
mod hooks;
mod id_map;
mod load;
mod mount_data;
pub(crate) mod mount_options;
mod mounts;
mod namespaces;
mod paths;
mod process;
mod resources;
mod root;
mod scheduling;
mod seccomp;
mod sysctl;

use std::path::Path;

use oci_spec::runtime::Spec;

pub use load::{Loaded, MAX_BYTES, load, load_process, load_resources};
pub use mount_options::mount_option_names;
pub use process::{Exec, plan_process};

use crate::Refusal;
use crate::idmap::{IdMap, RANGE_SIZE};
use crate::plan::{self, DeviceOwner, MountKind, NamespaceKind, Plan};

/// What the engine's request says besides the spec.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle directory, absolute; relative paths of the spec are joined to it.
    pub bundle: &'a Path,
    /// Whether the request gives the process a terminal.
    pub terminal: bool,
}

/// The plan of a container.
///
/// # Errors
/// A refusal that names the first property at fault.
pub fn plan(spec: &Spec, request: &Request<'_>) -> Result<Plan, Refusal> {
    check_id(request.id)?;
    check_version(spec.version())?;
    let linux = spec.linux().as_ref();
    let wishes = namespaces::wishes(linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default())?;
    let (hostname, domainname) = namespaces::names(spec, &wishes)?;
    let id_map = match linux {
        Some(linux) => id_map::id_map(linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref())?,
        None => None,
    };
    let joins = wishes.iter().any(|wish| wish.path.is_some());
    let mut plan = Plan {
        id_map,
        root: root::root(spec, request.bundle)?,
        mounts: mounts::mounts(spec.mounts().as_deref().unwrap_or_default(), request.bundle)?,
        masked_paths: root::paths("linux.maskedPaths", linux.and_then(|linux| linux.masked_paths().as_deref()))?,
        readonly_paths: root::paths("linux.readonlyPaths", linux.and_then(|linux| linux.readonly_paths().as_deref()))?,
        devices: devices::devices(linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default())?,
        sysctl: match linux.and_then(|linux| linux.sysctl().as_ref()) {
            Some(sysctl) => sysctl::sysctl(sysctl, &wishes)?,
            None => Vec::new(),
        },
        hostname,
        domainname,
        mount_label: match linux.and_then(|linux| linux.mount_label().as_deref()) {
            Some(label) => paths::optional("linux.mountLabel", label)?,
            None => None,
        },
        process: process::first(spec, request.terminal)?,
        cgroup: cgroup::cgroup(linux)?,
        hooks: hooks::hooks(spec, request.bundle)?,
        namespaces: wishes,
    };
    devices::keep_the_console(&plan.devices, &mut plan.cgroup.resources.devices);
    // Where a namespace is joined, the map is that of its owner and may be larger: the caller checks once it knows.
    match plan.id_map {
        Some(map) => check_ids(&plan, map)?,
        None if !joins => check_ids(&plan, IdMap { host: RANGE_SIZE, size: RANGE_SIZE })?,
        None => {}
    }
    Ok(plan)
}

/// What an update changes: the limits that are given.
///
/// # Errors
/// A refusal that names the first limit that no kernel would take.
pub fn plan_update(resources: &oci_spec::runtime::LinuxResources) -> Result<plan::Resources, Refusal> {
    resources::resources(resources)
}

/// Holds every container id in a plan against the map. [`plan()`] does it for the map that the spec brings and, where no
/// namespace is joined, for the size of a range of our own.
///
/// # Errors
/// A refusal that names the first property with an id outside the map.
pub fn check_ids(plan: &Plan, map: IdMap) -> Result<(), Refusal> {
    process::check_ids(&plan.process, map)?;
    for mount in &plan.mounts {
        if let MountKind::Tmpfs { data } | MountKind::Devpts { data } | MountKind::Proc { data } = &mount.kind {
            mount_data::check_ids(mount.index, data, map)?;
        }
    }
    for device in &plan.devices {
        if let DeviceOwner::Container { uid, gid } = device.owner {
            id_map::covered("linux.devices", uid, map)?;
            id_map::covered("linux.devices", gid, map)?;
        }
    }
    Ok(())
}

/// Whether a node is of a device that every container has.
pub(crate) fn is_default_device(node: &plan::DeviceNode) -> bool {
    devices::is_default(node.kind, node.major, node.minor)
}

/// Whether a plan joins the namespace of this kind.
fn joined(wishes: &[plan::NamespaceWish], kind: NamespaceKind) -> Option<&Path> {
    wishes.iter().find(|wish| wish.kind == kind).and_then(|wish| wish.path.as_deref())
}

/// The id names directories and leases.
fn check_id(id: &str) -> Result<(), Refusal> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 255 || id == "." || id == ".." || !id.chars().all(harmless) {
        return Err(Refusal::new("id", format!("{} is not a container id", paths::quoted(id))));
    }
    Ok(())
}

/// "the runtime MUST generate an error" for a version that it does not support; minor versions are compatible.
fn check_version(version: &str) -> Result<(), Refusal> {
    match version.split('.').next() {
        Some("" | "1") | None => Ok(()),
        Some(_) => Err(Refusal::new("ociVersion", format!("{} is not supported, only 1.x", paths::quoted(version)))),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
