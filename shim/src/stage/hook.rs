//! Runs one hook to its end.
//!
//! It is for a process with one thread (a stage, `delete`), because the hook's process is made by fork(2): it leads a process
//! group of its own, dies with its runner, and has nothing of ours but three pipes.
//!
//! Invariant: a hook cannot hold its runner up. Its end is the end of its process, whoever else holds its pipes; what it
//! prints is read on and on, and only a tail of it is kept; its timeout and the end of `client` kill its whole group.

mod output;

use std::ffi::CString;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use policy::plan::Hook;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};

use self::output::Stream;
use super::process;
use crate::sys::process::{Execution, before_exec, close_on_exec_from};

/// How much of its output is read before anything else is looked at.
const SOME: usize = 64 << 10;

/// How much is read after its end: what it has printed itself is in the pipe, which is smaller.
const LEFT: usize = 4 << 20;

/// How a hook is run.
pub(crate) struct Run<'a> {
    /// The hook.
    pub(crate) hook: &'a Hook,
    /// What it reads on its standard input.
    pub(crate) state: &'a str,
    /// Its working directory.
    pub(crate) directory: &'a Path,
    /// A socket whose end is the hook's too.
    pub(crate) client: Option<BorrowedFd<'a>>,
}

/// Something that a hook's process does between fork(2) and execve(2).
pub(crate) trait Step: FnMut() -> io::Result<()> + Send + Sync + 'static {}

impl<T: FnMut() -> io::Result<()> + Send + Sync + 'static> Step for T {}

/// A step of nothing.
pub(crate) fn nothing() -> io::Result<()> {
    Ok(())
}

/// Runs a hook; `enter` is its process's own way to where the hook belongs, `seal` the last that it does before execve(2).
///
/// # Errors
/// One line: the hook by its place in the spec and its path, how it ended, and the last line that it printed.
pub(crate) fn run(run: &Run<'_>, enter: impl Step, seal: impl Step) -> Result<(), String> {
    let Hook { field, path, .. } = run.hook;
    let failed = |cause: String| clean(&format!("{field} {path}: {cause}"));
    let mut running = Running::spawn(run, enter, seal).map_err(|error| failed(error.to_string()))?;
    let end = running.watch(run).unwrap_or_else(|error| Some(format!("watch it: {error}")));
    running.finish(end.is_some());
    match end {
        None => Ok(()),
        Some(end) => Err(failed(match running.last_words() {
            Some(words) => format!("{end}: {words}"),
            None => end,
        })),
    }
}

/// A hook whose process is not reaped yet: until then nobody else has its pid, or its group.
struct Running {
    child: Child,
    pidfd: OwnedFd,
    stdin: Option<ChildStdin>,
    stdout: Stream<ChildStdout>,
    stderr: Stream<ChildStderr>,
}

impl Running {
    fn spawn(run: &Run<'_>, mut enter: impl Step, mut seal: impl Step) -> io::Result<Self> {
        let path = CString::new(run.hook.path.as_str())?;
        let [args, env] = [&run.hook.args, &run.hook.env].map(|list| list.iter().map(|it| CString::new(it.as_str())));
        let (args, env) = (args.collect::<Result<Vec<_>, _>>()?, env.collect::<Result<Vec<_>, _>>()?);
        let mut command = Command::new(&run.hook.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(run.directory).process_group(0);
        // execve(2) of our own: `Command` would sort the environment, and drop what is there twice.
        before_exec(&mut command, move || {
            enter()?;
            process::reset_signals().map_err(process::StageError::into_io)?;
            // After the ids are changed, which takes it away (prctl(2)).
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            close_on_exec_from(3)?;
            seal()?;
            Execution::new(path.clone(), args.clone(), env.clone()).execute().map(|never| match never {})
        });
        let mut child = command.spawn()?;
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // Nobody could wait for it.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(errno.into());
            }
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let running = Self { child, pidfd, stdin, stdout: Stream::new(stdout), stderr: Stream::new(stderr) };
        Ok(running)
    }

    /// Serves it until its end: none when all is well, otherwise how it ended.
    fn watch(&mut self, run: &Run<'_>) -> io::Result<Option<String>> {
        self.never_block()?;
        let deadline = run.hook.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let mut state = run.state.as_bytes();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                let seconds = run.hook.timeout.unwrap_or_default();
                return Ok(Some(format!("killed after its timeout of {seconds} s")));
            }
            let ready = self.wait(run.client, left)?;
            self.stdout.read(SOME)?;
            self.stderr.read(SOME)?;
            if ready.ended {
                // What it has printed before its end.
                self.stdout.read(LEFT)?;
                self.stderr.read(LEFT)?;
                return self.status();
            }
            if ready.given_up {
                return Ok(Some("killed, because the shim is gone".to_owned()));
            }
            self.feed(&mut state);
        }
    }

    fn never_block(&self) -> io::Result<()> {
        let pipes = [self.stdin.as_ref().map(AsFd::as_fd), self.stdout.as_fd(), self.stderr.as_fd()];
        pipes.into_iter().flatten().try_for_each(|pipe| Ok(rustix::io::ioctl_fionbio(pipe, true)?))
    }

    /// Waits until there is something to do.
    fn wait(&self, client: Option<BorrowedFd<'_>>, left: Option<Duration>) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
        // Without events: only its end is told.
        fds.extend(client.map(|client| PollFd::from_borrowed_fd(client, PollFlags::empty())));
        let pipes = [
            (self.stdin.as_ref().map(AsFd::as_fd), PollFlags::OUT),
            (self.stdout.as_fd(), PollFlags::IN),
            (self.stderr.as_fd(), PollFlags::IN),
        ];
        fds.extend(pipes.into_iter().filter_map(|(pipe, flags)| Some(PollFd::from_borrowed_fd(pipe?, flags))));
        let left = left.map(|left| rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
        let told = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { ended: told(0), given_up: client.is_some() && told(1) })
    }

    /// Writes on of the state; the end of it, or a hook that does not want it, ends the pipe.
    fn feed(&mut self, state: &mut &[u8]) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(state) {
            Ok(written) => *state = state.get(written..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_not_wanted) => *state = &[],
        }
        if state.is_empty() {
            self.stdin = None;
        }
    }

    /// How it ended by itself; it is not reaped yet.
    fn status(&self) -> io::Result<Option<String>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        let status = ended.as_ref().map(|ended| (ended.exit_status(), ended.terminating_signal()));
        Ok(match status {
            Some((Some(0), _)) => None,
            Some((Some(status), _)) => Some(format!("exit status {status}")),
            Some((_, Some(signal))) => Some(format!("killed by signal {signal}")),
            _ => Some("no exit status".to_owned()),
        })
    }

    /// Reaps it. When it failed, its group dies with it.
    fn finish(&mut self, failed: bool) {
        if failed {
            // Nobody may be left there, and it may have left its group itself.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.kill();
        }
        // A child of ours, which has ended or has been killed.
        let _ = self.child.wait();
    }

    fn last_words(&self) -> Option<String> {
        self.stderr.last_line().or_else(|| self.stdout.last_line())
    }
}

/// What [`Running::wait`] has seen.
struct Ready {
    ended: bool,
    given_up: bool,
}

/// On one line, with nothing for a terminal in it.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
