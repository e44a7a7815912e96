//! Tests of containerd's own client suite, of its newest release, with our runtime.
//!
//! The suite is one program (tests/hosts/client-suite), run once with the tests that are named here; each test here is about
//! one of them. `make conformance` runs all of it, with runc beside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, non_snake_case)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use tests::host::{Host, runtime};
use tests::{Output, place};

/// What became of the tests, and what they printed; none where the suite is not built.
type Results = Option<(BTreeMap<String, String>, String)>;

/// Runs the suite, once.
fn results(test: &str) -> &'static Results {
    static RESULTS: OnceLock<Results> = OnceLock::new();
    RESULTS.get_or_init(|| Host::up("newest", &format!("{test}::newest")).map(|host| run(&host)))
}

fn run(host: &Host) -> (BTreeMap<String, String>, String) {
    let script = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(place::sources().join("hosts").join(name));
        Output::from(command.arg(host.name()).args(arguments).output().expect(name))
    };
    let registry = script("registry", &[]);
    assert_eq!(registry.status, 0, "{registry:#?}");
    let only = format!("-test.run=^({})$", NAMES.join("|"));
    let text = script("client-suite", &[&runtime(), &only]).stdout;
    // --- PASS: TestName (0.10s)
    let verdict = |line: &str| {
        let (verdict, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
        Some((rest.split(' ').next()?.to_owned(), verdict.to_owned()))
    };
    (text.lines().filter_map(verdict).collect(), text)
}

/// A test for each of the suite's.
macro_rules! suite {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            mod $name {
                #[test]
                fn newest() {
                    super::passes(stringify!($name));
                }
            }
        )*
    };
}

fn passes(name: &str) {
    let Some((results, text)) = results(name) else {
        return tests::skip(&format!("{name}::newest"), "the newest containerd is not built (tests/hosts/newest)");
    };
    assert_eq!(results.get(name).map(String::as_str), Some("PASS"), "{text}");
}

suite! {
    TestBindLowPortNonRoot
    TestContainerAttach
    TestContainerAttachProcess
    TestContainerCloseIO
    TestContainerExec
    TestContainerExecNoBinaryExists
    TestContainerExitedAtSet
    TestContainerHook
    TestContainerHostname
    TestContainerKill
    TestContainerKillAll
    TestContainerKillInitKillsChildWhenNotHostPid
    TestContainerLargeExecArgs
    TestContainerLoadUnexistingProcess
    TestContainerMetrics
    TestContainerNoBinaryExists
    TestContainerNoSTDIN
    TestContainerOutput
    TestContainerPTY
    TestContainerPids
    TestContainerRuntimeOptionsv2
    TestContainerStart
    TestContainerStartWithAbsRuntimePath
    TestContainerUser
    TestContainerUserID
    TestContainerUsername
    TestContainerWait
    TestDaemonReconnectsToShimIOPipesOnRestart
    TestDaemonRestart
    TestDaemonRestartWithRunningShim
    TestDeleteContainerExecCreated
    TestDeleteRunningContainer
    TestDeletedContainerMetrics
    TestIDMappedOverlay
    TestProcessForceDelete
    TestRegressionIssue4769
    TestRuntimeInfo
    TestShimDoesNotLeakPipes
    TestShimDoesNotLeakSockets
    TestShimInCgroup
    TestShimOOMScore
    TestShimSockLength
    TestShortRunningTaskPid
    TestTaskForceDelete
    TestTaskResize
    TestTaskUpdate
    TestWaitStoppedProcess
    TestWaitStoppedTask
}
