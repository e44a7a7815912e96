//! The container's group: its place, its limits, who is in it, and that nothing of it stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tests::groups::{group, is_v2, read};
use tests::{Bundle, Container};

/// Every hierarchy that is mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    // Another test may have mounted one elsewhere for a moment.
    let usual = |line: &Vec<&str>| line[2].starts_with("cgroup") && line[1].starts_with("/sys/fs/cgroup");
    fields.filter(usual).map(|line| line[1].into()).collect()
}

fn path_of(bundle: &Bundle) -> String {
    format!("/eci-tests/{}", bundle.id)
}

#[tokio::test]
async fn the_group_is_made_everywhere_has_init_and_its_execs_and_goes_as_a_whole_tree() {
    let bundle = Bundle::new();
    let path = path_of(&bundle);
    let container = Container::sleeping(bundle).await;
    let dirs: Vec<_> = hierarchies().into_iter().map(|it| it.join(path.trim_start_matches('/'))).collect();
    let members = |dir: &PathBuf| read(dir.join("cgroup.procs")).lines().map(str::to_owned).collect::<Vec<_>>();
    let pipes = tests::stdio::Pipes::none();
    container.add_process("e", &container.process(&["sleep", "1000"]), &pipes).await.unwrap();
    let exec = container.start_process("e").await.unwrap();
    assert!(!dirs.is_empty());
    for dir in &dirs {
        let members = members(dir);
        for pid in [container.pid, exec] {
            assert!(members.contains(&pid.to_string()), "{}: {members:?}", dir.display());
        }
        fs::create_dir_all(dir.join("a/b")).unwrap();
    }
    container.end().await;
    for dir in dirs {
        assert!(!dir.exists(), "{}", dir.display());
    }
}

#[tokio::test]
async fn limits_are_in_force_before_the_first_instruction() {
    let resources = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
        "pids": { "limit": 17 },
    });
    let bundle = Bundle::new().set("/linux/resources", resources);
    let path = path_of(&bundle);
    // Created and not started: the limits are there, and init is in the group.
    let container = Container::create(bundle).await.unwrap();
    let files = if is_v2() {
        [
            ("memory", "memory.max", "67108864"),
            ("memory", "memory.low", "33554432"),
            ("cpu", "cpu.max", "50000 100000"),
            ("pids", "pids.max", "17"),
        ]
        .to_vec()
    } else {
        [
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("pids", "pids.max", "17"),
        ]
        .to_vec()
    };
    for (controller, file, value) in files {
        let dir = group(controller, &path);
        assert_eq!(read(dir.join(file)), value, "{file}");
        let members = read(dir.join("cgroup.procs"));
        assert!(members.lines().any(|pid| pid == container.pid.to_string()), "{controller}: {members}");
    }
    container.start().await.unwrap();
    container.end().await;
}

#[tokio::test]
async fn huge_pages_are_limited_whatever_hierarchy_has_their_controller() {
    let limits = |bytes: u64| {
        Bundle::new().set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": bytes }]))
    };
    let has_them = |dir: &PathBuf| {
        let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        dir.ends_with("hugetlb") || controllers.contains("hugetlb")
    };
    if !hierarchies().iter().any(has_them) {
        let refusal = limits(4_194_304).refused().await;
        let reason = "linux.resources.hugepageLimits[0]: 2MB 4194304: the hugetlb controller is not available here";
        assert!(refusal.ends_with(reason), "{refusal}");
        // The kubelet's 0, for every size of page, is only logged.
        let container = Container::sleeping(limits(0)).await;
        container.shim.logged("linux.resources.hugepageLimits[0]: 2MB 0: is not enforced").await;
        container.end().await;
        return;
    }
    let bundle = limits(4_194_304);
    let path = path_of(&bundle);
    let container = Container::sleeping(bundle).await;
    let dirs = hierarchies().into_iter().map(|it| it.join(path.trim_start_matches('/')));
    let files = dirs.flat_map(|dir| [dir.join("hugetlb.2MB.max"), dir.join("hugetlb.2MB.limit_in_bytes")]);
    let limits: BTreeSet<_> = files.filter(|file| file.exists()).map(read).collect();
    assert_eq!(limits, BTreeSet::from(["4194304".to_owned()]));
    container.end().await;
}

#[tokio::test]
async fn the_limit_of_processes_holds_for_execs() {
    let container = Container::sleeping(Bundle::new().set("/linux/resources/pids", json!({ "limit": 4 }))).await;
    assert_eq!(container.sh("echo one").await.ok(), "one");
    // What it leaves behind counts until the container ends: its init reaps nobody.
    let output = container.sh("sleep 1 & sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait").await;
    assert!(output.failed().contains("can't fork"), "{output:?}");
    container.end().await;
}

#[tokio::test]
async fn device_rules_decide_what_opens() {
    let kmsg = |rules: serde_json::Value| {
        let device = json!({ "path": "/dev/k", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
        Bundle::new()
            .push("/linux/devices", device)
            .set("/linux/resources/devices", rules)
            .sh("echo x > /dev/k; cat /dev/null")
    };
    let deny = json!({ "allow": false, "access": "rwm" });
    let denied = kmsg(json!([deny])).run().await;
    assert!(denied.stderr.contains("Operation not permitted"), "{denied:?}");
    let allowed =
        kmsg(json!([deny, { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" }])).run().await;
    assert!(!allowed.stderr.contains("Operation not permitted"), "{allowed:?}");
    assert_eq!(denied.status, 0, "/dev/null opens under both");
}

#[tokio::test]
async fn a_container_without_a_path_has_one_of_its_own() {
    let bundle = Bundle::new().remove("/linux/cgroupsPath");
    let path = format!("/eci/{}/{}", tests::shim::NAMESPACE, bundle.id);
    let container = Container::sleeping(bundle).await;
    let dir = group("pids", &path);
    assert!(read(dir.join("cgroup.procs")).lines().any(|pid| pid == container.pid.to_string()));
    container.end().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_path_that_is_not_the_containers_own_is_refused() {
    let refused = |path: &str| Bundle::new().set("/linux/cgroupsPath", json!(path)).refused();
    for (path, reason) in [
        ("/a/../b", "has a .. component"),
        ("../b", "has a .. component"),
        // The near miss is on hosts whose process 1 is systemd (tests/engines, tests/vm).
        ("system.slice:eci:x", "needs systemd, and this host does not run it (there is no socket of systemd or of the"),
        ("a--b.slice:eci:x", "\"a--b.slice\" is not the name of a slice"),
        ("/", "is a group of the host's own"),
    ] {
        let message = refused(path).await;
        assert!(message.contains("linux.cgroupsPath: ") && message.contains(reason), "{message}");
    }
    let container = Container::sleeping(Bundle::new()).await;
    let message = refused(&path_of(&container.bundle)).await;
    assert!(message.contains("linux.cgroupsPath: the container's cgroup is not empty"), "{message}");
    assert_eq!(container.sh("echo lives").await.ok(), "lives");
    container.end().await;
}

#[tokio::test]
async fn a_limit_that_the_kernel_does_not_take_is_refused_by_name() {
    for (pointer, value, message) in [
        ("cpu/cpus", json!("4000"), "linux.resources.cpu.cpus"),
        ("cpu/shares", json!(1), "linux.resources.cpu.shares: 1 is not from 2 to 262144"),
        ("memory/limit", json!(-2), "linux.resources.memory.limit: -2"),
        ("memory/swap", json!(5), "linux.resources.memory.swap: needs a memory limit"),
        ("cpu/mems", json!("63"), "linux.resources.cpu.mems: 63: is not among what the group above has, 0"),
        ("pids/limit", json!(-2), "linux.resources.pids.limit: -2"),
        ("blockIO/weight", json!(1001), "linux.resources.blockIO.weight: 1001 is not from 10 to 1000"),
        (
            "blockIO/throttleReadBpsDevice",
            json!([{ "major": 250, "minor": 77, "rate": 1 }]),
            "linux.resources.blockIO.throttleReadBpsDevice[0]: 250:77 1: no such device",
        ),
        (
            "hugepageLimits",
            json!([{ "pageSize": "3MB", "limit": 4096 }]),
            "linux.resources.hugepageLimits[0]: 3MB 4096: the hugetlb controller",
        ),
        ("network/classID", json!(5), "linux.resources.network.classID: 5: "),
        (
            "network/priorities",
            json!([{ "name": "lo", "priority": 1 }]),
            "linux.resources.network.priorities[0]: lo 1: ",
        ),
        ("rdma", json!({ "none0": { "hcaHandles": 1 } }), "linux.resources.rdma[\"none0\"]: hca_handle=1: "),
        ("unified", json!({ "dmem.max": "1" }), "linux.resources.unified[\"dmem.max\"]: 1: "),
        ("unified", json!({ "cgroup.procs": "1" }), "linux.resources.unified[\"cgroup.procs\"]: controls the group"),
        ("unified", json!({ "../x/memory.max": "1" }), "linux.resources.unified[\"../x/memory.max\"]: is not the name"),
    ] {
        let bundle = Bundle::new().set(&format!("/linux/resources/{pointer}"), value);
        let path = path_of(&bundle);
        let refusal = bundle.refused().await;
        assert!(refusal.contains(message), "{refusal}");
        assert!(!group("cpu", &path).exists());
    }
}
