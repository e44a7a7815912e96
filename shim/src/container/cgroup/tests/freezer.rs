//! The freezers of both versions, on real groups.

use super::*;

/// The clock ticks that a process has had (proc_pid_stat(5): utime and stime).
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("its stat");
    let fields = stat.rsplit_once(") ").expect("a name").1.split(' ');
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

fn runs(child: &Child) {
    let (before, deadline) = (ticks(child), Instant::now() + PATIENCE);
    while ticks(child) == before {
        assert!(Instant::now() < deadline, "it does not run");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The group that is frozen, and how it says so.
fn frozen(cgroup: &Cgroup) -> bool {
    let v1 = dir_of(cgroup, "freezer").map(|dir| text(&dir, "freezer.state") == "FROZEN");
    v1.unwrap_or_else(|| text(&cgroup.groups[0].dir, "cgroup.events").lines().any(|line| line == "frozen 1"))
}

fn what_is_frozen_stands_still(layout: &Layout) {
    let group = create(layout, &name(), Resources::default());
    let mut child = run_in(&group.0, "echo in; while :; do :; done");
    first_line(&mut child);
    runs(&child);
    group.0.freeze().expect("frozen");
    assert!(frozen(&group.0));
    let seen = ticks(&child);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(&child), seen, "it runs though it is frozen");
    group.0.freeze().expect("freezing again is no error");
    group.0.thaw().expect("thawed");
    assert!(!frozen(&group.0));
    runs(&child);
    // Frozen when the guard kills it.
    group.0.freeze().expect("frozen");
    group.0.kill_all().expect("a kill");
    assert!(!child.wait().expect("a status").success());
}

#[test]
fn what_is_frozen_stands_still_on_every_kind_of_host() {
    [host(), v1_only()].iter().flatten().for_each(what_is_frozen_stands_still);
    if let Some(host) = unified() {
        what_is_frozen_stands_still(&host.layout);
    }
}

/// A group that the container has frozen is its own affair, until it is to die.
fn a_frozen_group_below_stays_so(layout: &Layout) {
    let group = create(layout, &name(), Resources::default());
    let v1 = dir_of(&group.0, "freezer");
    let (file, word) = if v1.is_some() { ("freezer.state", "FROZEN") } else { ("cgroup.freeze", "1") };
    let inner = v1.unwrap_or_else(|| group.0.groups[0].dir.clone()).join("cold");
    let mut child = run_in(&group.0, "echo in; exec sleep 1000");
    first_line(&mut child);
    std::fs::create_dir(&inner).expect("an inner group");
    std::fs::write(inner.join("cgroup.procs"), child.id().to_string()).expect("a move");
    std::fs::write(inner.join(file), word).expect("a freeze");
    group.0.freeze().expect("frozen");
    group.0.thaw().expect("thawed");
    assert!(text(&inner, file).starts_with(&word[..1]), "{}", text(&inner, file));
    // As a Kill of init alone: the signal is sent, then what is frozen is let go.
    child.kill().expect("a kill");
    group.0.let_die();
    assert!(!child.wait().expect("a status").success());
}

#[test]
fn a_frozen_group_below_stays_so_and_lets_its_processes_die() {
    host().iter().for_each(a_frozen_group_below_stays_so);
    if let Some(host) = unified() {
        a_frozen_group_below_stays_so(&host.layout);
    }
}

#[test]
fn without_a_freezer_a_pause_is_refused_by_name_and_a_kill_works() {
    let Some(mut layout) = v1_only() else { return };
    layout.hierarchies.retain(|hierarchy| !hierarchy.has_v1("freezer"));
    if layout.hierarchies.is_empty() {
        return;
    }
    let group = create(&layout, &name(), Resources::default());
    let mut child = run_in(&group.0, "echo in; while :; do :; done");
    first_line(&mut child);
    for refused in [group.0.freeze(), group.0.thaw()] {
        assert_eq!(refused.expect_err("a refusal").to_string(), "pause: no freezer is mounted here");
    }
    runs(&child);
    group.0.kill_all().expect("a kill");
    child.wait().expect("a status");
}

#[test]
fn a_group_that_is_gone_is_named() {
    let Some(layout) = host() else { return };
    let group = create(&layout, &name(), Resources::default());
    group.0.remove().expect("a removal");
    for failed in [group.0.freeze(), group.0.thaw()] {
        let line = failed.expect_err("an error").to_string();
        assert!(line.starts_with("cgroup: open /") && line.ends_with("/c1: no such file or directory"), "{line}");
    }
}
