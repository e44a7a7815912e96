//! Making a container: everything that is put together before the build stage, and taken apart when something fails.
//!
//! The order: read and judge the spec, decide the namespaces, lease the ids, make the cgroups, write down what `delete`
//! must know, compile the filter, open the stdio, run the build stage, record init in the lease and in the bundle. Until
//! the end a [`Draft`] owns what was made; what goes wrong takes it apart in the opposite order.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use oci_spec::runtime::Spec;
use policy::binds::Rules;
use policy::config::Config;
use policy::idmap::IdMap;
use policy::plan::{self, Hooks, Plan, RootMount};
use policy::spec;
use userns::lease::ProcessId;
use userns::views::Views;

use super::audit::Subject;
use super::binds;
use super::ceilings::Ceilings;
use super::cgroup::{self, Cgroup, Entry, Kind, Layout};
use super::config;
use super::emulation::{self, Basis};
use super::error::Error;
use super::event::Event;
use super::grounds::{Draft, Grounds, blocking, blocking_pair, of_cgroup};
use super::hands::Hands;
use super::logging::Names;
use super::namespaces::{self, Identity, Joined, Judge};
use super::options::Options;
use super::pod::Shared;
use super::process::Process;
use super::state::State;
use super::stdio::{self, Streams};
use super::trap::Traps;
use super::{Container, devices, exit, filters, ids, lock, programs, views};
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

/// What the blocking first half finds out.
struct Prepared {
    subject: Subject,
    draft: Draft,
    plan: Plan,
    joined: Joined,
    id_map: IdMap,
    cgroup: Cgroup,
    /// The process as its spec has it, before the config has its say.
    process: plan::Process,
    config: policy::config::Container,
    filters: Vec<Program>,
    hierarchies: Vec<String>,
    nested: bool,
    views: Option<Views>,
    binds: Rules,
    basis: Basis,
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
    let (asked, of_shim) = (request.clone(), shared.clone());
    let prepared = blocking(move || prepare(&asked, &of_shim, &networks)).await?;
    let names = Names { container: request.id.clone(), namespace: shared.namespace.clone() };
    let init = Process::new(String::new(), Streams::new(request.stdio.clone(), names.clone()));
    let Prepared { subject, draft, plan, joined, id_map, cgroup, process, config, filters, .. } = prepared;
    let Prepared { hierarchies, nested, views, binds, basis, .. } = prepared;
    let grounds = Grounds {
        names,
        traps: Traps::new(),
        cgroup,
        id_map,
        process,
        config,
        no_new_keyring: request.options.no_new_keyring,
        shares_pids: joined.joins.is_joined(plan::NamespaceKind::Pid),
        network: joined.network,
        hooks: plan.hooks.clone(),
        stdio_owner: request.options.stdio_owner,
        views: Mutex::new(views.map(Arc::new)),
        lease: Mutex::new(None),
    };
    let built = match draft.share_lease() {
        Ok(lease) => {
            let order = Order { plan, joined, lease, filters, hierarchies, nested, binds, basis };
            build(&request, shared, &init, &grounds, order).await
        }
        Err(error) => Err(error),
    };
    let finished = match built {
        Ok(created) => finish(draft, created, &init, &grounds, shared).await,
        Err(error) => {
            draft.undo(&shared.launcher, &grounds.hooks).await;
            Err(error)
        }
    };
    let (waiting, unwatched) = match finished {
        Ok(finished) => finished,
        Err(error) => {
            subject.refused(&error);
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
    let oom = grounds.cgroup.watch_oom().unwrap_or_else(|error| {
        log::warn!(container = request.id.as_str(); "{error}");
        None
    });
    let container = Container {
        id: request.id,
        bundle: request.bundle,
        shared: shared.clone(),
        grounds,
        init,
        waiting: Mutex::new(Some(waiting)),
        unwatched: Mutex::new(Some(unwatched)),
        execs: Mutex::default(),
        oom,
        paused: Default::default(),
        updating: tokio::sync::Mutex::default(),
        deleted: tokio::sync::Mutex::default(),
    };
    Ok((Arc::new(container), created))
}

/// The half that only looks at files and writes some: config and spec, then what [`ready`] does.
fn prepare(request: &Request, shared: &Shared, networks: &[Identity]) -> Result<Prepared, Error> {
    if !request.options.shim_cgroup.is_empty() {
        cgroup::own::enter(&request.options.shim_cgroup).map_err(of_option)?;
    }
    let config = config::load(&request.options)?;
    let path = request.bundle.join("config.json");
    let bytes = fs::read(&path).map_err(|error| Error::Failed(format!("read {}: {error}", path.display())))?;
    let loaded = spec::load(&bytes)?;
    for note in loaded.notes() {
        log::warn!(container = request.id.as_str(); "{note}");
    }
    let subject = Subject::new(&request.id, &loaded.value);
    let prepared = ready(request, shared, networks, &config, (&loaded.value, subject.clone()));
    prepared.inspect_err(|error| subject.refused(error))
}

/// Plan, namespaces, lease, cgroups.
fn ready(
    request: &Request,
    shared: &Shared,
    networks: &[Identity],
    config: &Config,
    (spec, subject): (&Spec, Subject),
) -> Result<Prepared, Error> {
    let namespace = shared.namespace.as_str();
    let asked = spec::Request { id: &request.id, bundle: &request.bundle, terminal: request.stdio.terminal };
    let plan = spec::plan(spec, &asked)?;
    let process = plan.process.clone();
    let plan = devices::own_unknown(devices::limit(plan, &config.devices, &request.id));
    let mut plan = policy::grants::container(plan, config.container.grants);
    if request.options.systemd_cgroup {
        plan.cgroup.path = Some(cgroup::choose(plan.cgroup.path.take(), namespace, &request.id)?);
    }
    failpoint::hit("create-planned", &request.id);
    let filters = filters::of(&plan.process, &config.container, &request.id)?;
    let leases = ids::leases()?;
    let judge =
        Judge { leases: &leases, networks, missing: config.namespaces.missing, brings_map: plan.id_map.is_some() };
    let joined = namespaces::join(&plan.namespaces, &judge)?;
    let mut draft = Draft::new(&request.id, &request.bundle);
    let lease = draft.lease.insert(ids::take(request, namespace, &plan, &joined, &leases, config)?);
    let id_map = lease.id_map();
    let values = lease.values().map_err(ids::of_lease)?;
    for note in lease.notes() {
        log::warn!(container = request.id.as_str(); "{note}");
    }
    failpoint::hit("create-leased", &request.id);
    spec::check_ids(&plan, id_map)?;
    let layout = Layout::detect().map_err(of_cgroup)?;
    let default_path = format!("/eci/{namespace}/{}", request.id);
    let paths = Cgroup::wanted_paths(&layout, &plan.cgroup, &default_path).map_err(of_cgroup)?;
    State::planned(&request.id, namespace, paths).write(&request.bundle).map_err(Error::Failed)?;
    draft.written = true;
    let cgroup = Cgroup::create(&layout, &plan.cgroup, &default_path).map_err(of_cgroup)?;
    let cgroup = draft.cgroup.insert(cgroup).clone();
    cgroup.delegate(id_map).map_err(of_cgroup)?;
    failpoint::hit("create-grouped", &request.id);
    let (hooks, unit) = (&plan.hooks, cgroup.unit());
    State::made(&request.id, namespace, cgroup.paths(), hooks, unit).write(&request.bundle).map_err(Error::Failed)?;
    let hierarchies = shown_hierarchies(&layout);
    let ceilings = Ceilings::new(&request.id, config.sysctl);
    let basis = Basis { id: request.id.clone(), root: id_map.host, cgroup: cgroup.clone(), values, ceilings };
    let binds = binds::rules(request, shared, &config.mounts, (&plan, &joined));
    let config = config.container;
    let views = views::of(request, &plan)?;
    Ok(Prepared {
        subject,
        draft,
        plan,
        joined,
        id_map,
        cgroup,
        process,
        config,
        filters,
        hierarchies,
        nested: layout.in_user_namespace,
        views,
        binds,
        basis,
    })
}

/// As an error of the options, which are no part of the spec.
fn of_option(error: cgroup::Error) -> Error {
    match of_cgroup(error) {
        Error::Refused(refusal) => Error::InvalidArgument(refusal.to_string()),
        error => error,
    }
}

/// What the build stage is told beyond the grounds.
struct Order {
    plan: Plan,
    joined: Joined,
    lease: OwnedFd,
    filters: Vec<Program>,
    hierarchies: Vec<String>,
    nested: bool,
    binds: Rules,
    basis: Basis,
}

/// The half that makes processes: stdio and the build stage.
async fn build(
    request: &Request,
    shared: &Arc<Shared>,
    init: &Process,
    grounds: &Grounds,
    order: Order,
) -> Result<Created, Error> {
    failpoint::hit("create-recorded", &request.id);
    let (mut basis, traps) = (Some(order.basis), &grounds.traps);
    let stdio = init.streams.open(grounds.stdio_owner(&order.plan.process)).await?;
    let mut namespaces = order.joined.fds;
    namespaces.push(order.lease);
    let entry = grounds.cgroup.entry().map_err(of_cgroup)?;
    let (mut groups, fds) = launch_fds(entry, stdio, namespaces);
    groups.hierarchies = order.hierarchies;
    let order = BuildOrder {
        id: request.id.clone(),
        plan: order.plan,
        id_map: grounds.id_map,
        nested: order.nested,
        joins: order.joined.joins,
        rootfs: request.rootfs.clone(),
        hand_over_root: lock(&grounds.views).is_some(),
        filters: order.filters,
        max_user_namespaces: grounds.config.max_user_namespaces,
        no_new_keyring: grounds.no_new_keyring,
        groups,
        binds: order.binds,
    };
    let mut know = |init| {
        let emulation = basis.take().map(|basis| basis.emulation(init));
        emulation.inspect(|emulation| traps.know(emulation.clone()))
    };
    let serve = |devices, init| know(init).map_or(Ok(()), |emulation| emulation::serve(&emulation, devices));
    let mut created = shared.launcher.create(&order, fds, serve).await?;
    // A kernel without FUSE has sysinfo(2) all the same.
    know(created.pid);
    failpoint::hit("create-built", &request.id);
    grounds.hold_root(created.root.take());
    let emulated = std::mem::take(&mut created.emulated);
    match Hands::of(shared, &order.plan, &request.id, created.pid, (emulated, &created.native)) {
        Ok(hands) => grounds.traps.take_hands(hands),
        Err(error) => {
            log::warn!(container = request.id.as_str(); "nothing is done on behalf of its processes: {error}")
        }
    }
    match programs::of(&grounds.cgroup, created.pid) {
        Ok(programs) => programs.into_iter().for_each(|programs| grounds.traps.take_programs(programs)),
        Err(error) => log::warn!(container = request.id.as_str(); "no device programs of its engines: {error}"),
    }
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
    shared: &Shared,
) -> Result<(crate::stage::launch::Waiting, OwnedFd), Error> {
    let Created { pid, pidfd, terminal, waiting, .. } = created;
    let watched = pidfd.try_clone().map_err(|error| Error::Failed(format!("watch init: {error}")));
    init.exists(pid, pidfd);
    let (pid, namespace, hooks) = (init.pid(), grounds.names.namespace.clone(), grounds.hooks.clone());
    let (draft, recorded) = blocking_pair(move || {
        let recorded = record(&mut draft, pid, &namespace, &hooks);
        (draft, recorded)
    })
    .await?;
    let attached = match (recorded, terminal) {
        (Ok(()), Some(master)) => init.streams.attach(master).await,
        (recorded, _) => recorded,
    };
    match (attached, watched) {
        (Ok(()), Ok(watched)) => {
            *lock(&grounds.lease) = draft.keep();
            Ok((waiting, watched))
        }
        (attached, watched) => {
            let _ = init.kill(9);
            if let Ok(watched) = watched {
                exit::of(watched).await;
            }
            draft.undo(&shared.launcher, &grounds.hooks).await;
            Err(attached.err().unwrap_or_else(|| Error::Failed("watch init".to_owned())))
        }
    }
}

fn record(draft: &mut Draft, pid: u32, namespace: &str, hooks: &Hooks) -> Result<(), Error> {
    draft.cgroup.as_ref().map_or(Ok(()), Cgroup::has_init).map_err(of_cgroup)?;
    let cgroups = draft.cgroup.as_ref().map(Cgroup::paths).unwrap_or_default();
    if let Some(lease) = &mut draft.lease {
        lease.record(pid, &cgroups).map_err(ids::of_lease)?;
    }
    let unit = draft.cgroup.as_ref().and_then(Cgroup::unit);
    let mut state = State::made(&draft.id, namespace, cgroups, hooks, unit);
    let init = ProcessId::of(pid).map_err(|error| Error::Failed(format!("look at init (pid {pid}): {error}")))?;
    state.init = Some(init);
    state.write(&draft.bundle).map_err(Error::Failed)
}

/// The descriptors of an order, and how its cgroups are told.
pub(super) fn launch_fds(entry: Entry, stdio: Vec<OwnedFd>, namespaces: Vec<OwnedFd>) -> (Groups, OrderFds) {
    let Entry { tasks, directory, own } = entry;
    let (directory_follows, leaf) = (directory.is_some(), own.is_some());
    let told = Groups { tasks: tasks.len(), directory: directory_follows, leaf, hierarchies: Vec::new() };
    (told, OrderFds { stdio, groups: tasks.into_iter().chain(directory).chain(own).collect(), namespaces })
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
