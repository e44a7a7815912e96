//! Kernel tests: real groups below this process's own, one mechanism each. They need root and do nothing without.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use policy::plan::{self, CgroupPath};
use rustix::fs::{Mode, OFlags, openat};

use super::*;

mod freezer;
mod oom;
mod stats;
mod update;

/// What a test has made, gone at its end whatever happens.
struct Guard(Cgroup);

impl Drop for Guard {
    fn drop(&mut self) {
        let cleared = self.0.kill_all().and_then(|()| self.0.remove());
        assert!(cleared.is_ok() || std::thread::panicking(), "{cleared:?}");
    }
}

/// A group name that no other test has, below a parent of its own.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("eci-test-{}-{}/c1", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn wish(path: &str, resources: Resources) -> plan::Cgroup {
    plan::Cgroup { path: Some(CgroupPath::Cgroupfs(path.into())), resources }
}

fn create(layout: &Layout, path: &str, resources: Resources) -> Guard {
    Guard(Cgroup::create(layout, &wish(path, resources), "unused").expect("a group"))
}

fn refusal(layout: &Layout, path: &str, resources: Resources) -> String {
    Cgroup::create(layout, &wish(path, resources), "unused").expect_err("a refusal").to_string()
}

/// The layout of this host; none when not root.
fn host() -> Option<Layout> {
    rustix::process::geteuid().is_root().then(|| Layout::detect().expect("a layout"))
}

/// The same host as if cgroup v2 were all it had. What its root enables is put back at the end, so that only one test at
/// a time may have it.
struct Unified {
    layout: Layout,
    enabled: String,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Unified {
    fn drop(&mut self) {
        let root = &self.layout.hierarchies[0].mount_point;
        for name in text(root, "cgroup.subtree_control").split_whitespace() {
            if !self.enabled.split_whitespace().any(|it| it == name) {
                let _ = std::fs::write(root.join("cgroup.subtree_control"), format!("-{name}"));
            }
        }
    }
}

/// None where there is no v2.
fn unified() -> Option<Unified> {
    static ALONE: Mutex<()> = Mutex::new(());
    let mut layout = host()?;
    layout.hierarchies.retain(Hierarchy::is_v2);
    let root = layout.hierarchies.first()?.mount_point.clone();
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Some(Unified { layout, enabled: text(&root, "cgroup.subtree_control"), _alone })
}

fn v1_only() -> Option<Layout> {
    let mut layout = host()?;
    layout.hierarchies.retain(|hierarchy| !hierarchy.is_v2());
    (!layout.hierarchies.is_empty()).then_some(layout)
}

/// The directory of the group that a controller is limited in.
fn dir_of(cgroup: &Cgroup, controller: &str) -> Option<PathBuf> {
    cgroup.groups.iter().find(|group| group.hierarchy.has_v1(controller)).map(|group| group.dir.clone())
}

fn text(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).expect(file).trim().to_owned()
}

/// Runs a shell script that begins when the process is in the group, with its standard output.
fn run_in(cgroup: &Cgroup, script: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("read -r _; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let entry = cgroup.entry().expect("an entry");
    for tasks in &entry.tasks {
        rustix::io::write(tasks, child.id().to_string().as_bytes()).expect("a join");
    }
    if let Some(directory) = &entry.directory {
        tree::write(directory.as_fd(), "cgroup.procs", &child.id().to_string()).expect("a join");
    }
    child.stdin.take().expect("stdin").write_all(b"\n").expect("a newline");
    child
}

/// Waits until the script says something.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("stdout");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    line.trim().to_owned()
}

#[test]
fn limits_are_in_the_files_of_v1() {
    let Some(layout) = v1_only() else { return };
    let resources = Resources {
        memory_limit: Some(64 << 20),
        memory_swap: Some(96 << 20),
        memory_reservation: Some(32 << 20),
        memory_swappiness: Some(10),
        disable_oom_killer: Some(true),
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(200_000),
        cpuset_cpus: Some("0".into()),
        pids_limit: Some(20),
        ..Resources::default()
    };
    let group = create(&layout, &name(), resources);
    let check = |controller, values: &[(&str, &str)]| {
        if let Some(dir) = dir_of(&group.0, controller) {
            values.iter().for_each(|(file, value)| assert!(text(&dir, file).starts_with(value), "{file}"));
        }
    };
    check("memory", &[("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "100663296")]);
    check("memory", &[("memory.soft_limit_in_bytes", "33554432"), ("memory.swappiness", "10")]);
    check("memory", &[("memory.oom_control", "oom_kill_disable 1")]);
    check("cpu", &[("cpu.shares", "512"), ("cpu.cfs_quota_us", "50000"), ("cpu.cfs_period_us", "200000")]);
    check("cpuset", &[("cpuset.cpus", "0"), ("cpuset.mems", "0")]);
    check("pids", &[("pids.max", "20")]);
}

#[test]
fn a_process_is_in_every_hierarchy_and_dies_with_the_group() {
    let Some(layout) = host() else { return };
    let path = name();
    let group = create(&layout, &path, Resources::default());
    let mut child = run_in(&group.0, "echo in; sleep 1000 & sleep 1000");
    assert_eq!(first_line(&mut child), "in");
    let seen = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("its cgroups");
    assert_eq!(seen.lines().filter(|line| line.ends_with(&path)).count(), layout.hierarchies.len(), "{seen}");
    assert!(group.0.processes().expect("processes").contains(&child.id()));
    let held = group.0.clone();
    group.0.kill_all().expect("a kill");
    assert_eq!(held.processes().expect("processes"), [0_u32; 0]);
    assert!(!child.wait().expect("a status").success());
    drop(group);
    for dir in held.paths() {
        assert!(!dir.exists() && !dir.parent().expect("a parent").exists(), "{}", dir.display());
    }
    held.remove().expect("removing again is no error");
    assert_eq!(held.processes().expect("processes"), [0_u32; 0]);
}

#[test]
fn a_group_with_processes_is_refused_and_an_empty_one_replaced() {
    let Some(layout) = host() else { return };
    let path = name();
    let group = create(&layout, &path, Resources { pids_limit: Some(20), ..Resources::default() });
    let mut child = run_in(&group.0, "echo in; exec sleep 1000");
    first_line(&mut child);
    let line = refusal(&layout, &path, Resources::default());
    assert!(line.starts_with("linux.cgroupsPath: the container's cgroup is not empty: 1 process(es) in /"), "{line}");
    // So is a group above it.
    let above = refusal(&layout, path.strip_suffix("/c1").expect("a parent"), Resources::default());
    assert!(above.contains("is not empty"), "{above}");
    group.0.kill_all().expect("a kill");
    child.wait().expect("a status");
    let again = create(&layout, &path, Resources::default());
    if let Some(pids) = dir_of(&again.0, "pids") {
        assert_eq!(text(&pids, "pids.max"), "max");
    }
}

#[test]
fn a_refused_value_names_its_field_and_leaves_nothing() {
    let Some(layout) = host() else { return };
    let path = name();
    let none = Resources::default;
    if layout.hierarchies.iter().any(|it| it.has_v1("cpuset")) {
        let line = refusal(&layout, &path, Resources { cpuset_cpus: Some("4095".into()), ..none() });
        assert!(line.starts_with("linux.resources.cpu.cpus: 4095: "), "{line}");
    }
    if layout.hierarchies.iter().any(|it| it.has_v1("cpu")) {
        let line = refusal(&layout, &path, Resources { cpu_quota: Some(1), ..none() });
        assert_eq!(line, "linux.resources.cpu.quota: 1: invalid argument");
    }
    for hierarchy in &layout.hierarchies {
        let parent = place::directory(hierarchy, path.strip_suffix("/c1").expect("a parent"));
        assert!(!parent.exists(), "{}", parent.display());
    }
    create(&layout, &path, none());
}

#[test]
fn a_missing_controller_is_refused_only_when_it_is_needed() {
    let Some(host) = unified() else { return };
    let layout = &host.layout;
    let path = name();
    let controllers = std::fs::read_to_string(layout.hierarchies[0].mount_point.join("cgroup.controllers"));
    if controllers.expect("controllers").split_whitespace().any(|it| it == "memory") {
        return;
    }
    let line = refusal(layout, &path, Resources { memory_limit: Some(1 << 26), ..Resources::default() });
    assert_eq!(line, "linux.resources.memory.limit: 67108864: the memory controller is not available here");
    let open = Resources {
        memory_limit: Some(-1),
        memory_swap: Some(-1),
        cpu_quota: Some(-1),
        pids_limit: Some(-1),
        ..Resources::default()
    };
    create(layout, &path, open);
}

#[test]
fn limits_are_in_the_files_of_v2() {
    let Some(host) = unified() else { return };
    let layout = &host.layout;
    let available = text(&layout.hierarchies[0].mount_point, "cgroup.controllers");
    let group = create(layout, &name(), Resources::default());
    let dir = &group.0.groups[0].dir;
    let missing = |name: &&str| !text(dir, "cgroup.controllers").split_whitespace().any(|it| it == *name);
    assert_eq!(available.split_whitespace().filter(missing).count(), 0, "every controller reaches the group");
    if !["memory", "cpu", "pids"].iter().all(|name| available.split_whitespace().any(|it| it == *name)) {
        return;
    }
    let resources = Resources {
        memory_limit: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        cpu_shares: Some(1024),
        cpu_quota: Some(50_000),
        cpu_period: Some(200_000),
        pids_limit: Some(20),
        ..Resources::default()
    };
    let group = create(layout, &name(), resources);
    let dir = &group.0.groups[0].dir;
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 200000"),
        ("pids.max", "20"),
    ] {
        assert_eq!(text(dir, file), value, "{file}");
    }
}

/// What the script of the device tests may open.
const OPENS: &str = "for d in null zero kmsg; do (exec 3</dev/$d) && printf '%s ' $d; done; echo .";

fn devices_hold(layout: &Layout) {
    let everything =
        plan::DeviceRule { allow: true, kind: None, major: None, minor: None, read: true, write: true, mknod: true };
    let deny = plan::DeviceRule { allow: false, ..everything };
    let kmsg = plan::DeviceRule { kind: Some(plan::DeviceKind::Char), major: Some(1), minor: Some(11), ..everything };
    let opened = |devices| {
        let group = create(layout, &name(), Resources { devices, ..Resources::default() });
        let mut child = run_in(&group.0, OPENS);
        let line = first_line(&mut child);
        child.wait().expect("a status");
        line
    };
    assert_eq!(opened(vec![]), "null zero .");
    assert_eq!(opened(vec![deny]), "null zero .");
    assert_eq!(opened(vec![deny, kmsg]), "null zero kmsg .");
    assert_eq!(opened(vec![deny, everything]), "null zero kmsg .");
    assert_eq!(opened(vec![everything, plan::DeviceRule { allow: false, ..kmsg }]), "null zero .");
}

#[test]
fn device_rules_of_v1_hold() {
    if let Some(layout) = v1_only().filter(|layout| layout.hierarchies.iter().any(|it| it.has_v1("devices"))) {
        devices_hold(&layout);
    }
}

#[test]
fn the_device_program_of_v2_holds() {
    if let Some(host) = unified() {
        devices_hold(&host.layout);
    }
}

/// Inner engines make groups, move processes into them and freeze them.
fn an_inner_tree_goes(layout: &Layout) {
    let group = create(layout, &name(), Resources::default());
    let mut child = run_in(&group.0, "echo in; while :; do sleep 1000; done");
    first_line(&mut child);
    for Group { hierarchy, dir } in &group.0.groups {
        let inner = dir.join("a/b");
        std::fs::create_dir_all(&inner).expect("an inner group");
        if hierarchy.has_v1("cpuset") {
            continue;
        }
        std::fs::write(inner.join("cgroup.procs"), child.id().to_string()).expect("a move");
        let (file, word) = if hierarchy.is_v2() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
        if inner.join(file).exists() {
            std::fs::write(inner.join(file), word).expect("a freeze");
        }
    }
    assert!(group.0.processes().expect("processes").contains(&child.id()));
    group.0.kill_all().expect("a kill");
    child.wait().expect("a status");
    group.0.remove().expect("a removal");
    assert!(group.0.paths().iter().all(|dir| !dir.exists()));
}

#[test]
fn an_inner_frozen_tree_goes_on_every_kind_of_host() {
    [host(), v1_only()].iter().flatten().for_each(an_inner_tree_goes);
    if let Some(host) = unified() {
        an_inner_tree_goes(&host.layout);
    }
}

#[test]
fn a_tree_deeper_than_any_path_goes() {
    let Some(host) = unified() else { return };
    let layout = &host.layout;
    let group = create(layout, &name(), Resources::default());
    let mut here = tree::open(&group.0.groups[0].dir).expect("the group");
    let component = "d".repeat(200);
    for _ in 0..30 {
        rustix::fs::mkdirat(&here, &component, Mode::from_raw_mode(0o755)).expect("a group");
        here = openat(&here, &component, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("the group");
    }
    drop(here);
    assert_eq!(group.0.processes().expect("processes"), [0_u32; 0]);
    group.0.remove().expect("a removal");
    assert!(!group.0.paths()[0].exists());
}

#[test]
fn parents_go_with_the_last_container_and_only_when_ours() {
    let Some(layout) = host() else { return };
    let (ours, theirs) = (name(), name());
    let parents = |path: &str| -> Vec<PathBuf> {
        let parent = path.strip_suffix("/c1").expect("a parent");
        layout.hierarchies.iter().map(|hierarchy| place::directory(hierarchy, parent)).collect()
    };
    let first = create(&layout, &ours, Resources::default());
    let second = create(&layout, &ours.replace("c1", "x/c2"), Resources::default());
    drop(first);
    assert!(parents(&ours).iter().all(|dir| dir.exists()));
    drop(second);
    assert!(parents(&ours).iter().all(|dir| !dir.exists()));
    parents(&theirs).iter().for_each(|dir| std::fs::create_dir(dir).expect("a group"));
    drop(create(&layout, &theirs, Resources::default()));
    // Removed before the assertion, so that a failure leaves nothing.
    let left = parents(&theirs).iter().filter(|dir| std::fs::remove_dir(dir).is_ok()).count();
    assert_eq!(left, layout.hierarchies.len());
}

#[test]
fn what_a_dead_shim_left_is_found_by_its_paths() {
    let Some(layout) = host() else { return };
    let group = create(&layout, &name(), Resources::default());
    let found = Cgroup::open_existing(&layout, &group.0.paths(), None).expect("the group");
    assert_eq!(found, group.0);
    let mut child = run_in(&found, "echo in; sleep 1000");
    first_line(&mut child);
    found.kill_all().expect("a kill");
    found.remove().expect("a removal");
    child.wait().expect("a status");
    assert!(found.paths().iter().all(|dir| !dir.exists()));
    let elsewhere = Cgroup::open_existing(&layout, &["/tmp/x".into()], None).expect_err("a refusal").to_string();
    assert_eq!(elsewhere, "cgroup /tmp/x: is in no hierarchy that is mounted here");
    let root = layout.hierarchies[0].mount_point.clone();
    assert!(Cgroup::open_existing(&layout, &[root], None).is_err(), "the root is nobody's");
}

#[test]
fn one_path_is_given_once() {
    let Some(layout) = host() else { return };
    let parent = name();
    // Eight at once below one parent that comes and goes.
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (layout, path) = (&layout, parent.replace("c1", &format!("c{number}")));
            scope.spawn(move || (0..5).for_each(|_| drop(create(layout, &path, Resources::default()))));
        }
    });
    let parent = parent.strip_suffix("/c1").expect("a parent");
    assert!(layout.hierarchies.iter().all(|hierarchy| !place::directory(hierarchy, parent).exists()));
}
