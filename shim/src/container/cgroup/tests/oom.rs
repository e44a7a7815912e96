//! The look-out for the end of memory: v1 on a real group, v2's counts on a directory that stands for one.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::oom::Oom;
use super::*;

/// Waits until there may be news.
fn notified(oom: &Oom) -> bool {
    let notifier = oom.notifier().expect("a descriptor");
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(&notifier, PollFlags::IN)], Some(&timeout)).expect("poll") == 1
}

#[test]
fn on_v1_an_end_is_told_once_and_that_of_the_group_is_none() {
    let Some(layout) = v1_only().filter(|it| it.hierarchies.iter().any(|it| it.has_v1("memory"))) else { return };
    let small = Resources { memory_limit: Some(16 << 20), memory_swap: Some(16 << 20), ..Resources::default() };
    let group = create(&layout, &name(), small);
    let oom = group.0.watch_oom().expect("a look-out").expect("memory is limited here");
    assert!(run_in(&group.0, "true").wait().expect("a status").success());
    assert!(!oom.happened(), "nothing has");
    assert!(!run_in(&group.0, "exec dd if=/dev/zero of=/dev/null bs=100M count=1").wait().expect("a status").success());
    assert!(notified(&oom) && oom.happened());
    // The dying processes may have asked for memory once more.
    while oom.happened() {}
    group.0.remove().expect("a removal");
    assert!(notified(&oom), "v1 tells of the group's end");
    assert!(!oom.happened());
}

#[test]
fn where_no_memory_is_limited_nothing_is_looked_out_for() {
    let Some(mut layout) = v1_only() else { return };
    layout.hierarchies.retain(|hierarchy| !hierarchy.has_v1("memory"));
    if layout.hierarchies.is_empty() {
        return;
    }
    let group = create(&layout, &name(), Resources::default());
    assert!(group.0.watch_oom().expect("no error").is_none());
}

#[test]
fn on_v2_only_a_kill_more_than_before_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let events = |max: u32, kills: u32| {
        let text = format!("low 0\nhigh 0\nmax {max}\noom {max}\noom_kill {kills}\noom_group_kill 0\n");
        std::fs::write(dir.path().join("memory.events"), text).expect("a file");
    };
    let root = dir.path().parent().expect("a parent").to_owned();
    let hierarchy = Hierarchy { kind: Kind::V2, mount_point: root.clone(), own: root };
    let groups = vec![Group { hierarchy, dir: dir.path().to_owned() }];
    let cgroup = Cgroup { groups, in_user_namespace: false, unit: None };
    assert!(cgroup.watch_oom().expect("no error").is_none(), "without memory.events");
    // What was before is not told.
    events(3, 2);
    let oom = cgroup.watch_oom().expect("a look-out").expect("memory is limited here");
    assert!(!oom.happened());
    events(4, 2);
    assert!(notified(&oom) && !oom.happened(), "a limit that was reached has killed nobody");
    events(5, 3);
    assert!(notified(&oom) && oom.happened());
    assert!(!oom.happened(), "it is told once");
    events(6, 5);
    assert!(oom.happened());
    std::fs::remove_file(dir.path().join("memory.events")).expect("removed");
    assert!(!oom.happened(), "a group that is gone");
}
