//! Through containerd 1.6, 1.7, 2.1 and 2.4, each on a Debian of its own.
//!
//! Every check runs once a suite and must leave its host as it found it: [`on_each_suite`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use tests::host::{Host, Setup};

/// Makes a test of each check for each suite: `check::bookworm`, `check::trixie`, `check::sid`,
/// `check::newest`. `with SETUP` names a function
/// that gives the hosts' set-up.
macro_rules! on_each_suite {
    ($($check:ident),+ $(,)?) => { on_each_suite!(with Default::default; $($check),+); };
    (with $setup:expr; $($check:ident),+ $(,)?) => { $(
        mod $check {
            on_each_suite!(@suite $check, $setup, bookworm);
            on_each_suite!(@suite $check, $setup, trixie);
            on_each_suite!(@suite $check, $setup, sid);
            on_each_suite!(@suite $check, $setup, newest);
        }
    )+ };
    (@suite $check:ident, $setup:expr, $suite:ident) => {
        #[test]
        fn $suite() {
            #[allow(unused_imports)]
            use super::*;
            let (_, module) = module_path!().split_once("::").expect("a module");
            $crate::check_on(stringify!($suite), &format!("{module}::{}", stringify!($suite)), &$setup(), super::$check);
        }
    };
}

mod config;
mod disk;
mod hooks;
mod ids;
mod metrics;
mod options;
mod pod;
mod refusals;
mod restart;
mod run;
mod systemd;
mod tasks;
mod terminal;

/// Runs a check on a host of its own, and then compares what the host has with what it had.
fn check_on(suite: &str, test: &str, setup: &Setup, check: fn(&Host)) {
    let Some(host) = Host::up_with(suite, test, setup) else { return };
    let before = host.traces();
    check(&host);
    host.has_nothing_since(&before);
}
