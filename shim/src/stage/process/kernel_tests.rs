//! One mechanism each, against the real kernel. They need the host's root.
//!
//! What they try cannot be undone, so each runs in a process of its own: the test starts the test binary once more for
//! itself alone, and looks at what the program printed that its second run became.

mod confinement;
mod files;
mod filtered;
mod identity;
mod inherited;
mod on_host;

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output};

use policy::idmap::IdMap;
use policy::plan::{Capabilities, ContainerPath, Process};

use super::{Prepared, Setup, StageError, prepare};

/// Tells the test binary that it runs for one test alone.
const ALONE: &str = "ECI_TEST_ALONE";

/// Runs `body` in a process of its own, started by `command` with the test binary's own command line as arguments.
/// `body` never returns well: it becomes a program, or ends with an error, which is printed.
fn alone_under(command: Command, body: impl FnOnce() -> Result<Infallible, StageError>) -> Shown {
    let output: Output = second_run(command, body).output().expect("the test binary");
    Shown(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// As [`alone_under`], for the test to start.
fn second_run(mut command: Command, body: impl FnOnce() -> Result<Infallible, StageError>) -> Command {
    let name = std::thread::current().name().expect("tests run in threads of their names").to_owned();
    if std::env::var_os(ALONE).is_some() {
        let Err(error) = body();
        println!("\nerror: {error}");
        std::process::exit(1);
    }
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    command.args([&name, "--exact", "--nocapture"]).env(ALONE, "1");
    command
}

/// The test binary itself.
fn this_binary() -> Command {
    Command::new(std::env::current_exe().expect("the test binary"))
}

fn alone(body: impl FnOnce() -> Result<Infallible, StageError>) -> Shown {
    alone_under(this_binary(), body)
}

/// What a process printed.
struct Shown(String);

impl Shown {
    /// The rest of the line that begins with `start`, with single blanks.
    fn line(&self, start: &str) -> String {
        let line = self.0.lines().find_map(|line| line.strip_prefix(start));
        let rest = line.unwrap_or_else(|| panic!("no line with {start:?} in:\n{}", self.0));
        rest.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A process that runs a shell script.
fn shell(script: &str) -> Process {
    program(&["/bin/sh", "-c", script])
}

fn program(args: &[&str]) -> Process {
    Process {
        terminal: false,
        console_size: None,
        cwd: ContainerPath::root(),
        args: args.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        uid: 0,
        gid: 0,
        additional_gids: vec![],
        umask: None,
        capabilities: Capabilities::default(),
        no_new_privileges: false,
        rlimits: vec![],
        oom_score_adj: None,
        scheduler: None,
        io_priority: None,
        cpu_affinity_initial: None,
        cpu_affinity_final: None,
        personality: None,
        apparmor: None,
        selinux_label: None,
        seccomp: None,
    }
}

fn proc() -> OwnedFd {
    File::open("/proc").expect("/proc").into()
}

fn cwd(path: &str) -> ContainerPath {
    ContainerPath::parse(path).expect("a path")
}

/// Prepares a process as a container's first one would be, without a user namespace: with the host's ids.
fn prepared(process: &Process) -> Result<Prepared, StageError> {
    prepared_with(process, |_| {})
}

fn prepared_with(process: &Process, change: impl FnOnce(&mut Setup<'_>)) -> Result<Prepared, StageError> {
    let procfs = proc();
    let id_map = IdMap { host: 0, size: 65536 };
    let mut setup =
        Setup { process, id_map, id: "test", no_new_keyring: true, create_cwd: true, procfs: procfs.as_fd() };
    change(&mut setup);
    let prepared = prepare(&setup)?;
    for note in prepared.notes() {
        println!("\nnote: {note}");
    }
    Ok(prepared)
}

/// Runs a process without a filter.
fn run(process: &Process) -> Result<Infallible, StageError> {
    prepared(process)?.become_and_exec(|| Ok(()))
}
