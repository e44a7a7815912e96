//! A Debian of its own with containerd, driven through `ctr`, and with dockerd, driven through `docker` (tests/hosts).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::output::Output;
use crate::place;

/// The image of the tests.
pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// Prints [`Host::traces`]: mounts (without their ids, which are given anew), cgroups, leases, sockets, bundles, network
/// namespaces and processes, and what dockerd keeps of containers, volumes and networks. Not fifos: they are `ctr`'s, which
/// forgets those of an exec that it has detached from. Nor what dockerd does in its own time: files of network namespaces that
/// are gone it removes once a minute, the host's it holds once it has needed it, and BuildKit keeps a group.
const TRACES: &str = "containerd-shim-eci-v2 ranges > /dev/null
    sed '\\, /run/docker/netns/default ,d; s/^[0-9]* [0-9]* /mount /' /proc/1/mountinfo
    find /sys/fs/cgroup -type d ! -path '*/docker/buildkit*'
    find /run/eci -mindepth 1 ! -path /run/eci/ranges ! -path /run/eci/ranges/lock ! -path /run/eci/s 2> /dev/null
    find /run/containerd/s /run/netns -mindepth 1 2> /dev/null
    find /run/containerd /var/lib/containerd -path '*/io.containerd.runtime.v2.task/*/*' -prune 2> /dev/null
    find /var/lib/docker/containers /var/lib/docker/volumes /sys/class/net -mindepth 1 -maxdepth 1 2> /dev/null
    processes=$(ps -eo args=); printf '%s\\n' \"$processes\" | sed 's/^/process /'";

/// A test host that runs. It ends with its value.
pub struct Host {
    name: String,
}

/// How a host is set up besides the usual.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// containerd's config.toml.
    pub containerd: Option<PathBuf>,
    /// A CNI network.
    pub cni: Option<PathBuf>,
    /// dockerd's daemon.json.
    pub docker: Option<PathBuf>,
    /// The directory with the shim that its daemons find; the one under test where this says nothing.
    pub shim: Option<PathBuf>,
    /// Where dockerd keeps images: its own graph driver `overlay2`, or `containerd`.
    pub store: Option<&'static str>,
}

/// The runtime under test.
pub fn runtime() -> String {
    std::env::var("ECI_TEST_RUNTIME").unwrap_or_else(|_| "io.containerd.eci.v2".to_owned())
}

impl Host {
    /// Starts a host with the images of the tests; none, with a word about it, where its suite was not to be had.
    pub fn up(suite: &str, test: &str) -> Option<Self> {
        Self::up_with(suite, test, &Setup::default())
    }

    /// The same with a set-up of its own.
    pub fn up_with(suite: &str, test: &str, setup: &Setup) -> Option<Self> {
        if let Some(missing) = missing(suite) {
            place::skip(test, &missing);
            return None;
        }
        let host = Self { name: place::unique(suite) };
        let mut command = Command::new(place::sources().join("hosts/up"));
        command.args([&host.name, suite]).env("ECI_SHIM_DIR", setup.shim.clone().unwrap_or_else(place::shim_dir));
        for (name, value) in
            [("CONTAINERD_CONFIG", &setup.containerd), ("CNI_CONFIG", &setup.cni), ("DOCKERD_CONFIG", &setup.docker)]
        {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.envs(setup.store.map(|store| ("DOCKER_STORE", store)));
        let output = Output::from(command.output().expect("tests/hosts/up"));
        assert_eq!(output.status, 0, "{output:#?}");
        host.sh("ctr image import /hosts/images/busybox.tar").ok();
        Some(host)
    }

    /// Runs a shell script in the host. `$RUN` stands for `ctr run --runtime` with the runtime under test, `$IMAGE` for
    /// the image of the tests; `$DOCKER` for `docker run --runtime`, whose image is `busybox`.
    pub fn sh(&self, script: &str) -> Output {
        self.command(script).output().expect("tests/hosts/exec").into()
    }

    /// The command of [`Self::sh`], not yet spawned. One that hangs is ended, with status 124.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(place::sources().join("hosts/exec"));
        let runtime = runtime();
        let prelude = format!(
            "set -u; RUN='ctr run --runtime {runtime}'; IMAGE={IMAGE}; DOCKER='docker run --runtime {runtime}'; "
        );
        let limit = (crate::shim::PATIENCE * 2).as_secs().to_string();
        command.args([&self.name, "timeout", "--foreground", &limit, "bash", "-c", &(prelude + script)]);
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Waits until a shell condition holds in the host.
    #[track_caller]
    pub fn until(&self, condition: &str) {
        let limit = crate::shim::PATIENCE.as_secs();
        let script = format!("until {condition}; do [ $SECONDS -lt {limit} ] || exit 9; sleep 0.05; done");
        let output = self.sh(&script);
        assert_eq!(output.status, 0, "never: {condition}\n{output:#?}");
    }

    /// What the host has of all that a container could leave behind, a line each.
    pub fn traces(&self) -> BTreeSet<String> {
        self.sh(TRACES).ok().lines().map(str::to_owned).collect()
    }

    /// Waits until the host has nothing that it did not have `before`. A container's snapshot, and with it the lease on its
    /// ids, ends with containerd's next collection of garbage, which `ctr leases delete --sync` makes happen now.
    #[track_caller]
    pub fn has_nothing_since(&self, before: &BTreeSet<String>) {
        let limit = Instant::now() + crate::shim::PATIENCE;
        loop {
            self.sh("ctr leases create --id collect && ctr leases delete --sync collect").ok();
            let new: Vec<String> = self.traces().difference(before).cloned().collect();
            if new.is_empty() {
                return;
            }
            if Instant::now() >= limit {
                let leases = self.sh(
                    "grep -H . /run/eci/ranges/*-*; ls -d /var/lib/containerd/*overlayfs/snapshots/*; ctr snapshot ls",
                );
                panic!("left behind: {new:#?}\n{}", leases.stdout);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its name, for the scripts of tests/hosts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file or directory that the host sees below `/state`.
    pub fn state(&self) -> PathBuf {
        let running = std::env::var_os("ECI_HOSTS_RUN").map(PathBuf::from).expect("ECI_HOSTS_RUN");
        running.join(&self.name)
    }
}

/// What of a suite is not there.
fn missing(suite: &str) -> Option<String> {
    let complete = |dir: &str| place::hosts().join(dir).join(".complete").exists();
    if suite == "newest" {
        return (!complete(suite)).then(|| "the newest containerd is not built (tests/hosts/newest)".to_owned());
    }
    if suite == "systemd" {
        return (!complete("systemd/bookworm"))
            .then(|| "there is no systemd (tests/hosts/layer systemd bookworm)".to_owned());
    }
    if suite == "docker-newest" {
        let built = complete("docker/newest") && complete("newest") && complete("docker/trixie");
        return (!built).then(|| "the newest dockerd is not built (tests/hosts/newest-docker)".to_owned());
    }
    if let Some(suite) = suite.strip_prefix("docker-") {
        return (!complete(&format!("docker/{suite}")))
            .then(|| format!("there is no Docker of Debian {suite} (tests/hosts/layer docker {suite})"));
    }
    (!complete(&format!("rootfs/{suite}")))
        .then(|| format!("there is no chroot of Debian {suite} (tests/hosts/chroot {suite})"))
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in ["containerd", "dockerd"] {
                let Ok(log) = std::fs::read_to_string(self.state().join(format!("log/{daemon}.log"))) else { continue };
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("the end of {daemon}'s log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
        let ended = Command::new(place::sources().join("hosts/down")).arg(&self.name).status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking(), "tests/hosts/down");
    }
}
