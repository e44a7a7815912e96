//! What acts on behalf of the container's processes, for whoever serves their trapped calls: the container's act stage, which is
//! started when it is first needed.
//!
//! Main type: [`Hands`]. Invariant: a caller is always answered. Where no act can be done, the kernel does the call, and
//! refuses what only the stage could have done.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fsemu::table::Node;
use policy::plan::{ContainerPath, DeviceKind, DeviceOwner, Plan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use syscall_trap::act::{Cover, Kernel, Outcome, QUESTION, Shows, YES};

use super::lock;
use super::pod::Shared;
use crate::stage::act::{ActOrder, Asked};
use crate::stage::emulation::PARTS;
use crate::stage::launch::{ActStage, LaunchError};

/// Devices that harm nobody: null, zero, full, random, urandom; tty, which is its reader's own; the console, for which the
/// container's own is made ([`syscall_trap::act`]); ptmx, which is of the devpts beside it.
const HARMLESS: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// How long an act may take, in seconds.
const PATIENCE: u64 = 10;

/// How long a stage may take to answer.
const LAST: Timespec = Timespec { tv_sec: 2 * PATIENCE as i64, tv_nsec: 0 };

/// How often a stage is started that keeps dying.
const STARTS: u32 = 8;

/// Starts a stage.
type Start = dyn Fn(&ActOrder, &[BorrowedFd<'_>]) -> Result<ActStage, LaunchError> + Send + Sync;

/// The act stage of one container.
pub(super) struct Hands {
    start: Box<Start>,
    id: String,
    order: ActOrder,
    /// The container's user and network namespaces.
    namespaces: [OwnedFd; 2],
    emulated: Vec<OwnedFd>,
    state: Mutex<State>,
}

/// The stage, and what became of those before.
#[derive(Default)]
struct State {
    stage: Option<Arc<ActStage>>,
    starts: u32,
}

impl Hands {
    /// For the container of `plan` with this init. `emulated` are the roots of the filesystems of its emulated files, detached
    /// mounts, none without; `native` are the paths that none of the files stands for.
    ///
    /// # Errors
    /// When init is gone.
    pub(super) fn of(
        shared: &Arc<Shared>,
        plan: &Plan,
        id: &str,
        init: i32,
        (emulated, native): (Vec<OwnedFd>, &[String]),
    ) -> std::io::Result<Self> {
        let open = |name: &str| std::fs::File::open(format!("/proc/{init}/ns/{name}")).map(OwnedFd::from);
        let namespaces = [open("user")?, open("net")?];
        let shown = fsemu::table::bound(native).filter(|_| !emulated.is_empty());
        let covers = covers(&plan.masked_paths, &plan.readonly_paths, shown);
        // What it has been given it may make again.
        let given = plan
            .devices
            .iter()
            .filter(|device| device.kind == DeviceKind::Char && matches!(device.owner, DeviceOwner::Container { .. }));
        let devices = HARMLESS.into_iter().chain(given.map(|device| (device.major, device.minor))).collect();
        Ok(Self::new(shared.clone(), id, (namespaces, emulated), covers, devices))
    }

    /// For the container `id` with these namespaces. `emulated` are the roots of the filesystems of its emulated files, detached
    /// mounts; `covers` as [`covers`] makes them; `devices` those that it may make ([`HARMLESS`]).
    fn new(
        shared: Arc<Shared>,
        id: &str,
        (namespaces, emulated): ([OwnedFd; 2], Vec<OwnedFd>),
        covers: Vec<Cover>,
        devices: Vec<(u32, u32)>,
    ) -> Self {
        let order = ActOrder { covers, devices, seconds: PATIENCE };
        let start = Box::new(move |order: &ActOrder, fds: &[BorrowedFd<'_>]| shared.launcher.act_stage(order, fds));
        Self { start, id: id.to_owned(), order, namespaces, emulated, state: Mutex::default() }
    }

    /// Does an act for a thread, whose directory in the host's procfs is `process`. Blocks until it is done. A stage that was
    /// killed meanwhile is replaced once. `still` says whether the thread's call waits.
    pub(super) fn act(&self, process: BorrowedFd<'_>, act: &Asked, still: &dyn Fn() -> bool) -> Outcome {
        for _ in 0..2 {
            let stage = match self.stage() {
                Ok(Some(stage)) => stage,
                Ok(None) => break,
                Err(error) => {
                    log::warn!(container = self.id.as_str(); "act on behalf of a process: {error}");
                    break;
                }
            };
            match ask(&stage, process, act, still) {
                Ok(outcome) => return outcome,
                Err(cause) => {
                    log::warn!(container = self.id.as_str(); "act on behalf of a process: its stage gives no answer: {cause}");
                    self.forget(&stage);
                }
            }
        }
        Outcome::Continue
    }

    /// The stage; none where so many have died that no more are started.
    fn stage(&self) -> Result<Option<Arc<ActStage>>, LaunchError> {
        let mut state = lock(&self.state);
        if state.stage.is_none() {
            if state.starts >= STARTS {
                return Ok(None);
            }
            state.starts += 1;
            let fds: Vec<_> = self.namespaces.iter().chain(&self.emulated).map(AsFd::as_fd).collect();
            state.stage = Some(Arc::new((self.start)(&self.order, &fds)?));
        }
        Ok(state.stage.clone())
    }

    /// Lets go of a stage that has died, if nobody else has.
    fn forget(&self, stage: &Arc<ActStage>) {
        // One that does not answer may live: stopped, or out of memory.
        stage.kill();
        let mut state = lock(&self.state);
        state.stage.take_if(|current| Arc::ptr_eq(current, stage));
    }
}

/// Has a stage do one act. An error means that there is no answer, and will be none.
fn ask(stage: &ActStage, process: BorrowedFd<'_>, act: &Asked, still: &dyn Fn() -> bool) -> Result<Outcome, Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    stage.send(act, process, theirs.as_fd()).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    drop(theirs);
    let of_stage = stage.process();
    let mut fds = [PollFd::new(&ours, PollFlags::IN), PollFd::new(&of_stage, PollFlags::IN)];
    loop {
        // The stage answers in time by itself, if it can. Without that, there is nothing to receive: EAGAIN.
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&LAST)))?;
        let mut bytes = [0_u8; 4];
        // Where both are ready, the answer came first. A stage that is killed may leave its children, who hold the socket.
        let (_, length) = rustix::io::retry_on_intr(|| recv(&ours, &mut bytes, RecvFlags::DONTWAIT))?;
        match bytes.get(..length) {
            Some(QUESTION) => _ = send(&ours, if still() { YES } else { b"n" }, SendFlags::NOSIGNAL)?,
            answer => return answer.and_then(Outcome::from_bytes).ok_or(Errno::PIPE),
        }
    }
}

/// What lies over files of a container's own procfs and sysfs: its plan's masked and read-only paths, and its emulated files, where
/// there are any.
fn covers<'a>(
    masked: &[ContainerPath],
    read_only: &[ContainerPath],
    emulated: impl Iterator<Item = &'a Node>,
) -> Vec<Cover> {
    let is_read_only =
        |path: &str| ContainerPath::parse(path).is_ok_and(|path| read_only.iter().any(|above| path.starts_with(above)));
    let of = |path: &str, shows, read_only, own_only| {
        let (of, path) = split(path)?;
        Some(Cover { of, path, shows, read_only, own_only })
    };
    // In the order in which the tree is built: what is put later lies on top.
    let emulated = emulated.filter_map(|node| {
        let filesystem = PARTS.iter().position(|part| *part == node.part())?;
        let shows = Shows::Emulated { filesystem, name: node.name(), by_groups: node.goes_by_groups() };
        of(node.path, shows, is_read_only(node.path), node.own_proc_only)
    });
    let read_only = read_only.iter().filter_map(|path| of(path.as_str(), Shows::Itself, true, false));
    let masked = masked.iter().filter_map(|path| of(path.as_str(), Shows::Nothing, false, false));
    read_only.chain(emulated).chain(masked).collect()
}

/// A path of the container's as one of procfs's or sysfs's.
fn split(path: &str) -> Option<(Kernel, PathBuf)> {
    let below = |place: &str| path.strip_prefix(place).filter(|rest| !rest.is_empty()).map(PathBuf::from);
    let proc = || below("/proc/").map(|rest| (Kernel::Proc, rest));
    proc().or_else(|| below("/sys/").map(|rest| (Kernel::Sysfs, rest)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Child, Command, Stdio};

    use syscall_trap::act::Act;

    use super::*;
    use crate::stage::launch::Launcher;

    /// A process in a user and mount namespace of its own, with a tmpfs at `/mnt` on which another lies that is locked.
    struct Caller(Child);

    impl Caller {
        fn new() -> Self {
            let script = "mount -t tmpfs a /mnt && mkdir /mnt/a /mnt/b && mount -t tmpfs b /mnt/a &&
                          exec unshare -Urm sh -c 'mount -t tmpfs c /srv; echo; read _'";
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut byte = [0];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
            Self(child)
        }

        fn open(&self, path: &str) -> OwnedFd {
            File::open(format!("/proc/{}/{path}", self.0.id())).unwrap().into()
        }
    }

    impl Drop for Caller {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _status = self.0.wait();
        }
    }

    fn hands(caller: &Caller, start: Box<Start>) -> Hands {
        let order = ActOrder { covers: vec![], devices: HARMLESS.to_vec(), seconds: PATIENCE };
        let namespaces = [caller.open("ns/user"), caller.open("ns/net")];
        Hands { start, id: "c".to_owned(), order, namespaces, emulated: vec![], state: Mutex::default() }
    }

    fn bind(source: &str) -> Asked {
        let act = Act::Bind { source: source.into(), target: b"/srv".to_vec(), flags: libc::MS_BIND };
        Asked { act, view: None }
    }

    #[test]
    fn a_stage_that_was_killed_is_replaced() {
        let caller = Caller::new();
        let launcher = Launcher::new().unwrap();
        let hands = hands(&caller, Box::new(move |order, fds| launcher.act_stage(order, fds)));
        let process = caller.open("");
        for _ in 0..3 {
            // What has a locked mount below, and what has none.
            assert_eq!(hands.act(process.as_fd(), &bind("/mnt"), &|| true), Outcome::Done);
            assert_eq!(hands.act(process.as_fd(), &bind("/mnt/b"), &|| true), Outcome::Continue);
            let stage = hands.stage().unwrap().unwrap();
            rustix::process::pidfd_send_signal(stage.process(), rustix::process::Signal::KILL).unwrap();
        }
        assert_eq!(lock(&hands.state).starts, 3);
        lock(&hands.state).starts = STARTS;
        assert_eq!(hands.act(process.as_fd(), &bind("/mnt"), &|| true), Outcome::Continue, "not for ever");
    }

    #[test]
    fn without_a_stage_the_kernel_does_it() {
        let caller = Caller::new();
        let hands = hands(&caller, Box::new(|_, _| Err(LaunchError::Died("the act stage"))));
        assert_eq!(hands.act(caller.open("").as_fd(), &bind("/mnt"), &|| true), Outcome::Continue);
    }

    #[test]
    fn covers_are_what_the_plan_hides_protects_and_emulates() {
        let path = |text| ContainerPath::parse(text).unwrap();
        let masked = [path("/proc/keys"), path("/etc/shadow"), path("/sys/firmware")];
        let read_only = [path("/proc/sys"), path("/proc")];
        // Not of /proc itself, on which nothing is mounted.
        let wanted = ["/proc/meminfo", "/proc/sys/net/core/rmem_max"];
        let emulated = fsemu::table::nodes().filter(|node| wanted.contains(&node.path));
        let text: Vec<_> = covers(&masked, &read_only, emulated)
            .into_iter()
            .map(|cover| {
                format!(
                    "{:?} {} {:?} {} {}",
                    cover.of,
                    cover.path.display(),
                    cover.shows,
                    cover.read_only,
                    cover.own_only
                )
            })
            .collect();
        assert_eq!(
            text,
            [
                "Proc sys Itself true false",
                "Proc meminfo Emulated { filesystem: 0, name: \"proc.meminfo\", by_groups: true } true false",
                "Proc sys/net/core/rmem_max Emulated { filesystem: 1, name: \"proc.sys.net.core.rmem_max\", by_groups: false } true true",
                "Proc keys Nothing false false",
                "Sysfs firmware Nothing false false",
            ]
        );
    }
}
