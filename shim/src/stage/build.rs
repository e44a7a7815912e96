//! The build stage: makes the container's namespaces, id maps and mount tree as host root, and hands them to init.
//!
//! The order is what locks the tree (design.md, rule 2): everything is assembled in a mount namespace that the host's
//! user namespace owns, then pivoted into, and only then does init, which lives in the container's user namespace,
//! take a copy: every mount of the copy is locked by the kernel (mount_namespaces(7), "Restrictions on mount
//! namespaces").
//!
//! Init is cloned early and joins its cgroups and makes its namespaces while this stage assembles mounts. What comes before
//! that where it lives in a leaf of the container's cgroup is [`super::leaf`]'s.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::namespaces::UserNamespace;
use policy::plan::{MountFlags, NamespaceKind};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use userns::creds::FsIds;
use userns::mount::Detached;
use userns::rootfs::LayerRoute;
use userns::tree::Tree;

use super::binds::Sources;
use super::channel::Channel;
use super::clocks::{self, Boot};
use super::init::{self, Init};
use super::message::{BuildOrder, Failure, Proceed, Report};
use super::mounts::Builder;
use super::namespaces::{self, Peer};
use super::{dev, emulation, hooks, leaf, process, tell_of_self, user_limit};
use crate::failpoint;
use crate::sys::clone::{Cloned, SIBLING, clone3};

/// The order's descriptors, sorted out.
pub(super) struct Fds {
    /// stdin, stdout, stderr; empty with a terminal.
    pub(super) stdio: Vec<OwnedFd>,
    /// Init's end of its control socket.
    pub(super) init: Channel,
    /// `tasks` files that init writes itself to.
    pub(super) tasks: Vec<OwnedFd>,
    /// The cgroup v2 directory that init is cloned into.
    pub(super) directory: Option<OwnedFd>,
    /// The container's own, where that is a leaf of it.
    pub(super) own: Option<OwnedFd>,
    /// The namespaces that are joined.
    pub(super) joined: Vec<(NamespaceKind, OwnedFd)>,
    /// The lease of the container's ids, only to be held.
    pub(super) lease: OwnedFd,
}

/// What init tells this stage, and this stage init, in the order in which it happens.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Sync {
    /// From the helper that joined a user namespace: init's pid, as the host counts.
    Pid(i32),
    /// To init: its id maps are written.
    Mapped,
    /// From init: it is in its cgroups, and all its namespaces but the mount namespace exist.
    Settled {
        /// [`emulation::native`].
        native: Vec<String>,
    },
    /// To init: the tree stands and is its root directory. Beside the message is its terminal, when it has one.
    Assembled,
}

/// Builds a container: the order comes over `control`.
pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let received = control.receive_order::<BuildOrder>().map_err(Failure::at("receive", "the order"))?;
    let Some((order, fds)) = received else { return Ok(()) };
    let mut fds = Fds::sort(&order, fds)?;
    rustix::process::umask(Mode::empty());
    rustix::process::chdir("/").map_err(Failure::at("change to", "/"))?;
    own_mount_namespace()?;
    failpoint::hit("stage-build-namespaces", &order.id);
    let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at("open", "/proc"))?;
    if let (UserNamespace::New, Some(limit)) = (&order.joins.user, order.max_user_namespaces) {
        let made = user_limit::make(control, &order, limit, proc.as_fd())?;
        fds.joined.insert(0, (NamespaceKind::User, made));
    }
    let boot = Boot::now(proc.as_fd())?;
    let (peer, init) = match fds.own.take() {
        Some(own) => clone_init_into_leaf(control, &order, fds, own, proc.as_fd())?,
        None => clone_init(control, &order, fds, new_user_namespace(&order))?,
    };
    match init {
        Some(fds) => init::run(Init { order: &order, fds, stage: peer.sync, proc }),
        None => assemble(control, &order, &peer, &proc, boot),
    }
}

/// Whether whoever is cloned first for the container makes its user namespace: neither is one joined, nor made before for the
/// sake of a limit.
pub(super) fn new_user_namespace(order: &BuildOrder) -> bool {
    order.joins.user == UserNamespace::New && order.max_user_namespaces.is_none()
}

/// A mount namespace of our own. Slave, not private: a bind mount of the container that asks for `rslave` goes on
/// receiving the host's mounts, and nothing of ours ever propagates to the host.
#[expect(clippy::disallowed_methods, reason = "our own mount namespace, before there is a tree")]
fn own_mount_namespace() -> Result<(), Failure> {
    namespaces::unshare(UnshareFlags::NEWNS).map_err(Failure::at("unshare", "the mount namespace"))?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(Failure::at("make slave", "every mount"))
}

/// Clones init. In the stage, returns how to talk to it; in init, its descriptors besides.
///
/// A user namespace of its own is made by the clone itself (`new_user`). One that is joined is entered by a helper in
/// between: this stage could not leave it again, and has the host's mounts to make.
fn clone_init(control: &Channel, order: &BuildOrder, fds: Fds, new_user: bool) -> Result<(Peer, Option<Fds>), Failure> {
    let (ours, theirs) = Channel::pair().map_err(Failure::at("make", "a socket pair"))?;
    let new = namespaces::clone_flags(order, new_user);
    let group = fds.directory.as_ref().map(AsFd::as_fd);
    match new_user {
        true => {
            namespaces::join_host_owned(order, &fds.joined)?;
            match clone3(new | SIBLING, group).map_err(Failure::at("clone", "the container's init"))? {
                Cloned::Child => Ok((Peer { pid: 0, sync: theirs, own: None }, Some(fds))),
                Cloned::Parent { pid, pidfd } => {
                    failpoint::hit("stage-build-cloned", &order.id);
                    tell(control, &Report::Cloned, &[pidfd.as_fd()])?;
                    drop(fds);
                    Ok((Peer { pid, sync: ours, own: None }, None))
                }
            }
        }
        false => match clone3(SIBLING, group).map_err(Failure::at("clone", "a helper"))? {
            Cloned::Child => {
                tell_of_self(control, &Report::Helper)?;
                namespaces::join_before_user(order, &fds.joined)?;
                match clone3(new | SIBLING, None).map_err(Failure::at("clone", "the container's init"))? {
                    Cloned::Child => Ok((Peer { pid: 0, sync: theirs, own: None }, Some(fds))),
                    Cloned::Parent { pid, pidfd } => {
                        tell(control, &Report::Cloned, &[pidfd.as_fd()])?;
                        let _gone = theirs.send(&Sync::Pid(pid), &[]);
                        std::process::exit(0)
                    }
                }
            }
            Cloned::Parent { pidfd: helper, .. } => {
                failpoint::hit("stage-build-cloned", &order.id);
                tell(control, &Report::Helper, &[helper.as_fd()])?;
                drop((fds, theirs));
                match expect(&ours)? {
                    Sync::Pid(pid) => Ok((Peer { pid, sync: ours, own: None }, None)),
                    other => Err(Failure::line(format!("the helper is out of step: {other:?}"))),
                }
            }
        },
    }
}

/// Clones init into a leaf of the container's own group.
fn clone_init_into_leaf(
    control: &Channel,
    order: &BuildOrder,
    mut fds: Fds,
    own: OwnedFd,
    proc: BorrowedFd<'_>,
) -> Result<(Peer, Option<Fds>), Failure> {
    if !order.joins.joined.contains(&NamespaceKind::Cgroup) {
        let made = leaf::make_namespaces(control, order, &fds, own.as_fd(), proc)?;
        fds.joined.extend(made);
    }
    if let Some(directory) = &fds.directory {
        leaf::hand_down(own.as_fd(), directory.as_fd());
    }
    let (peer, init) = clone_init(control, order, fds, false)?;
    // Init has no use for it.
    let own = init.is_none().then_some(own);
    Ok((Peer { own, ..peer }, init))
}

/// The stage's part after the clone.
fn assemble(control: &Channel, order: &BuildOrder, init: &Peer, proc: &OwnedFd, boot: Boot) -> Result<(), Failure> {
    match order.joins.user {
        UserNamespace::New if new_user_namespace(order) && !order.groups.leaf => {
            namespaces::write_maps(order.id_map, proc.as_fd(), init.pid)?;
        }
        // In a leaf, or for the sake of a limit, it was made before, with its maps.
        UserNamespace::New => {}
        UserNamespace::Lease(_) => namespaces::check_maps(order, proc.as_fd(), init.pid)?,
    }
    init.say(&Sync::Mapped, &[])?;
    let emulated = emulation::mount(control, order)?;
    let user = namespaces::open_of(proc.as_fd(), init.pid, NamespaceKind::User)?;

    let ids = FsIds::enter(order.id_map)?;
    let sources = Sources::open(control, order, user.as_fd(), proc.as_fd())?;
    let request = userns::rootfs::Request {
        mounts: &order.rootfs,
        path: &order.plan.root.path,
        userns: user.as_fd(),
        route: LayerRoute::Auto,
    };
    let root = userns::rootfs::assemble(&request, &ids)?;
    let place = Place::open(order)?;
    let scratch = dev::scratch()?;
    place.attach(&scratch)?;
    place.attach(&root)?;
    if order.hand_over_root {
        let clone = Detached::clone_of(root.fd(), false, root.name())?;
        tell(control, &Report::Root, &[clone.fd()])?;
    }
    let tree = Tree::new(rustix::io::fcntl_dupfd_cloexec(root.fd(), 3).map_err(Failure::at("keep", "the root"))?);

    let native = init.settled()?;
    clocks::set(order, proc.as_fd(), init.pid, boot)?;
    if let Some(own) = &init.own {
        leaf::limit_to_one(order, own.as_fd())?;
    }
    enter_namespaces_of(init, proc.as_fd())?;
    let builder = Builder::new(order, &tree, &scratch, proc.as_fd(), init.pid);
    builder.mounts(sources)?;
    failpoint::hit("stage-build-mounted", &order.id);
    if let Some(emulated) = emulated {
        emulated.bind(control, &builder, native)?;
    }
    let terminal = dev::populate(&builder)?;
    if order.plan.root.readonly {
        // Init makes a working directory that is missing, which it could not any more. What is wrong with the path is
        // init's to say.
        let _ = tree.mountpoint_dir(&order.plan.process.cwd);
    }
    if let Some(terminal) = &terminal {
        tell(control, &Report::Terminal, &[terminal.master.as_fd()])?;
    }
    // Before what hides and protects: that covers what hooks mount, too.
    hook(control, order, init, proc.as_fd())?;
    builder.hide_and_protect()?;
    if order.plan.root.readonly {
        root.set_flags(MountFlags { set: libc::MOUNT_ATTR_RDONLY, clear: 0 }, false)?;
    }
    drop(ids);
    namespaces::configure(order, proc.as_fd())?;
    pivot(&tree)?;
    failpoint::hit("stage-build-pivoted", &order.id);
    for note in process::host::apply(&order.plan.process, init.pid, proc.as_fd())? {
        tell(control, &Report::Note(note), &[])?;
    }
    let terminal: Vec<_> = terminal.iter().map(|terminal| terminal.slave.as_fd()).collect();
    init.say(&Sync::Assembled, &terminal)
}

/// The hooks that are due while the tree stands at `root.path`.
fn hook(control: &Channel, order: &BuildOrder, init: &Peer, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    if order.plan.hooks.wait_for_runtime() {
        tell(control, &Report::Built, &[])?;
        // The end without a word: the shim is gone, or has given the container up.
        if control.receive::<Proceed>().map_err(Failure::at("wait for", "hooks"))?.is_none() {
            std::process::exit(1);
        }
    }
    hooks::create_container(control, order, init.pid, proc)
}

/// The directory at `root.path`, where mounts are put on top of each other until the topmost becomes the root. Nothing of
/// it shows outside this mount namespace.
struct Place<'a> {
    fd: OwnedFd,
    path: &'a std::path::Path,
}

impl<'a> Place<'a> {
    fn open(order: &'a BuildOrder) -> Result<Self, Failure> {
        let path = order.plan.root.path.as_path();
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Failure::at("open root.path", path.display()))?;
        Ok(Self { fd, path })
    }

    fn attach(&self, mount: &Detached) -> Result<(), Failure> {
        mount.attach_at(&self.fd).map_err(Failure::at("mount on root.path", self.path.display()))
    }
}

/// Joins the namespaces that decide what a new sysfs, mqueue or cgroup mount shows, and whose sysctls `/proc/sys` has.
fn enter_namespaces_of(init: &Peer, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    for (kind, flag) in [
        (NamespaceKind::Network, LinkNameSpaceType::Network),
        (NamespaceKind::Ipc, LinkNameSpaceType::InterProcessCommunication),
        (NamespaceKind::Cgroup, LinkNameSpaceType::ControlGroup),
    ] {
        let namespace = namespaces::open_of(proc, init.pid, kind)?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(flag))
            .map_err(Failure::at("join init's namespace:", format!("{kind:?}").to_lowercase()))?;
    }
    Ok(())
}

/// Makes the tree the root of this mount namespace, and with it init's (pivot_root(2) moves every process whose root was
/// the old one), and lets go of the host's mounts.
#[expect(clippy::disallowed_methods, reason = "the working directory is the old root")]
fn pivot(tree: &Tree) -> Result<(), Failure> {
    let at = Failure::at::<rustix::io::Errno>;
    rustix::process::fchdir(tree.root()).map_err(at("change to", "the container's root"))?;
    // "." over ".": the old root ends up on top of the new one (pivot_root(2), NOTES) and is detached from there.
    rustix::process::pivot_root(".", ".").map_err(at("pivot into", "the container's root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(at("detach", "the host's mounts"))?;
    rustix::process::chdir("/").map_err(at("change to", "the container's root"))
}

/// Reports to the shim.
pub(super) fn tell(control: &Channel, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
    control.send(report, fds).map_err(Failure::at("report to", "the shim"))
}

/// Waits for the next message of init or the helper. Its end without one means that it has told the shim why.
fn expect(sync: &Channel) -> Result<Sync, Failure> {
    match sync.receive().map_err(Failure::at("listen to", "init"))? {
        Some((said, _)) => Ok(said),
        None => std::process::exit(1),
    }
}

/// Sends `whom` a message. When it is gone it has told the shim why, and there is nothing to add.
pub(super) fn say(sync: &Channel, whom: &'static str, word: &Sync, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match sync.send(word, fds) {
        Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => std::process::exit(1),
        sent => sent.map_err(Failure::at("tell", whom)),
    }
}

impl Peer {
    fn say(&self, word: &Sync, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        say(&self.sync, "init", word, fds)
    }

    /// Waits for [`Sync::Settled`].
    fn settled(&self) -> Result<Vec<String>, Failure> {
        match expect(&self.sync)? {
            Sync::Settled { native } => Ok(native),
            other => Err(Failure::line(format!("init is out of step: {other:?}"))),
        }
    }
}

impl Fds {
    fn sort(order: &BuildOrder, fds: Vec<OwnedFd>) -> Result<Self, Failure> {
        let mut fds = fds.into_iter();
        let mut take = |count: usize| fds.by_ref().take(count).collect::<Vec<_>>();
        let stdio = take(if order.plan.process.terminal { 0 } else { 3 });
        let init = take(1);
        let tasks = take(order.groups.tasks);
        let directory = take(usize::from(order.groups.directory));
        let own = take(usize::from(order.groups.leaf));
        let joined = take(order.joins.joined.len());
        match (init.into_iter().next(), fds.next()) {
            (Some(init), Some(lease)) => Ok(Self {
                lease,
                stdio,
                init: Channel::from(init),
                tasks,
                directory: directory.into_iter().next(),
                own: own.into_iter().next(),
                joined: order.joins.joined.iter().copied().zip(joined).collect(),
            }),
            _ => Err(Failure::line("receive the order: its descriptors are not complete")),
        }
    }
}
