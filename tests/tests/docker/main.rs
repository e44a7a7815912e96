//! Through Docker 26 on containerd 1.7 and Docker 28 on containerd 2.1, each with its own graph driver overlay2 and with
//! containerd's image store, and through the newest dockerd on containerd 2.4.
//!
//! What Docker does every day is checked on each suite and store ([`on_each_docker`]), what depends on neither on one store
//! of each ([`on_both_dockers`]). Our runtime is the hosts' default one. The checks of a suite and store share a host, one after
//! the other, and each must leave it as it found it. One that fails takes the host down with it: the next has a new one.
//! [`remap`] has hosts of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tests::host::{Host, Setup};
use tests::place;

/// Makes a test of each check for each suite and store: `check::trixie_overlay2`, and so on.
macro_rules! on_each_docker {
    ($($check:ident),+ $(,)?) => { $(
        mod $check {
            on_a_docker!($check, trixie_overlay2, TRIXIE_OVERLAY2);
            on_a_docker!($check, trixie_containerd, TRIXIE_CONTAINERD);
            on_a_docker!($check, sid_overlay2, SID_OVERLAY2);
            on_a_docker!($check, sid_containerd, SID_CONTAINERD);
            on_a_docker!($check, newest_containerd, NEWEST_CONTAINERD);
        }
    )+ };
}

/// Makes a test of each check for each suite, with one of the stores.
macro_rules! on_both_dockers {
    ($($check:ident),+ $(,)?) => { $(
        mod $check {
            on_a_docker!($check, trixie_overlay2, TRIXIE_OVERLAY2);
            on_a_docker!($check, sid_containerd, SID_CONTAINERD);
        }
    )+ };
}

macro_rules! on_a_docker {
    ($check:ident, $name:ident, $place:ident) => {
        #[test]
        fn $name() {
            let (_, module) = module_path!().split_once("::").expect("a module");
            $crate::$place.check(&format!("{module}::{}", stringify!($name)), super::$check);
        }
    };
}

mod bad_input;
mod coherence;
mod config;
mod console;
mod daemons;
mod exec;
mod grants;
mod images;
mod inner;
mod life;
mod mount_policy;
mod mounts;
mod namespaces;
mod network;
mod ownership;
mod privileged;
mod remap;
mod rights;
mod run;
mod tools;

static TRIXIE_OVERLAY2: Docker = Docker::new("docker-trixie", "overlay2");
static TRIXIE_CONTAINERD: Docker = Docker::new("docker-trixie", "containerd");
static SID_OVERLAY2: Docker = Docker::new("docker-sid", "overlay2");
static SID_CONTAINERD: Docker = Docker::new("docker-sid", "containerd");
static NEWEST_CONTAINERD: Docker = Docker::new("docker-newest", "containerd");

/// A host that checks share, once one of them has started it.
struct Docker {
    suite: &'static str,
    store: &'static str,
    host: Mutex<Option<Running>>,
}

struct Running {
    host: Host,
    /// What it has when no check runs.
    idle: BTreeSet<String>,
}

impl Docker {
    const fn new(suite: &'static str, store: &'static str) -> Self {
        Self { suite, store, host: Mutex::new(None) }
    }

    /// Runs a check and compares what the host then has with what it had.
    fn check(&self, test: &str, check: fn(&Host)) {
        let mut slot = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = slot.take().or_else(|| self.up(test)) else { return };
        check(&running.host);
        running.host.has_nothing_since(&running.idle);
        *slot = Some(running);
    }

    fn up(&self, test: &str) -> Option<Running> {
        let setup = Setup { docker: Some(daemon_json()), store: Some(self.store), ..Setup::default() };
        let host = Host::up_with(self.suite, test, &setup)?;
        // What the first container of a host makes and no container takes away.
        host.sh("docker run --rm busybox true && docker run --rm --runtime runc busybox true").ok();
        let idle = host.traces();
        Some(Running { host, idle })
    }
}

/// dockerd's configuration: our runtime by default, under a name of the operator's, and with a config of its own, which is
/// for a check to write.
fn daemon_json() -> PathBuf {
    let runtime = tests::host::runtime();
    let path = place::new_dir("dockerd").join("daemon.json");
    let options = json!({ "TypeUrl": "io.containerd.runtimeoptions.v1.Options", "ConfigPath": "/etc/eci/own.toml" });
    let config = json!({ "default-runtime": runtime, "runtimes": {
        "named": { "runtimeType": runtime },
        "configured": { "runtimeType": runtime, "options": options },
    } });
    std::fs::write(&path, config.to_string()).expect("a daemon.json");
    path
}
