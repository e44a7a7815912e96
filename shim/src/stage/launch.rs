//! The shim's side of its stages: spawns them, hands them their order, collects their reports.

mod act;
mod hooks;
mod reap;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use policy::plan::MountFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use userns::mount::Detached;

use super::channel::{AsyncChannel, Channel};
use super::message::{BuildOrder, EmulationServed, ExecOrder, Failure, Proceed, Report, Start, TrapsServed};
use super::{BUILD, EXEC};
pub(crate) use act::ActStage;
use reap::{ended, kill_and_reap, kill_and_reap_group, reap};

/// How long the stage of a create that has failed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a stage did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The stage says so.
    #[error("{}", .0.line)]
    Failed(Failure),
    /// It could not be spawned or talked to.
    #[error("{step}: {cause}")]
    Channel {
        /// What was being done.
        step: &'static str,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The executable's mount could not be cloned.
    #[error("prepare our executable for stages: {0}")]
    Executable(#[from] userns::Error),
    /// It died without a word (a signal from outside, or out of memory).
    #[error("{0} ended before it was done")]
    Died(&'static str),
}

/// Spawns stages from a detached, read-only clone of the shim's own executable.
pub(crate) struct Launcher {
    executable: OwnedFd,
}

/// What the build stage leaves behind.
pub(crate) struct Created {
    /// Init's pid in the shim's pid namespace.
    pub(crate) pid: i32,
    /// Init; a child of the shim.
    pub(crate) pidfd: OwnedFd,
    /// The master side of its terminal, when it has one.
    pub(crate) terminal: Option<OwnedFd>,
    /// The tree's root mount, when the order asks for it.
    pub(crate) root: Option<OwnedFd>,
    /// The filesystems of its emulated files, detached mounts; none without.
    pub(crate) emulated: Vec<OwnedFd>,
    /// What none of its files stands for, by path ([`fsemu::table::native`]).
    pub(crate) native: Vec<String>,
    /// Init, waiting for Start.
    pub(crate) waiting: Waiting,
    /// What is weaker than the spec asks, for the log.
    pub(crate) notes: Vec<String>,
}

/// An init that waits for Start. Dropped instead, its init sees the channel's end and exits.
pub(crate) struct Waiting {
    control: AsyncChannel,
}

/// An exec stage that waits for its order. Dropped instead, it is killed.
pub(crate) struct ExecStage(Option<Stage>);

/// What the exec stage leaves behind: the user's program runs.
pub(crate) struct Executed {
    /// Its pid in the shim's pid namespace.
    pub(crate) pid: i32,
    /// The process; a child of the shim.
    pub(crate) pidfd: OwnedFd,
    /// The master side of its terminal, when it has one.
    pub(crate) terminal: Option<OwnedFd>,
    /// What is weaker than the spec asks, for the log.
    pub(crate) notes: Vec<String>,
}

/// The descriptors of an order. `stdio` is empty for a process with a terminal.
pub(crate) struct OrderFds {
    /// stdin, stdout, stderr of the process; empty with a terminal.
    pub(crate) stdio: Vec<OwnedFd>,
    /// `tasks` files to write `0` to, then the cgroup v2 directory if there is one.
    pub(crate) groups: Vec<OwnedFd>,
    /// Joined namespaces in the order of `joins.joined` and then the lease (create), or the init's pidfd (exec).
    pub(crate) namespaces: Vec<OwnedFd>,
}

impl Launcher {
    /// Clones the mount of the executable that runs now, detached and read-only. Stages run from it: also when the file
    /// on disk is replaced, and nothing that they leave behind names a file that could be written (CVE-2019-5736).
    ///
    /// # Errors
    /// When the mount cannot be cloned (no CAP_SYS_ADMIN, or a kernel before 5.12).
    pub(crate) fn new() -> Result<Self, LaunchError> {
        let executable = Detached::clone_of_path(Path::new("/proc/self/exe"), false)?;
        executable.set_flags(MountFlags { set: libc::MOUNT_ATTR_RDONLY, clear: 0 }, false)?;
        Ok(Self { executable: executable.into_fd() })
    }

    /// Makes a container. When it fails nothing of it is left: its init is killed and every stage is reaped, which a stage that
    /// has been stopped holds up for [`PATIENCE`] at most.
    /// `serve` is given the devices of the emulated files ([`Report::Emulation`]), and init's pid.
    pub(crate) async fn create(
        &self,
        order: &BuildOrder,
        fds: OrderFds,
        serve: impl FnOnce(Vec<OwnedFd>, i32) -> io::Result<()>,
    ) -> Result<Created, LaunchError> {
        let (init, theirs) = Channel::pair().map_err(channel("make init's control socket"))?;
        let init = AsyncChannel::new(init).map_err(channel("watch init's control socket"))?;
        let mut all: Vec<BorrowedFd<'_>> = fds.stdio.iter().map(AsFd::as_fd).collect();
        all.push(theirs.as_fd());
        all.extend(fds.groups.iter().chain(&fds.namespaces).map(AsFd::as_fd));
        let stage = self.spawn(BUILD)?;
        stage.control.send_order(order, &all).map_err(channel("hand a stage its order"))?;
        drop((fds, theirs));
        let mut progress = Progress::default();
        let outcome = progress.until_ready(&stage, &init, serve, |pid| self.before_pivot(order, pid)).await;
        let reaped = tokio::spawn(stage.reap());
        match (outcome, progress.pidfd) {
            (Ok(()), Some(pidfd)) => Ok(Created {
                pid: pid_of(pidfd.as_fd()).map_err(channel("read init's pid"))?,
                pidfd,
                terminal: progress.terminal,
                root: progress.root,
                emulated: progress.emulated,
                native: progress.native,
                waiting: Waiting { control: init },
                notes: progress.notes,
            }),
            (outcome, pidfd) => {
                if let Some(pidfd) = pidfd {
                    kill_and_reap(pidfd).await;
                }
                // It has told why it fails before it ends, and what it holds (the lease of the range) it holds until then.
                let _late = tokio::time::timeout(PATIENCE, reaped).await;
                Err(outcome.err().unwrap_or(LaunchError::Died("the container's init")))
            }
        }
    }

    /// Spawns a stage for one more program in a container.
    pub(crate) fn exec_stage(&self) -> Result<ExecStage, LaunchError> {
        Ok(ExecStage(Some(self.spawn(EXEC)?)))
    }

    /// Spawns a stage, which waits for its order. std's `Command` without `pre_exec` is posix_spawn(3): nothing of ours
    /// runs between fork and exec in this multi-threaded process.
    ///
    /// An exec stage leads a process group, in which all that it clones begin: see [`kill_and_reap_group`]. (The build stage
    /// does not: a stopped one whose shim dies would get SIGHUP as an orphaned group, and it finishes what it has begun.)
    fn spawn(&self, verb: &'static str) -> Result<Stage, LaunchError> {
        let (pid, pidfd, control) = self.start(verb)?;
        Ok(Stage { pid, pidfd, control: AsyncChannel::new(control).map_err(channel("watch a stage"))? })
    }

    /// The same without the runtime.
    fn start(&self, verb: &'static str) -> Result<(Pid, OwnedFd, Channel), LaunchError> {
        let (control, theirs) = Channel::pair().map_err(channel("make a stage's control socket"))?;
        let mut command = Command::new(format!("/proc/self/fd/{}", self.executable.as_raw_fd()));
        if verb == EXEC {
            command.process_group(0);
        }
        let child = command
            .args(arguments(verb))
            .env_clear()
            .envs(crate::failpoint::environment())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(channel("spawn a stage"))?;
        let watch = || -> io::Result<(Pid, OwnedFd)> {
            let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::InvalidData)?;
            Ok((pid, pidfd_open(pid, PidfdFlags::empty())?))
        };
        let (pid, pidfd) = watch().map_err(channel("watch a stage"))?;
        Ok((pid, pidfd, control))
    }
}

impl ExecStage {
    /// Runs the program. Returns when it runs (its execve succeeded). When it fails its process is reaped. `cloned` is
    /// told the process's pid as soon as it exists, so that it can be killed while it is on its way; `serve` takes the
    /// listener of its traps.
    pub(crate) async fn exec(
        mut self,
        order: &ExecOrder,
        fds: OrderFds,
        cloned: impl FnOnce(i32),
        serve: impl Fn(OwnedFd) -> io::Result<()>,
    ) -> Result<Executed, LaunchError> {
        let stage = self.0.take().ok_or(LaunchError::Died("the exec stage"))?;
        let all: Vec<BorrowedFd<'_>> =
            fds.stdio.iter().chain(&fds.groups).chain(&fds.namespaces).map(AsFd::as_fd).collect();
        let sent = stage.control.send_order(order, &all);
        drop(fds);
        let mut progress = Progress::default();
        // Whoever cannot be told has failed before, and has said why.
        let outcome = match (progress.until_executed(&stage, cloned, serve).await, sent) {
            (Err(LaunchError::Died(_)), Err(cause)) => Err(channel("hand a stage its order")(cause)),
            (outcome, _) => outcome,
        };
        match (outcome, progress.pidfd) {
            (Ok(()), Some(pidfd)) => {
                tokio::spawn(stage.reap());
                Ok(Executed {
                    pid: pid_of(pidfd.as_fd()).map_err(channel("read the process's pid"))?,
                    pidfd,
                    terminal: progress.terminal,
                    notes: progress.notes,
                })
            }
            (outcome, pidfd) => {
                kill_and_reap_group(stage.pid);
                if let Some(pidfd) = pidfd {
                    kill_and_reap(pidfd).await;
                }
                Err(outcome.err().unwrap_or(LaunchError::Died("the process")))
            }
        }
    }
}

impl Drop for ExecStage {
    fn drop(&mut self) {
        if let (Some(stage), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(kill_and_reap(stage.pidfd));
        }
    }
}

impl Waiting {
    /// Lets init go on. Returns when the user's program runs (its execve succeeded), with notes for the log; when it fails
    /// init exits by itself. `serve` takes the listener of its traps.
    pub(crate) async fn start(self, serve: impl Fn(OwnedFd) -> io::Result<()>) -> Result<Vec<String>, LaunchError> {
        self.control.send(&Start).map_err(|_| LaunchError::Died("the container's init"))?;
        let mut notes = Vec::new();
        loop {
            match self.control.receive().await.map_err(channel("listen to init"))? {
                None => return Ok(notes),
                Some((Report::Note(note), _)) => notes.push(note),
                Some((Report::Listener, fds)) => hand_over(&self.control, fds, &serve)?,
                Some((Report::Failed(failure), _)) => return Err(LaunchError::Failed(failure)),
                Some(_) => return Err(LaunchError::Died("the container's init")),
            }
        }
    }
}

/// A stage that runs.
struct Stage {
    pid: Pid,
    pidfd: OwnedFd,
    control: AsyncChannel,
}

impl Stage {
    /// Lets go of it and waits for its exit; its own last words have been read by then.
    async fn reap(self) {
        let Self { pidfd, control, .. } = self;
        drop(control);
        reap(pidfd).await;
    }
}

/// What has been heard so far.
#[derive(Default)]
struct Progress {
    pidfd: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    root: Option<OwnedFd>,
    emulated: Vec<OwnedFd>,
    native: Vec<String>,
    devices: Option<Vec<OwnedFd>>,
    notes: Vec<String>,
    built: bool,
    ready: bool,
}

impl Progress {
    /// Listens to the stage and to init at once: either may fail, and either may be the one that knows why. `hooks` runs
    /// while the stage waits for it; it is given init's pid.
    async fn until_ready(
        &mut self,
        stage: &Stage,
        init: &AsyncChannel,
        serve: impl FnOnce(Vec<OwnedFd>, i32) -> io::Result<()>,
        hooks: impl AsyncFnOnce(i32) -> Result<(), LaunchError>,
    ) -> Result<(), LaunchError> {
        let (mut serve, mut hooks) = (Some(serve), Some(hooks));
        let (mut stage_open, mut init_open) = (true, true);
        while !(self.ready && self.pidfd.is_some()) {
            let (received, from_stage) = tokio::select! {
                received = stage.control.receive::<Report>(), if stage_open => (received, true),
                received = init.receive::<Report>(), if init_open => (received, false),
                else => return Err(LaunchError::Died("the build stage")),
            };
            match received.map_err(channel("listen to the build stage"))? {
                Some((report, fds)) => self.take(report, fds)?,
                None if from_stage => stage_open = false,
                None => init_open = false,
            }
            if let Some(pidfd) = &self.pidfd
                && let Some(devices) = self.devices.take()
                && let Some(serve) = serve.take()
            {
                let served = pid_of(pidfd.as_fd()).and_then(|pid| serve(devices, pid));
                // A stage that has gone meanwhile has left its word.
                let _gone = stage.control.send(&EmulationServed(served.is_ok()));
                self.notes.extend(served.err().map(|cause| format!("runs without emulated files: {cause}")));
            }
            if self.built
                && let (Some(pidfd), Some(hooks)) = (&self.pidfd, hooks.take())
            {
                hooks(pid_of(pidfd.as_fd()).map_err(channel("read init's pid"))?).await?;
                // A stage that has gone meanwhile has left its word.
                let _gone = stage.control.send(&Proceed);
            }
        }
        // What the stage has said by then lies there: init, which is let go on by it, may have been heard first.
        while let Some(said) = stage.control.receive_now::<Report>() {
            let Some((report, fds)) = said.map_err(channel("listen to the build stage"))? else { break };
            self.take(report, fds)?;
        }
        Ok(())
    }

    /// The stage's process inherits its channel: the channel ends when the program's execve closes it, or with a
    /// [`Report::Failed`] before. A stage that is stopped holds it open, too, so the end of the process is as good: it
    /// must be reaped, or the init of its pid namespace could not end (pid_namespaces(7)).
    async fn until_executed(
        &mut self,
        stage: &Stage,
        cloned: impl FnOnce(i32),
        serve: impl Fn(OwnedFd) -> io::Result<()>,
    ) -> Result<(), LaunchError> {
        let mut cloned = Some(cloned);
        let mut process = None;
        loop {
            let received = tokio::select! {
                // What the process has said before its end is heard first.
                biased;
                received = stage.control.receive::<Report>() => received.map_err(channel("listen to the exec stage"))?,
                () = ended(process.as_ref()) => None,
            };
            match received {
                Some((Report::Listener, fds)) => hand_over(&stage.control, fds, &serve)?,
                Some((report, fds)) => self.take(report, fds)?,
                None if self.ready && self.pidfd.is_some() => return Ok(()),
                None => return Err(LaunchError::Died("the exec stage")),
            }
            if let Some(pidfd) = &self.pidfd
                && let Some(tell) = cloned.take()
            {
                tell(pid_of(pidfd.as_fd()).map_err(channel("read the process's pid"))?);
                process = Some(pidfd.try_clone().and_then(crate::sys::watch).map_err(channel("watch the process"))?);
            }
        }
    }

    fn take(&mut self, report: Report, mut fds: Vec<OwnedFd>) -> Result<(), LaunchError> {
        match report {
            Report::Cloned => self.pidfd = fds.pop(),
            Report::Helper => {
                if let Some(helper) = fds.pop() {
                    tokio::spawn(reap(helper));
                }
            }
            Report::Terminal => self.terminal = fds.pop(),
            Report::Emulation => self.devices = Some(fds),
            Report::Emulated { native } => (self.emulated, self.native) = (fds, native),
            Report::Root => self.root = fds.pop(),
            Report::Built => self.built = true,
            Report::Ready => self.ready = true,
            Report::Note(note) => self.notes.push(note),
            // Init installs its filters after Start alone.
            Report::Listener => return Err(LaunchError::Died("the build stage")),
            Report::Failed(failure) => return Err(LaunchError::Failed(failure)),
        }
        Ok(())
    }
}

/// Has the traps of a process served, and tells it so.
fn hand_over(
    control: &AsyncChannel,
    mut fds: Vec<OwnedFd>,
    serve: &impl Fn(OwnedFd) -> io::Result<()>,
) -> Result<(), LaunchError> {
    let listener = fds.pop().ok_or(LaunchError::Died("the process with its traps"))?;
    serve(listener).map_err(channel("serve the traps of a process"))?;
    // A process that has gone meanwhile has left its word.
    let _gone = control.send(&TrapsServed);
    Ok(())
}

/// With which arguments the executable is a stage. (A binary of tests is one by a test.)
fn arguments(verb: &'static str) -> Vec<&'static str> {
    match cfg!(test) {
        false => vec![verb],
        true => vec!["--exact", "stage::act::tests::stage", "--test-threads=1"],
    }
}

fn channel(step: &'static str) -> impl FnOnce(io::Error) -> LaunchError {
    move |cause| LaunchError::Channel { step, cause }
}

/// The pid behind a pidfd, as this process's pid namespace counts (`Pid:` of proc_pid_fdinfo(5)).
fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    info.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|pid| pid.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

#[cfg(test)]
#[path = "launch/tests.rs"]
mod tests;
