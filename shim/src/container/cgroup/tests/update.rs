//! Delegation, the controllers with a limit for each device or size, and updates, on real groups.

use std::os::unix::fs::MetadataExt as _;

use policy::idmap::IdMap;
use policy::plan::{BlockDevice, BlockIo, HugepageLimit};

use super::*;

/// Each file of a group that somebody else than root owns.
fn given(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a group").map(|entry| entry.expect("an entry"));
    let theirs = entries.filter(|entry| entry.metadata().expect("metadata").uid() == 100_000);
    let mut names: Vec<_> = theirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_containers_root_has_the_group_and_not_its_limits() {
    let map = IdMap { host: 100_000, size: 65536 };
    if let Some(layout) = host() {
        let group = create(&layout, &name(), Resources { pids_limit: Some(20), ..Resources::default() });
        group.0.delegate(map).expect("given");
        for Group { hierarchy, dir } in &group.0.groups {
            assert_eq!(dir.metadata().expect("metadata").uid(), 100_000);
            let theirs = given(dir);
            if hierarchy.is_v2() {
                let limits = theirs.iter().filter(|name| name.ends_with(".max") || name.ends_with(".freeze")).count();
                assert!(theirs.contains(&"cgroup.subtree_control".to_owned()) && limits == 0, "{theirs:?}");
            } else {
                assert_eq!(theirs, ["cgroup.clone_children", "cgroup.procs", "notify_on_release", "tasks"]);
            }
            if hierarchy.has_v1("cpuset") {
                std::fs::create_dir_all(dir.join("a/b")).expect("groups below");
                let cpus = |dir: &Path| std::fs::read_to_string(dir.join("cpuset.cpus")).expect("cpuset.cpus");
                assert_eq!(cpus(&dir.join("a/b")), cpus(dir));
            }
            assert_eq!(dir.join(LEAF).exists(), layout.is_unified());
        }
    }
    if let Some(host) = unified() {
        let group = create(&host.layout, &name(), Resources::default());
        group.0.delegate(map).expect("given");
        let leaf = group.0.groups[0].dir.join(LEAF);
        let entry = group.0.entry().expect("an entry");
        assert!(entry.own.is_some() && entry.directory.is_some());
        assert_eq!(leaf.metadata().expect("metadata").uid(), 100_000);
        assert!(given(&leaf).contains(&"cgroup.procs".to_owned()));
        // The container has taken the leaf away.
        std::fs::remove_dir(&leaf).expect("removed");
        assert!(group.0.entry_beside(1).expect("an entry").own.is_none());
        let full = Resources { unified: vec![("cgroup.max.descendants".into(), "0".into())], ..Resources::default() };
        let group = create(&host.layout, &name(), full);
        let refused = group.0.delegate(map).expect_err("a refusal").to_string();
        assert_eq!(refused, "linux.resources.unified: leaves no room for a group below the container's own");
    }
}

/// A disk of this machine that takes limits.
fn disk() -> Option<BlockDevice> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let number = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path().join("dev")).ok().filter(|_| name.starts_with("vd"))?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(BlockDevice { major: major.parse().ok()?, minor: minor.parse().ok()? })
    };
    disks.filter_map(number).next()
}

#[test]
fn block_devices_and_huge_pages_have_their_limits() {
    let Some(layout) = host() else { return };
    if let Some(device) = disk().filter(|_| layout.hierarchies.iter().any(|it| it.has_v1("blkio"))) {
        let block_io = BlockIo { throttle_read_bps_device: vec![(device, 1_048_576)], ..BlockIo::default() };
        let group = create(&layout, &name(), Resources { block_io, ..Resources::default() });
        let dir = dir_of(&group.0, "blkio").expect("the group");
        assert_eq!(text(&dir, "blkio.throttle.read_bps_device"), format!("{device} 1048576"));
        let nobody = BlockDevice { major: 250, minor: 77 };
        let block_io = BlockIo { throttle_write_iops_device: vec![(nobody, 5)], ..BlockIo::default() };
        let line = refusal(&layout, &name(), Resources { block_io, ..Resources::default() });
        assert_eq!(line, "linux.resources.blockIO.throttleWriteIOPSDevice[0]: 250:77 5: no such device");
    }
    let unified = layout.hierarchies.iter().find(|it| it.is_v2());
    let has_pages = |it: &Hierarchy| text(&it.mount_point, "cgroup.controllers").contains("hugetlb");
    if unified.is_some_and(has_pages) {
        let pages = |size: &str| {
            let hugepage_limits = vec![HugepageLimit { page_size: size.into(), limit: 4 << 20 }];
            Resources { hugepage_limits, ..Resources::default() }
        };
        let group = create(&layout, &name(), pages("2MB"));
        let dir = &group.0.groups.iter().find(|it| it.hierarchy.is_v2()).expect("v2").dir;
        assert_eq!(
            (text(dir, "hugetlb.2MB.max"), text(dir, "hugetlb.2MB.rsvd.max")),
            ("4194304".into(), "4194304".into())
        );
        let line = refusal(&layout, &name(), pages("3MB"));
        let missing = "the hugetlb controller of this kernel has no hugetlb.3MB.max";
        assert_eq!(line, format!("linux.resources.hugepageLimits[0]: 3MB 4194304: {missing}"));
    }
    if !layout.hierarchies.iter().any(|it| it.has_v1("net_cls")) {
        let line = refusal(&layout, &name(), Resources { network_class_id: Some(1), ..Resources::default() });
        assert!(line.starts_with("linux.resources.network.classID: 1: "), "{line}");
    }
}

/// A group of v1 as plain files, for controllers that this machine has not mounted.
#[test]
fn the_class_and_the_priorities_of_packets_are_v1s_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let group = |controller: &str, file: &str| {
        let hierarchy = Hierarchy {
            kind: Kind::V1(vec![controller.into()]),
            mount_point: dir.path().into(),
            own: dir.path().into(),
        };
        let dir = dir.path().join(controller);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join(file), "").expect("a file");
        Group { hierarchy, dir }
    };
    let groups = vec![group("net_cls", "net_cls.classid"), group("net_prio", "net_prio.ifpriomap")];
    let cgroup = Cgroup { groups, in_user_namespace: false, unit: None };
    let resources = Resources {
        network_class_id: Some(0x10_0001),
        network_priorities: vec![("eth0".into(), 5)],
        ..Resources::default()
    };
    cgroup.apply(&resources, None).expect("limits");
    assert_eq!(text(&dir.path().join("net_cls"), "net_cls.classid"), "1048577");
    assert_eq!(text(&dir.path().join("net_prio"), "net_prio.ifpriomap"), "eth0 5");
}

fn memory_of(layout: &Layout) -> bool {
    layout.hierarchies.iter().any(|it| it.has_v1("memory")) && layout.hierarchies.iter().any(|it| it.has_v1("pids"))
}

#[test]
fn an_update_changes_what_is_given_in_whatever_order_the_kernel_needs() {
    let Some(layout) = v1_only().filter(memory_of) else { return };
    let megabytes = |limit: i64, swap: i64| Resources {
        memory_limit: Some(limit << 20),
        memory_swap: Some(swap << 20),
        ..Resources::default()
    };
    let group =
        create(&layout, &name(), Resources { pids_limit: Some(20), cpu_quota: Some(50_000), ..megabytes(64, 96) });
    let (memory, pids) = (dir_of(&group.0, "memory").expect("memory"), dir_of(&group.0, "pids").expect("pids"));
    let both = || (text(&memory, "memory.limit_in_bytes"), text(&memory, "memory.memsw.limit_in_bytes"));
    let bytes = |limit: i64, swap: i64| ((limit << 20).to_string(), (swap << 20).to_string());
    // Up, beyond the former limit of both, and down below the former limit of memory.
    for (limit, swap) in [(128, 256), (16, 32), (200, 200), (32, 64)] {
        group.0.update(&megabytes(limit, swap)).expect("an update");
        assert_eq!(both(), bytes(limit, swap));
    }
    group.0.update(&Resources { memory_swap: Some(48 << 20), ..Resources::default() }).expect("swap alone");
    assert_eq!(both(), bytes(32, 48));
    group.0.update(&Resources { memory_limit: Some(-1), ..Resources::default() }).expect("no limit, nor of swap");
    let open = text(&memory, "memory.limit_in_bytes").parse::<i64>().expect("a number");
    assert!(open > 1 << 60 && both().1 == open.to_string());
    let line = group.0.update(&Resources { memory_swap: Some(1), ..Resources::default() }).expect_err("a refusal");
    assert!(line.to_string().contains("linux.resources.memory.swap: 1: limits memory and swap together"), "{line}");
    assert_eq!(text(&pids, "pids.max"), "20");
    if let Some(cpu) = dir_of(&group.0, "cpu") {
        // 50 ms in 40: the kernel needs no order, but the parent's share might.
        group.0.update(&Resources { cpu_period: Some(40_000), ..Resources::default() }).expect("a period");
        assert_eq!((text(&cpu, "cpu.cfs_quota_us"), text(&cpu, "cpu.cfs_period_us")), ("50000".into(), "40000".into()));
    }
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let Some(layout) = v1_only().filter(memory_of) else { return };
    let before = Resources {
        memory_limit: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        pids_limit: Some(20),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".into()),
        ..Resources::default()
    };
    let group = create(&layout, &name(), before);
    let files: &[(&str, &str)] = &[
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("memory", "memory.soft_limit_in_bytes"),
        ("memory", "memory.oom_control"),
        ("cpu", "cpu.shares"),
        ("cpuset", "cpuset.cpus"),
        ("pids", "pids.max"),
    ];
    let all = || -> Vec<String> {
        files.iter().filter_map(|(controller, file)| Some(text(&dir_of(&group.0, controller)?, file))).collect()
    };
    let was = all();
    let change = || Resources {
        memory_limit: Some(32 << 20),
        memory_swap: Some(40 << 20),
        memory_reservation: Some(16 << 20),
        disable_oom_killer: Some(true),
        cpu_shares: Some(100),
        pids_limit: Some(7),
        ..Resources::default()
    };
    let nobody = BlockDevice { major: 250, minor: 77 };
    let block_io = BlockIo { throttle_read_bps_device: vec![(nobody, 5)], ..BlockIo::default() };
    for (wanted, field) in [
        (Resources { cpuset_cpus: Some("4095".into()), ..change() }, "linux.resources.cpu.cpus: 4095: is not among"),
        (Resources { block_io, ..change() }, "linux.resources.blockIO.throttleReadBpsDevice[0]: 250:77 5: no such"),
        (
            Resources { unified: vec![("memory.high".into(), "1".into())], ..change() },
            "linux.resources.unified[\"memory.high\"]: 1: is a file of cgroup v2",
        ),
    ] {
        let line = group.0.update(&wanted).expect_err("a refusal").to_string();
        assert!(line.starts_with(field), "{line}");
        assert_eq!(all(), was, "{field}");
    }
    group.0.update(&change()).expect("the near miss");
    assert_ne!(all(), was);
}

#[test]
fn a_limit_below_use_is_refused_with_what_is_used() {
    let Some(layout) = v1_only().filter(memory_of) else { return };
    let group = create(&layout, &name(), Resources { memory_limit: Some(128 << 20), ..Resources::default() });
    let mut child = run_in(&group.0, "x=$(head -c 24000000 /dev/zero | tr '\\0' x); echo in; sleep 1000; echo $x");
    assert_eq!(first_line(&mut child), "in");
    let smaller = Resources { memory_limit: Some(4 << 20), memory_swap: Some(4 << 20), ..Resources::default() };
    let line = group.0.update(&smaller).expect_err("a refusal").to_string();
    assert!(line.starts_with("linux.resources.memory.limit: 4194304: is below what the container uses, "), "{line}");
    let memory = dir_of(&group.0, "memory").expect("memory");
    assert_eq!(text(&memory, "memory.limit_in_bytes"), (128 << 20).to_string());
    assert!(child.try_wait().expect("a status").is_none(), "nobody was killed for it");
    group.0.kill_all().expect("a kill");
    child.wait().expect("a status");
}
