//! Through Docker 26 on containerd 1.7 and Docker 28 on containerd 2.1, each with its own graph driver overlay2 and with
//! containerd's image store.
//!
//! Every check runs once a suite and store ([`on_each_docker`]), by runtime name or by default: our runtime is the hosts'
//! default one. The checks of a suite and store share a host, one after the other, and each must leave it as it found it. One that
//! fails takes the host down with it, so that the next one has a new one.
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
            on_each_docker!(@place $check, trixie_overlay2, TRIXIE_OVERLAY2);
            on_each_docker!(@place $check, trixie_containerd, TRIXIE_CONTAINERD);
            on_each_docker!(@place $check, sid_overlay2, SID_OVERLAY2);
            on_each_docker!(@place $check, sid_containerd, SID_CONTAINERD);
        }
    )+ };
    (@place $check:ident, $name:ident, $place:ident) => {
        #[test]
        fn $name() {
            let (_, module) = module_path!().split_once("::").expect("a module");
            $crate::$place.check(&format!("{module}::{}", stringify!($name)), super::$check);
        }
    };
}

mod bad_input;
mod daemons;
mod exec;
mod images;
mod life;
mod mount_policy;
mod mounts;
mod network;
mod rights;
mod run;

static TRIXIE_OVERLAY2: Docker = Docker::new("docker-trixie", "overlay2");
static TRIXIE_CONTAINERD: Docker = Docker::new("docker-trixie", "containerd");
static SID_OVERLAY2: Docker = Docker::new("docker-sid", "overlay2");
static SID_CONTAINERD: Docker = Docker::new("docker-sid", "containerd");

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

/// dockerd's configuration: our runtime by default, and under a name of the operator's.
fn daemon_json() -> PathBuf {
    let runtime = tests::host::runtime();
    let path = place::new_dir("dockerd").join("daemon.json");
    let config = json!({ "default-runtime": runtime, "runtimes": { "named": { "runtimeType": runtime } } });
    std::fs::write(&path, config.to_string()).expect("a daemon.json");
    path
}
