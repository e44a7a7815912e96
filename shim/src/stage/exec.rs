//! The exec stage: one more program in a running container.
//!
//! It is spawned when an exec is added, so that it has come up when the exec is started. Then it joins the container's
//! cgroups and namespaces, clones the process into its pid namespace, and leaves; the process sets itself up and executes
//! the program.

use std::os::fd::{AsFd, OwnedFd};

use policy::plan::NamespaceKind;
use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType;

use super::channel::Channel;
use super::message::{ExecOrder, Failure, Report};
use super::process::{self, Setup};
use super::{filter, namespaces, stdio, tell_of_self, terminal};
use crate::failpoint;
use crate::sys::clone::{Cloned, SIBLING, clone3};

/// Executes a program: the order comes over `control`, and the process that runs it inherits `control`, so that the
/// shim sees its execve as the channel's end. An exec that is never started ends with the shim's end of the channel.
pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let received = control.receive_order::<ExecOrder>().map_err(Failure::at("receive", "the order"))?;
    let Some((order, fds)) = received else { return Ok(()) };
    let Fds { stdio, tasks, directory, init } = Fds::sort(&order, fds)?;
    let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at("open", "/proc"))?;
    if let Some(list) = &order.process.cpu_affinity_initial {
        process::affinity::set(None, "process.execCPUAffinity.initial", list)?;
    }
    if let Some(directory) = directory {
        // The container's own rights do not reach this group, so it is entered before they are taken on; and before those
        // of v1, where a limit of processes would count this one twice.
        become_sibling_in(control, &directory)?;
    }
    namespaces::join_groups(tasks)?;
    for note in process::host::apply(&order.process, std::process::id() as i32, proc.as_fd())? {
        control.send(&Report::Note(note), &[]).map_err(Failure::at("report to", "the shim"))?;
    }
    join(&init)?;
    failpoint::hit("stage-exec-joined", &order.id);
    let cloned = clone3(SIBLING, None).map_err(Failure::at("clone", "the process"))?;
    // Of both: the process exists, and neither has told the shim.
    failpoint::hit("stage-exec-untold", &order.id);
    match cloned {
        Cloned::Parent { pidfd, .. } => {
            failpoint::hit("stage-exec-cloned", &order.id);
            control.send(&Report::Cloned, &[pidfd.as_fd()]).map_err(Failure::at("report to", "the shim"))
        }
        Cloned::Child => become_program(&order, &stdio, &proc, control),
    }
}

/// The process's own part, inside all of the container's namespaces. `proc` is still the host's procfs, whose
/// `thread-self` is this process: what the container has at `/proc` is not asked.
fn become_program(order: &ExecOrder, stdio: &[OwnedFd], proc: &OwnedFd, control: &Channel) -> Result<(), Failure> {
    let at = || Failure::at::<std::io::Error>("report to", "the shim");
    // The ids that it came with are none inside, and what they make nobody inside may change.
    process::become_root()?;
    tell_of_self(control, &Report::Cloned)?;
    let terminal = if order.process.terminal { Some(terminal::of_container(order)?) } else { None };
    if let Some(terminal) = &terminal {
        control.send(&Report::Terminal, &[terminal.master.as_fd()]).map_err(at())?;
    }
    stdio::place(stdio, terminal.as_ref().map(|terminal| &terminal.slave))?;
    drop(terminal);
    let prepared = process::prepare(&Setup {
        process: &order.process,
        id_map: order.id_map,
        id: &order.id,
        no_new_keyring: order.no_new_keyring,
        create_cwd: false,
        procfs: proc.as_fd(),
    })?;
    for note in prepared.notes() {
        control.send(&Report::Note(note.clone()), &[]).map_err(at())?;
    }
    failpoint::hit("stage-exec-ready", &order.id);
    control.send(&Report::Ready, &[]).map_err(at())?;
    match prepared.become_and_exec(|| filter::install(&order.filters, control))? {}
}

/// Goes on as a sibling of this process in a cgroup v2 group. clone3(2) into a group costs microseconds, where moving a
/// process waits for an RCU grace period.
fn become_sibling_in(control: &Channel, directory: &OwnedFd) -> Result<(), Failure> {
    match clone3(SIBLING, Some(directory.as_fd())).map_err(Failure::at("clone into", "the container's cgroup"))? {
        Cloned::Child => tell_of_self(control, &Report::Helper),
        Cloned::Parent { pidfd, .. } => {
            let _gone = control.send(&Report::Helper, &[pidfd.as_fd()]);
            std::process::exit(0)
        }
    }
}

/// Joins every namespace of the container's init in one call: the kernel takes the new user namespace's rights over the
/// others into account (setns(2)).
fn join(init: &OwnedFd) -> Result<(), Failure> {
    let all = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    let time = if namespaces::host_has(NamespaceKind::Time) {
        ThreadNameSpaceType::TIME
    } else {
        ThreadNameSpaceType::empty()
    };
    rustix::thread::move_into_thread_name_spaces(init.as_fd(), all | time)
        .map_err(Failure::at("join", "the container's namespaces"))
}

/// The order's descriptors, sorted out.
struct Fds {
    stdio: Vec<OwnedFd>,
    tasks: Vec<OwnedFd>,
    directory: Option<OwnedFd>,
    init: OwnedFd,
}

impl Fds {
    fn sort(order: &ExecOrder, fds: Vec<OwnedFd>) -> Result<Self, Failure> {
        let mut fds = fds.into_iter();
        let mut take = |count: usize| fds.by_ref().take(count).collect::<Vec<_>>();
        let stdio = take(if order.process.terminal { 0 } else { 3 });
        let tasks = take(order.groups.tasks);
        let directory = take(usize::from(order.groups.directory)).into_iter().next();
        match take(1).into_iter().next() {
            Some(init) => Ok(Self { stdio, tasks, directory, init }),
            None => Err(Failure::line("receive the order: its descriptors are not complete")),
        }
    }
}
