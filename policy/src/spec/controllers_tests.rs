use oci_spec::runtime::LinuxResources;

use super::super::resources::resources;
use crate::plan::{BlockDevice, BlockIo, HugepageLimit, RdmaLimit, Resources};

fn plan(json: &str) -> Result<Resources, String> {
    let spec: LinuxResources = serde_json::from_str(json).expect("resources");
    resources(&spec).map_err(|refusal| refusal.to_string())
}

#[test]
fn every_controller_is_carried() {
    let all = r#"{
        "blockIO": {
            "weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}, {"major": 8, "minor": 1, "weight": 0}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}, {"pageSize": "1GB", "limit": 0}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
        "rdma": {"mlx4_1": {"hcaHandles": 2}, "mlx4_0": {"hcaHandles": 0, "hcaObjects": 3}},
        "unified": {"memory.high": "1000", "cgroup.max.depth": "3"}
    }"#;
    let disk = BlockDevice { major: 8, minor: 0 };
    let pages = |size: &str, limit| HugepageLimit { page_size: size.into(), limit };
    let rdma = |name: &str, hca_handles, hca_objects| RdmaLimit { device: name.into(), hca_handles, hca_objects };
    let expected = Resources {
        block_io: BlockIo {
            weight: Some(500),
            weight_device: vec![(disk, 10)],
            throttle_read_bps_device: vec![(disk, 1)],
            throttle_write_bps_device: vec![(disk, 2)],
            throttle_read_iops_device: vec![(disk, 3)],
            throttle_write_iops_device: vec![(disk, 0)],
        },
        hugepage_limits: vec![pages("2MB", 4_194_304), pages("1GB", 0)],
        network_class_id: Some(0x10_0001),
        network_priorities: vec![("eth0".into(), 5)],
        rdma: vec![rdma("mlx4_0", Some(0), Some(3)), rdma("mlx4_1", Some(2), None)],
        unified: vec![("cgroup.max.depth".into(), "3".into()), ("memory.high".into(), "1000".into())],
        ..Resources::default()
    };
    assert_eq!(plan(all), Ok(expected));
    let nothing = r#"{
        "blockIO": {"weight": 0, "weightDevice": [], "throttleReadBpsDevice": []},
        "hugepageLimits": [], "network": {"classID": 0, "priorities": []}, "rdma": {}, "unified": {}
    }"#;
    assert_eq!(plan(nothing), Ok(Resources::default()));
}

#[test]
fn what_no_controller_takes_is_refused_by_name() {
    let throttle = |name: &str| format!(r#"{{"blockIO": {{"{name}": [{{"major": -1, "minor": 0, "rate": 1}}]}}}}"#);
    for (json, message) in [
        (r#"{"blockIO": {"weight": 9}}"#.to_owned(), "blockIO.weight: 9 is not from 10 to 1000"),
        (r#"{"blockIO": {"weight": 1001}}"#.into(), "blockIO.weight: 1001 is not from 10 to 1000"),
        (
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]}}"#.into(),
            "blockIO.weightDevice[0].weight: 1001 is not from 10 to 1000",
        ),
        (throttle("throttleReadBpsDevice"), "blockIO.throttleReadBpsDevice[0].major: -1 is not a device number"),
        (throttle("throttleWriteIOPSDevice"), "blockIO.throttleWriteIOPSDevice[0].major: -1 is not a device number"),
        (
            r#"{"hugepageLimits": [{"pageSize": "../2MB", "limit": 0}]}"#.into(),
            "hugepageLimits[0].pageSize: \"../2MB\" is not a size like 64KB, 2MB or 1GB",
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 2}]}"#.into(),
            "hugepageLimits[1].pageSize: \"2MB\" is there twice",
        ),
        (
            r#"{"network": {"priorities": [{"name": "eth0 9\n", "priority": 1}]}}"#.into(),
            "network.priorities[0].name: \"eth0 9\\n\" is not the name of an interface",
        ),
        (r#"{"rdma": {"a b": {"hcaHandles": 1}}}"#.into(), "rdma[\"a b\"]: is not the name of a device"),
        (r#"{"rdma": {"mlx4_0": {}}}"#.into(), "rdma[\"mlx4_0\"]: has no limit"),
    ] {
        assert_eq!(plan(&json), Err(format!("linux.resources.{message}")));
    }
    for size in ["", "MB", "0MB", "2mb", "2 MB", "2MiB", "2", "-2MB", "2MB.max", "1234567KB"] {
        assert!(!super::is_page_size(size), "{size}");
    }
}

#[test]
fn files_of_v2_are_a_controllers_limits_and_nothing_else() {
    let file = |name: &str, value: &str| {
        let name = serde_json::to_string(name).expect("JSON");
        plan(&format!(r#"{{"unified": {{{name}: {}}}}}"#, serde_json::to_string(value).expect("JSON")))
    };
    for name in ["memory.high", "io.max", "hugetlb.2MB.max", "cgroup.max.descendants", "cpuset.cpus.partition"] {
        assert!(file(name, "1\n2").is_ok(), "{name}");
    }
    for name in ["", "memory", "../memory.max", "memory/x.max", ".max", "memory.max\n", "memory.\0", "a/../memory.max"]
    {
        let refusal = file(name, "1").expect_err(name);
        assert!(refusal.ends_with("is not the name of a controller's file"), "{refusal}");
    }
    for name in ["procs", "threads", "subtree_control", "type", "freeze", "kill", "events", "pressure"] {
        let refusal = file(&format!("cgroup.{name}"), "1").expect_err(name);
        let expected = "controls the group itself, which is the runtime's";
        assert_eq!(refusal, format!("linux.resources.unified[\"cgroup.{name}\"]: {expected}"));
    }
    assert_eq!(file("memory.max", " "), Err("linux.resources.unified[\"memory.max\"]: is empty".into()));
    assert!(file("memory.max", "1\0").is_err_and(|refusal| refusal.ends_with("has a NUL byte")));
    assert!(file("memory.max", &"9".repeat(5000)).is_err_and(|refusal| refusal.contains("longer than 4095")));
}
