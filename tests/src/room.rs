//! A room of a test's own: id range leases, an operator's config and `/etc/subuid` that no other test sees.
//!
//! The containers of one test program share `/run/eci` and `/etc`. A test that says which range comes next, or that changes
//! what the operator decides, has its shims live in a mount namespace in which these are its own.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bundle::Bundle;
use crate::container::Container;
use crate::output::Output;
use crate::place;
use crate::shim::{Answer, How, Shim};
use crate::stdio::Pipes;

/// A process that lives in other namespaces, by unshare(1); it ends with its value.
#[derive(Debug)]
pub struct Dweller {
    child: Child,
}

impl Dweller {
    /// Starts it with these arguments of unshare(1), once they are in effect; `script` prepares the namespaces.
    pub fn new(unshare: &[&str], script: &str) -> Self {
        let script = format!("set -eu; {script}\necho ready; exec sleep 1000");
        let mut command = Command::new("unshare");
        command.args(unshare).args(["bash", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawned(command)
    }

    /// Starts it with a command that prints a line and lives on.
    pub fn spawned(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "{command:?}");
        Self { child }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of one of its namespaces, by the name below `/proc/PID/ns`.
    pub fn namespace(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.pid())
    }
}

impl Drop for Dweller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    how: How,
    dweller: Dweller,
}

impl Room {
    /// A room with no leases, no config, and an empty `/etc/subuid` and `/etc/subgid`.
    pub fn new() -> Self {
        let dir = place::new_dir("room");
        for name in ["ranges", "etc"] {
            std::fs::create_dir(dir.join(name)).expect("a directory");
        }
        for name in ["subuid", "subgid"] {
            std::fs::write(dir.join(name), "").expect("a file");
        }
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir.join("ranges"), private).expect("a mode");
        let script = format!(
            "cd {}; mkdir -p -m 700 /run/eci /run/eci/ranges; mkdir -p /etc/eci; touch /etc/subuid /etc/subgid
            mount --bind ranges /run/eci/ranges; mount --bind etc /etc/eci
            mount --bind subuid /etc/subuid; mount --bind subgid /etc/subgid",
            dir.display()
        );
        let dweller = Dweller::new(&["--mount", "--propagation", "private"], &script);
        let binary = dir.join("shim");
        let text = format!(
            "#!/bin/sh\nexec nsenter --mount={} -- sh -c 'cd \"$0\" && exec {} \"$@\"' \"$PWD\" \"$@\"\n",
            dweller.namespace("mnt"),
            place::shim().display()
        );
        place::script(&binary, &text);
        Self { dir, how: How { binary, ..How::default() }, dweller }
    }

    /// Runs a shell script where its shims live, in their mount namespace.
    pub fn sh(&self, script: &str) -> Output {
        let namespace = format!("--mount={}", self.dweller.namespace("mnt"));
        Command::new("nsenter").args([&namespace, "--", "bash", "-euc", script]).output().expect("nsenter").into()
    }

    /// Writes the operator's config file.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.dir.join("etc/config.toml"), text).expect("config.toml");
    }

    /// Writes `/etc/subuid` and `/etc/subgid`.
    pub fn subordinate(&self, text: &str) {
        for name in ["subuid", "subgid"] {
            std::fs::write(self.dir.join(name), text).expect("a file");
        }
    }

    /// How its shims are started.
    pub fn how(&self) -> &How {
        &self.how
    }

    /// Creates a container in a shim of its own.
    pub async fn create(&self, bundle: Bundle) -> Answer<Container> {
        let shim = Shim::start_as(&bundle, &self.how).await;
        Container::create_in(&shim, bundle, Pipes::output()).await
    }

    /// A container that sleeps.
    pub async fn sleeping(&self, bundle: Bundle) -> Container {
        let bundle = bundle.args(&["/bin/sleep", "1000"]);
        let container = self.create(bundle).await.unwrap_or_else(|failure| panic!("create: {failure:?}"));
        container.start().await.unwrap_or_else(|failure| panic!("start: {failure:?}"));
        container
    }

    /// The error of a create that must fail.
    pub async fn refused(&self, bundle: Bundle) -> String {
        let shim = Shim::start_as(&bundle, &self.how).await;
        let failure = match Container::create_in(&shim, bundle, Pipes::none()).await {
            Ok(container) => panic!("it was created:\n{:#}", container.bundle.spec),
            Err(failure) => failure,
        };
        shim.shut_down().await.expect("shutdown");
        failure.message
    }

    /// What a verb for people says.
    pub fn verb(&self, verb: &str) -> Output {
        Command::new(&self.how.binary).arg(verb).output().expect("the shim").into()
    }

    /// What the verb `ranges` says: range, container and status of each lease.
    pub fn ranges(&self) -> Vec<[String; 3]> {
        parse(&self.verb("ranges"))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// What `ranges` says of the leases that are not in a room.
pub fn ranges() -> Vec<[String; 3]> {
    parse(&Command::new(place::shim()).arg("ranges").output().expect("ranges").into())
}

fn parse(output: &Output) -> Vec<[String; 3]> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        [cells[0], cells[1], cells[4]].map(str::to_owned)
    };
    output.ok().lines().skip(1).map(row).collect()
}

/// Removes a container's writable layer, as an engine that removes the container.
pub fn remove_layer(bundle: &Bundle) {
    remove(&bundle.upper());
    remove(&bundle.dir.join("work"));
}

fn remove(dir: &Path) {
    std::fs::remove_dir_all(dir).expect("removed");
}
