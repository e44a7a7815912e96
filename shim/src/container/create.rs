//! Making a container: everything that is put together before the build stage, and taken apart when something fails.
//!
//! The order: read and judge the spec, decide the namespaces, lease the ids, make the cgroups, write down what `delete`
//! must know, compile the filter, open the stdio, run the build stage, record init in the lease and in the bundle. Until
//! the end a [`Draft`] owns what was made; what goes wrong takes it apart in the opposite order.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use policy::config::{CONFIG_PATH, Config};
use policy::idmap::IdMap;
use policy::plan::{self, Plan, RootMount};
use policy::spec;
use std::os::fd::{AsFd, OwnedFd};
use userns::lease::{self, LayerId, Lease, Leases, ProcessId};

use super::cgroup::{self, Cgroup, Kind, Layout};
use super::error::Error;
use super::event::Event;
use super::logging::Names;
use super::namespaces::{self, Identity, Joined};
use super::options::Options;
use super::pod::Shared;
use super::process::Process;
use super::state::State;
use super::stdio::{self, Streams};
use super::{Container, exit, lock};
use crate::failpoint;
use crate::stage::launch::{Created, OrderFds};
use crate::stage::message::{BuildOrder, Groups, Program};

/// What the engine says of a container.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its id.
    pub(crate) id: String,
    /// The bundle's directory, absolute.
    pub(crate) bundle: PathBuf,
    /// The root filesystem's mounts; empty where the engine has mounted it.
    pub(crate) rootfs: Vec<RootMount>,
    /// What its stdio is to be.
    pub(crate) stdio: stdio::Request,
    /// The runtime's options.
    pub(crate) options: Options,
}

/// What a container stands on besides its processes.
pub(super) struct Grounds {
    pub(super) names: Names,
    pub(super) cgroup: Cgroup,
    pub(super) id_map: IdMap,
    /// The container's own process, from which execs take over what they leave out.
    pub(super) process: plan::Process,
    pub(super) no_new_keyring: bool,
    /// Whether its pid namespace is another container's.
    pub(super) shares_pids: bool,
    /// Its network namespace, where that is the host's.
    pub(super) network: Option<Identity>,
    stdio_owner: Option<(u32, u32)>,
    lease: Mutex<Option<Lease>>,
}

impl Grounds {
    /// The host's uid and gid that a process's pipes are given to.
    pub(super) fn stdio_owner(&self, process: &plan::Process) -> (u32, u32) {
        stdio_owner(self.stdio_owner, process, self.id_map)
    }

    /// Does something with the cgroup that may wait for the kernel.
    pub(super) async fn with_cgroup(
        &self,
        act: impl FnOnce(&Cgroup) -> Result<(), cgroup::Error> + Send + 'static,
    ) -> Result<(), Error> {
        let cgroup = self.cgroup.clone();
        blocking(move || act(&cgroup).map_err(of_cgroup)).await
    }

    /// Removes everything. Can be called again when it fails.
    pub(super) async fn remove(&self, bundle: &Path) -> Result<(), Error> {
        self.with_cgroup(|cgroup| cgroup.kill_all().and_then(|()| cgroup.remove())).await?;
        let (lease, bundle, id) = (lock(&self.lease).take(), bundle.to_owned(), self.names.container.clone());
        blocking(move || {
            State::remove(&bundle);
            if let Some(Err(error)) = lease.map(Lease::release) {
                // The container is gone; who looks at the lease next sees that.
                log::warn!(container = id.as_str(); "{error}");
            }
            Ok(())
        })
        .await
    }
}

/// A container that is being made. Dropping it undoes what was done.
struct Draft {
    id: String,
    bundle: PathBuf,
    lease: Option<Lease>,
    cgroup: Option<Cgroup>,
}

impl Draft {
    /// The lease's descriptor for init, which thereby holds its lock too.
    fn share_lease(&self) -> Result<OwnedFd, Error> {
        let lease = self.lease.as_ref().ok_or_else(|| Error::Failed("the container has no lease".to_owned()))?;
        lease.as_fd().try_clone_to_owned().map_err(|error| Error::Failed(format!("share the lease: {error}")))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let complain = |error: &dyn std::fmt::Display| {
            log::warn!(container = self.id.as_str(); "take apart a container that could not be made: {error}");
        };
        if let Some(cgroup) = self.cgroup.take() {
            if let Err(error) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
                complain(&error);
            }
            State::remove(&self.bundle);
        }
        if let Some(Err(error)) = self.lease.take().map(Lease::release) {
            complain(&error);
        }
    }
}

/// What the blocking first half finds out.
struct Prepared {
    draft: Draft,
    plan: Plan,
    joined: Joined,
    id_map: IdMap,
    cgroup: Cgroup,
    seccomp: Option<Program>,
    hierarchies: Vec<String>,
}

/// Makes a container, up to the point where its init waits for Start. `networks` are the host-owned ones of its pod.
///
/// # Errors
/// A refusal, or the step that failed; nothing is left then.
pub(super) async fn create(
    request: Request,
    shared: &Arc<Shared>,
    networks: Vec<Identity>,
) -> Result<(Arc<Container>, Event), Error> {
    let (asked, namespace) = (request.clone(), shared.namespace.clone());
    let prepared = blocking(move || prepare(&asked, &namespace, &networks)).await?;
    let names = Names { container: request.id.clone(), namespace: shared.namespace.clone() };
    let init = Process::new(String::new(), Streams::new(request.stdio.clone(), names.clone()));
    let Prepared { draft, plan, joined, id_map, cgroup, seccomp, hierarchies } = prepared;
    let grounds = Grounds {
        names,
        cgroup,
        id_map,
        process: plan.process.clone(),
        no_new_keyring: request.options.no_new_keyring,
        shares_pids: joined.joins.is_joined(plan::NamespaceKind::Pid),
        network: joined.network,
        stdio_owner: request.options.stdio_owner,
        lease: Mutex::new(None),
    };
    let built = match draft.share_lease() {
        Ok(lease) => {
            let order = Order { plan, joined, lease, seccomp, hierarchies };
            build(&request, shared, &init, &grounds, order).await
        }
        Err(error) => Err(error),
    };
    let finished = match built {
        Ok(created) => finish(draft, created, &init, &grounds).await,
        Err(error) => {
            undo(draft).await;
            Err(error)
        }
    };
    let (waiting, unwatched) = match finished {
        Ok(finished) => finished,
        Err(error) => {
            init.streams.abort().await;
            return Err(error);
        }
    };
    failpoint::hit("create-done", &request.id);
    let created = Event::Created {
        bundle: request.bundle.to_string_lossy().into_owned(),
        stdio: request.stdio,
        rootfs: request.rootfs,
        pid: init.pid(),
    };
    let container = Container {
        id: request.id,
        bundle: request.bundle,
        shared: shared.clone(),
        grounds,
        init,
        waiting: Mutex::new(Some(waiting)),
        unwatched: Mutex::new(Some(unwatched)),
        execs: Mutex::default(),
        deleted: tokio::sync::Mutex::default(),
    };
    Ok((Arc::new(container), created))
}

/// The half that only looks at files and writes some: spec, namespaces, lease, cgroups.
fn prepare(request: &Request, namespace: &str, networks: &[Identity]) -> Result<Prepared, Error> {
    let path = request.bundle.join("config.json");
    let bytes = fs::read(&path).map_err(|error| Error::Failed(format!("read {}: {error}", path.display())))?;
    let loaded = spec::load(&bytes)?;
    for note in loaded.unknown.iter().chain(&loaded.ignored) {
        log::warn!(container = request.id.as_str(); "{note}");
    }
    let asked = spec::Request { id: &request.id, bundle: &request.bundle, terminal: request.stdio.terminal };
    let plan = spec::plan(&loaded.spec, &asked)?;
    failpoint::hit("create-planned", &request.id);
    let seccomp = plan.process.seccomp.as_ref().map(|profile| compile_now(profile, &request.id)).transpose()?;
    let leases = Leases::open(lease::STATE_DIR).map_err(of_lease)?;
    let joined = namespaces::join(&plan.namespaces, &leases, networks)?;
    let mut draft = Draft { id: request.id.clone(), bundle: request.bundle.clone(), lease: None, cgroup: None };
    let lease = draft.lease.insert(take_lease(request, namespace, &plan, &joined, &leases)?);
    let id_map = lease.id_map();
    for note in lease.notes() {
        log::warn!(container = request.id.as_str(); "{note}");
    }
    failpoint::hit("create-leased", &request.id);
    spec::check_ids(&plan, id_map)?;
    let layout = Layout::detect().map_err(of_cgroup)?;
    let cgroup = Cgroup::create(&layout, &plan.cgroup, &format!("/eci/{namespace}/{}", request.id));
    let cgroup = draft.cgroup.insert(cgroup.map_err(of_cgroup)?).clone();
    failpoint::hit("create-grouped", &request.id);
    State::new(&request.id, namespace, cgroup.paths()).write(&request.bundle).map_err(Error::Failed)?;
    let hierarchies = shown_hierarchies(&layout);
    Ok(Prepared { draft, plan, joined, id_map, cgroup, seccomp, hierarchies })
}

fn take_lease(
    request: &Request,
    namespace: &str,
    plan: &Plan,
    joined: &Joined,
    leases: &Leases,
) -> Result<Lease, Error> {
    let layer = userns::rootfs::writable_layer(&request.rootfs, &plan.root.path);
    let layer = layer.map_err(|error| Error::Failed(error.to_string()))?;
    let layer = layer.map(|layer| LayerId::of(&layer.path)).transpose();
    let wish = lease::Request {
        container: request.id.clone(),
        namespace: namespace.to_owned(),
        layer: layer.map_err(|error| Error::Failed(format!("look at the writable layer: {error}")))?,
        cgroups: Vec::new(),
    };
    let lease = match (joined.user(), plan.id_map) {
        (Some(user), None) => leases.join(&wish, user),
        (Some(user), Some(map)) => {
            let lease = leases.join(&wish, user).map_err(of_lease)?;
            if lease.id_map() == map {
                return Ok(lease);
            }
            let reason = "are not those of the user namespace that is joined";
            return Err(policy::Refusal::new("linux.uidMappings", reason).into());
        }
        (None, Some(map)) => leases.acquire_map(&wish, map),
        (None, None) => {
            let config = read_config()?;
            let pool = lease::read_pool(&config.ranges, Path::new("/etc")).map_err(of_lease)?;
            leases.acquire(&wish, &pool)
        }
    };
    lease.map_err(of_lease)
}

/// The operator's file; where there is none, the defaults.
fn read_config() -> Result<Config, Error> {
    match fs::read_to_string(CONFIG_PATH) {
        Ok(text) => Ok(Config::parse(&text, CONFIG_PATH)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(Error::Failed(format!("read {CONFIG_PATH}: {error}"))),
    }
}

/// What the build stage is told beyond the grounds.
struct Order {
    plan: Plan,
    joined: Joined,
    lease: OwnedFd,
    seccomp: Option<Program>,
    hierarchies: Vec<String>,
}

/// The half that makes processes: stdio and the build stage.
async fn build(
    request: &Request,
    shared: &Shared,
    init: &Process,
    grounds: &Grounds,
    order: Order,
) -> Result<Created, Error> {
    failpoint::hit("create-recorded", &request.id);
    let stdio = init.streams.open(grounds.stdio_owner(&order.plan.process)).await?;
    let mut namespaces = order.joined.fds;
    namespaces.push(order.lease);
    let (mut groups, fds) = launch_fds(&grounds.cgroup, stdio, namespaces)?;
    groups.hierarchies = order.hierarchies;
    let order = BuildOrder {
        id: request.id.clone(),
        plan: order.plan,
        id_map: grounds.id_map,
        joins: order.joined.joins,
        rootfs: request.rootfs.clone(),
        seccomp: order.seccomp,
        no_new_keyring: grounds.no_new_keyring,
        groups,
    };
    let created = shared.launcher.create(&order, fds).await?;
    failpoint::hit("create-built", &request.id);
    for note in &created.notes {
        log::warn!(container = request.id.as_str(); "{note}");
    }
    Ok(created)
}

/// Writes init down, and takes the terminal. Hands the lease over when all is well; else init is killed.
async fn finish(
    mut draft: Draft,
    created: Created,
    init: &Process,
    grounds: &Grounds,
) -> Result<(crate::stage::launch::Waiting, OwnedFd), Error> {
    let Created { pid, pidfd, terminal, waiting, .. } = created;
    let watched = pidfd.try_clone().map_err(|error| Error::Failed(format!("watch init: {error}")));
    init.exists(pid, pidfd);
    let (pid, namespace) = (init.pid(), grounds.names.namespace.clone());
    let (draft, recorded) = blocking_pair(move || {
        let recorded = record(&mut draft, pid, &namespace);
        (draft, recorded)
    })
    .await?;
    let attached = match (recorded, terminal) {
        (Ok(()), Some(master)) => init.streams.attach(master).await,
        (recorded, _) => recorded,
    };
    match (attached, watched) {
        (Ok(()), Ok(watched)) => {
            *lock(&grounds.lease) = keep(draft);
            Ok((waiting, watched))
        }
        (attached, watched) => {
            let _ = init.kill(9);
            if let Ok(watched) = watched {
                exit::of(watched).await;
            }
            undo(draft).await;
            Err(attached.err().unwrap_or_else(|| Error::Failed("watch init".to_owned())))
        }
    }
}

fn record(draft: &mut Draft, pid: u32, namespace: &str) -> Result<(), Error> {
    let cgroups = draft.cgroup.as_ref().map(Cgroup::paths).unwrap_or_default();
    if let Some(lease) = &mut draft.lease {
        lease.record(pid, &cgroups).map_err(of_lease)?;
    }
    let mut state = State::new(&draft.id, namespace, cgroups);
    let init = ProcessId::of(pid).map_err(|error| Error::Failed(format!("look at init (pid {pid}): {error}")))?;
    state.init = Some(init);
    state.write(&draft.bundle).map_err(Error::Failed)
}

/// Takes the lease out of a draft that is one no more.
fn keep(mut draft: Draft) -> Option<Lease> {
    draft.cgroup = None;
    draft.lease.take()
}

async fn undo(draft: Draft) {
    // Its drop does the work, and may wait for the kernel. A panic in it has been logged.
    let _ = tokio::task::spawn_blocking(move || drop(draft)).await;
}

/// The descriptors of an order, and how its cgroups are told.
pub(super) fn launch_fds(
    cgroup: &Cgroup,
    stdio: Vec<OwnedFd>,
    namespaces: Vec<OwnedFd>,
) -> Result<(Groups, OrderFds), Error> {
    let entry = cgroup.entry().map_err(of_cgroup)?;
    let told = Groups { procs: entry.procs.len(), directory: entry.directory.is_some(), hierarchies: Vec::new() };
    let groups = entry.procs.into_iter().chain(entry.directory).collect();
    Ok((told, OrderFds { stdio, groups, namespaces }))
}

/// The hierarchies as `/proc/self/cgroup` names them; none where cgroup v2 is all there is.
fn shown_hierarchies(layout: &Layout) -> Vec<String> {
    if layout.is_unified() {
        return Vec::new();
    }
    let name = |hierarchy: &cgroup::Hierarchy| match &hierarchy.kind {
        Kind::V1(controllers) => controllers.join(","),
        Kind::V2 => String::new(),
    };
    layout.hierarchies.iter().map(name).collect()
}

/// Compiles a process's filter.
pub(super) async fn compile(
    profile: Option<oci_spec::runtime::LinuxSeccomp>,
    container: &str,
) -> Result<Option<Program>, Error> {
    let Some(profile) = profile else { return Ok(None) };
    let container = container.to_owned();
    blocking(move || compile_now(&profile, &container)).await.map(Some)
}

fn compile_now(profile: &oci_spec::runtime::LinuxSeccomp, container: &str) -> Result<Program, Error> {
    let compiled = syscall_trap::filter::compile(profile)?;
    if !compiled.unknown.is_empty() {
        log::debug!(container = container; "seccomp: no kernel has {}", compiled.unknown.join(", "));
    }
    Ok(Program::from(&compiled.program))
}

fn stdio_owner(wanted: Option<(u32, u32)>, process: &plan::Process, id_map: IdMap) -> (u32, u32) {
    let on_host = |id| id_map.to_host(id).unwrap_or(id_map.host);
    wanted.unwrap_or_else(|| (on_host(process.uid), on_host(process.gid)))
}

/// Runs what waits for files or the kernel on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    blocking_pair(work).await?
}

async fn blocking_pair<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Failed(format!("a step did not end: {error}")))
}

fn of_cgroup(error: cgroup::Error) -> Error {
    match error {
        cgroup::Error::Refused(refusal) => Error::Refused(refusal),
        error => Error::Failed(error.to_string()),
    }
}

fn of_lease(error: lease::LeaseError) -> Error {
    Error::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_belong_to_the_process_unless_the_engine_says_so() {
        let map = IdMap { host: 100_000, size: 65536 };
        let process: plan::Process = serde_json::from_value(serde_json::json!({
            "terminal": false, "console_size": null, "cwd": "/", "args": ["true"], "env": [], "uid": 5, "gid": 7,
            "additional_gids": [], "umask": null, "no_new_privileges": false, "rlimits": [], "oom_score_adj": null,
            "capabilities": { "bounding": 0, "effective": 0, "permitted": 0, "inheritable": 0, "ambient": 0 },
            "scheduler": null, "io_priority": null, "cpu_affinity_initial": null, "cpu_affinity_final": null,
            "personality": null, "apparmor": null, "selinux_label": null, "seccomp": null,
        }))
        .unwrap();
        assert_eq!(stdio_owner(None, &process, map), (100_005, 100_007));
        assert_eq!(stdio_owner(Some((1, 2)), &process, map), (1, 2));
    }
}
