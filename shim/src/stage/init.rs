//! The container's init: pid 1 of its namespaces, from the build stage's clone to the user's program.
//!
//! It shares the build stage's mount namespace while the tree is assembled, without any power over it, then takes its
//! own copy: crossing into the container's user namespace is what locks every mount in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use policy::plan::{Mount, Propagation};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use userns::mount::Detached;
use userns::tree::Tree;

use super::build::{self, Fds, Sync};
use super::channel::Channel;
use super::message::{BuildOrder, Failure, Report, Start};
use super::process::{self, Prepared, Setup};
use super::{clocks, emulation, filter, hooks, namespaces, stdio, tell_of_self};
use crate::failpoint;

/// What init has.
pub(super) struct Init<'a> {
    /// The container.
    pub(super) order: &'a BuildOrder,
    /// Its descriptors.
    pub(super) fds: Fds,
    /// The build stage.
    pub(super) stage: Channel,
    /// The host's procfs, whose `thread-self` is init: what the container has at `/proc` is not asked.
    pub(super) proc: OwnedFd,
}

/// Goes on as init. Returns only when the user's program does not run, after the shim has been told.
pub(super) fn run(init: Init<'_>) -> Result<(), Failure> {
    let Init { order, fds, stage, proc } = init;
    // The lease is held until the user's program runs; nothing else that leads to the host's files is kept.
    let Fds { stdio, init: control, tasks, directory, own, joined, lease: _lease } = fds;
    drop((directory, own, joined));
    if let Err(failure) = live(order, stdio, &control, tasks, &stage, proc) {
        // The same line goes to nobody else: the build stage sees its socket end and keeps quiet.
        let _gone = control.send(&Report::Failed(failure), &[]);
    }
    std::process::exit(1)
}

fn live(
    order: &BuildOrder,
    stdio: Vec<OwnedFd>,
    control: &Channel,
    tasks: Vec<OwnedFd>,
    stage: &Channel,
    proc: OwnedFd,
) -> Result<(), Failure> {
    tell_of_self(control, &Report::Cloned)?;
    if hear(stage)?.0 != Sync::Mapped {
        return Err(Failure::line("the build stage is out of step"));
    }
    namespaces::join_groups(tasks)?;
    let own_clocks = namespaces::settle(order)?;
    failpoint::hit("stage-init-settled", &order.id);
    build::say(stage, "the build stage", &Sync::Settled { native: emulation::native(proc.as_fd()) }, &[])?;

    let (Sync::Assembled, terminal) = hear(stage)? else {
        return Err(Failure::line("the build stage is out of step"));
    };
    if own_clocks {
        clocks::enter_own(proc.as_fd())?;
    }
    namespaces::unshare(UnshareFlags::NEWNS).map_err(Failure::at("lock", "the mount tree"))?;
    failpoint::hit("stage-init-locked", &order.id);
    propagate(order)?;
    keep_unbindable(order)?;
    name(order)?;
    stdio::place(&stdio, terminal.first())?;
    drop((stdio, terminal));
    // After hooks it is done later: they have the rights that it gives up, and may make what it needs.
    let due = match order.plan.hooks.start_container.is_empty() {
        true => Due::Program(prepare(order, proc, control)?),
        false => Due::Hooks(proc),
    };
    control.send(&Report::Ready, &[]).map_err(Failure::at("report to", "the shim"))?;
    // The end of the channel without a word: the shim is gone, or has given the container up.
    match control.receive::<Start>().map_err(Failure::at("wait for", "Start"))? {
        Some((Start, _)) => {
            failpoint::hit("stage-init-starting", &order.id);
            let prepared = match due {
                Due::Program(prepared) => prepared,
                Due::Hooks(proc) => {
                    hooks::start_container(control, order)?;
                    prepare(order, proc, control)?
                }
            };
            match prepared.become_and_exec(|| filter::install(&order.filters, control))? {}
        }
        None => std::process::exit(1),
    }
}

/// What comes next after Start.
enum Due {
    Program(Prepared),
    Hooks(OwnedFd),
}

/// Makes init the program's user.
fn prepare(order: &BuildOrder, proc: OwnedFd, control: &Channel) -> Result<Prepared, Failure> {
    let prepared = process::prepare(&Setup {
        process: &order.plan.process,
        id_map: order.id_map,
        id: &order.id,
        no_new_keyring: order.no_new_keyring,
        create_cwd: true,
        procfs: proc.as_fd(),
    })?;
    for note in prepared.notes() {
        control.send(&Report::Note(note.clone()), &[]).map_err(Failure::at("report to", "the shim"))?;
    }
    Ok(prepared)
}

/// The build stage's next message. When it ends without one, it has told the shim why.
fn hear(stage: &Channel) -> Result<(Sync, Vec<OwnedFd>), Failure> {
    match stage.receive().map_err(Failure::at("listen to", "the build stage"))? {
        Some(heard) => Ok(heard),
        None => std::process::exit(1),
    }
}

/// `linux.rootfsPropagation`, within the container's own mount namespace: the copy's mounts are slaves of the host's
/// where the host shares them, and nothing that is set here reaches back.
#[expect(clippy::disallowed_methods, reason = "the whole of the locked tree, from its root")]
fn propagate(order: &BuildOrder) -> Result<(), Failure> {
    let Some(propagation) = order.plan.root.propagation else { return Ok(()) };
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC)
        .map_err(Failure::at("set linux.rootfsPropagation", format!("{propagation:?}").to_lowercase()))
}

/// What the spec asks to be `unbindable` is so again: in a copy that another user namespace owns every mount is a slave, and
/// the kernel has no slaves that are unbindable (clone_mnt in fs/namespace.c).
fn keep_unbindable(order: &BuildOrder) -> Result<(), Failure> {
    // What covers a mount is what is found in its place.
    let top: BTreeMap<_, _> = order.plan.mounts.iter().map(|mount| (mount.destination.as_str(), mount)).collect();
    let unbindable = |mount: &&&Mount| matches!(mount.propagation, Some((Propagation::Unbindable, _)));
    let mut mounts = top.values().filter(unbindable).peekable();
    if mounts.peek().is_none() {
        return Ok(());
    }
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let tree = Tree::new(root.map_err(Failure::at("open", "the container's root"))?);
    for Mount { destination, propagation, .. } in mounts {
        if let Some((propagation, recursive)) = *propagation {
            let mount = Detached::from_fd(tree.open(destination)?.into_fd(), destination.as_str());
            mount.set_propagation(propagation, recursive)?;
        }
    }
    Ok(())
}

/// The uts namespace's names, by syscall: the files below /proc/sys/kernel are the host's root's to write.
fn name(order: &BuildOrder) -> Result<(), Failure> {
    if let Some(hostname) = &order.plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).map_err(Failure::at("set hostname", hostname))?;
    }
    if let Some(domainname) = &order.plan.domainname {
        rustix::system::setdomainname(domainname.as_bytes()).map_err(Failure::at("set domainname", domainname))?;
    }
    Ok(())
}
