//! A virtual machine with cgroup v2 alone, every controller, and an older kernel (tests/hosts/vm-run): containers of
//! containerd 1.7 with what most users have.
//!
//! The machine is emulated, so all tests share one boot: `kernel.sh` and `checks.sh` do the checks and say how each went, and each test
//! here is about one of them. A second boot, at the same time, has systemd as process 1, `systemd.sh` and `docker.sh`
//! for its checks. Other kernels are booted for `kernel.sh` alone, with one test for each ([`kernels`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use tests::{Output, place, rows};

/// How the checks of one boot went, by name: nothing, or what was wrong.
type Results = BTreeMap<String, String>;

/// The kernel of most boots: trixie's, 6.12.
const USUAL: &str = "trixie";

/// Whether there is this part of a machine.
fn complete(part: &str) -> bool {
    place::hosts().join(part).join(".complete").exists()
}

/// Whether there is a machine with this kernel.
fn is_there(kernel: &str) -> bool {
    complete("vm") && complete(&format!("kernel/{kernel}"))
}

/// Those of `kernel.sh` and `checks.sh`. None where there is no machine.
fn results() -> Option<&'static Results> {
    static RESULTS: OnceLock<Option<Results>> = OnceLock::new();
    let boot = || is_there(USUAL).then(|| run(USUAL, &["kernel.sh", "checks.sh", "last.sh"], false));
    RESULTS.get_or_init(boot).as_ref()
}

/// Those of `systemd.sh`. None where there is no machine, or none with systemd.
fn results_with_systemd() -> Option<&'static Results> {
    static RESULTS: OnceLock<Option<Results>> = OnceLock::new();
    let is_there = is_there(USUAL) && complete("systemd/trixie");
    RESULTS.get_or_init(|| is_there.then(|| run(USUAL, &["systemd.sh", "docker.sh"], true))).as_ref()
}

/// Boots, checks, and reads `RESULT name ok|failed` lines, each with its text below.
fn run(kernel: &str, checks: &[&str], systemd: bool) -> Results {
    let job = place::new_dir("vm");
    if systemd {
        std::fs::write(job.join("systemd"), "").expect("a file");
    }
    let sources = place::sources().join("tests/vm");
    let copy = |from: std::path::PathBuf, to: &str| {
        let done = Command::new("cp").arg("-a").arg(from).arg(job.join(to)).status();
        assert!(done.is_ok_and(|status| status.success()), "copy {to}");
    };
    std::fs::create_dir(job.join("bin")).expect("a directory");
    copy(sources.join("run.sh"), "run.sh");
    let read = |name: &&str| std::fs::read_to_string(sources.join(name)).expect("checks");
    std::fs::write(job.join("checks.sh"), checks.iter().map(read).collect::<String>()).expect("checks");
    let of_docs = rows::rows();
    std::fs::write(job.join("rows.sh"), rows::questions(&of_docs)).expect("questions");
    std::fs::write(job.join("rows"), rows::answers(&of_docs, rows::By::Privileged).join("\n") + "\n").expect("answers");
    copy(place::hosts().join("images/busybox.tar"), "busybox.tar");
    copy(place::busybox(), "rootfs");
    copy(place::inside(), "bin/inside");
    let shim = job.join("bin/containerd-shim-eci-v2");
    for (to, from) in [(shim, place::shim()), (job.join("bin/update"), place::update())] {
        let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
        assert!(stripped.is_ok_and(|status| status.success()), "strip");
    }

    let mut boot = Command::new(place::sources().join("hosts/vm-run"));
    let output = boot.env("ECI_KERNEL", kernel).arg(&job).arg("900").output();
    let output = Output::from(output.expect("tests/hosts/vm-run"));
    assert_eq!(output.status, 0, "{output:#?}");
    let mut results = BTreeMap::new();
    for result in output.stdout.split("RESULT ").skip(1) {
        let (line, text) = result.split_once('\n').expect("a line");
        let (name, verdict) = line.split_once(' ').expect("a verdict");
        let text = if verdict == "ok" { String::new() } else { format!("failed:\n{text}") };
        results.insert(name.to_owned(), text);
    }
    results
}

/// A test for each check, and one that there is a test for each.
macro_rules! checks {
    ($results:path, $every:ident: $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                let Some(results) = $results() else {
                    return tests::skip(name, "there is no virtual machine (tests/hosts/vm)");
                };
                let text = results.get(name).unwrap_or_else(|| panic!("not checked: {results:#?}"));
                assert!(text.is_empty(), "{text}");
            }
        )*

        #[test]
        fn $every() {
            let Some(results) = $results() else {
                return tests::skip(stringify!($every), "there is no virtual machine (tests/hosts/vm)");
            };
            let mut tests = [$(stringify!($name)),*];
            tests.sort_unstable();
            assert!(results.keys().map(String::as_str).eq(tests), "{results:#?}");
        }
    };
}

checks! { results, every_check_has_its_test:
    a_container_starts_and_executes
    the_look_at_the_host_finds_what_they_take
    files_tell_of_the_group_and_of_those_above
    a_setting_is_its_own
    a_new_proc_and_sysfs_show_them_too
    what_is_locked_stays_and_what_is_bound_comes_off
    harmless_devices_are_made_and_others_are_not
    every_row_shows_takes_and_refuses_what_it_says
    what_makes_mounts_and_namespaces_of_its_own_works
    a_tmpfs_of_the_hosts_is_bound_where_it_can_be_mapped
    an_inner_runc_runs_and_sees_them
    swap_is_told_alike_and_nested
    device_programs_of_an_inner_engine_hold
    a_killed_stage_is_replaced
    what_a_killed_shim_leaves_goes
    a_container_has_ids_a_cgroup_view_and_a_proc_of_its_own
    exit_codes_are_those_of_the_programs
    limits_are_in_the_group_and_every_process_is_in_it
    metrics_are_those_of_the_whole_group
    a_paused_container_stands_still_and_dies_when_killed
    memory_that_runs_out_is_told_before_the_exit
    its_own_limits_are_out_of_reach
    an_inner_engine_makes_groups_with_limits_below_its_own
    every_controller_has_its_limits
    an_update_changes_limits_and_one_below_use_changes_nothing
    the_limit_of_processes_holds
    device_rules_hold
    a_privileged_container_has_nothing_of_the_hosts
    user_namespaces_are_limited_beyond_the_containers_root
    mounts_are_locked_and_its_own_are_its_own
    files_on_disk_belong_to_whom_the_container_says
    a_container_joins_the_network_of_another
    the_look_at_the_host_says_what_there_is_and_what_is_missing
    nothing_is_left
}

checks! { results_with_systemd, every_check_with_systemd_has_its_test:
    a_scope_has_the_limits_and_a_reload_keeps_them
    device_rules_hold_after_a_reload
    a_limit_of_one_process_and_a_set_of_cpus_are_properties
    an_update_changes_properties_and_a_refused_one_none
    docker_has_systemd_make_a_scope_with_the_limits
    docker_run_has_a_range_of_its_own_and_the_programs_exit_code
    docker_tells_that_memory_ran_out
    docker_pauses_and_executes
    docker_copies_both_ways_and_keeps_owners
    docker_mounts_read_only_for_ever
    a_privileged_docker_container_owns_itself_alone
    docker_shares_no_namespace_with_the_host
}

/// Emulated files and trapped calls on each kernel: what they are made of differs.
mod kernels {
    use super::*;

    /// How many functions `kernel.sh` and `last.sh` have.
    const CHECKS: usize = 16;

    /// Whether all are booted (`make kernels`).
    fn all() -> bool {
        std::env::var_os("ECI_KERNELS").is_some()
    }

    fn holds(suite: &str) {
        if !is_there(suite) {
            let reason = "there is no such kernel, or no virtual machine (tests/hosts/kernel, vm)";
            return tests::skip(&format!("kernels::{suite}"), reason);
        }
        let results = run(suite, &["kernel.sh", "last.sh"], false);
        let failed: Vec<_> = results.iter().filter(|(_, text)| !text.is_empty()).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(results.len(), CHECKS, "{results:#?}");
    }

    /// 6.1: no id-mapped tmpfs, no overlay by descriptors, and what 6.12 lacks.
    #[test]
    fn bookworm() {
        holds("bookworm");
    }

    /// 6.12: no procfs of another pid namespace, no clone of a detached mount, nor a mount on one. Otherwise one of the tests of
    /// the shared boot.
    #[test]
    fn trixie() {
        if all() {
            holds(USUAL);
        } else {
            super::an_inner_runc_runs_and_sees_them();
        }
    }

    /// The newest.
    #[test]
    fn sid() {
        if all() {
            holds("sid");
        } else {
            tests::skip("kernels::sid", "`make kernels` boots it");
        }
    }
}
