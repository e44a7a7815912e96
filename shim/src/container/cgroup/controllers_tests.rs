use policy::plan::{BlockIo, HugepageLimit, RdmaLimit};

use super::*;

/// `file=content` of each setting, with `?` where it is optional and `|` before what does the same.
fn written(settings: Settings) -> Vec<String> {
    let one = |it: &Setting| {
        let optional = if it.optional { "?" } else { "" };
        let instead = it.instead.as_ref().map_or(String::new(), |(file, content)| format!("|{file}={content}"));
        format!("{optional}{}={}{instead}", it.file, it.content)
    };
    settings.expect("settings").iter().map(one).collect()
}

const DISK: BlockDevice = BlockDevice { major: 8, minor: 16 };

#[test]
fn block_devices_in_both_versions() {
    let block_io = BlockIo {
        weight: Some(500),
        weight_device: vec![(DISK, 10)],
        throttle_read_bps_device: vec![(DISK, 1)],
        throttle_write_bps_device: vec![(DISK, 2)],
        throttle_read_iops_device: vec![(DISK, 3)],
        throttle_write_iops_device: vec![(DISK, 0)],
    };
    let resources = Resources { block_io, ..Resources::default() };
    let v1 = [
        "blkio.bfq.weight=500|blkio.weight=500",
        "blkio.bfq.weight_device=8:16 10|blkio.weight_device=8:16 10",
        "blkio.throttle.read_bps_device=8:16 1",
        "blkio.throttle.write_bps_device=8:16 2",
        "blkio.throttle.read_iops_device=8:16 3",
        "?blkio.throttle.write_iops_device=8:16 0",
    ];
    assert_eq!(written(io(&resources, Version::V1)), v1);
    let v2 = [
        "io.bfq.weight=500|io.weight=4950",
        "io.bfq.weight=8:16 10|io.weight=8:16 1",
        "io.max=8:16 rbps=1",
        "io.max=8:16 wbps=2",
        "io.max=8:16 riops=3",
        "?io.max=8:16 wiops=max",
    ];
    assert_eq!(written(io(&resources, Version::V2)), v2);
    assert_eq!((io_weight(10), io_weight(100), io_weight(1000)), (1, 910, 10_000));
    let fields: Vec<_> = io(&resources, Version::V2).expect("settings").into_iter().map(|it| it.field).collect();
    assert_eq!(fields[1], "linux.resources.blockIO.weightDevice[0]");
    assert_eq!(fields[5], "linux.resources.blockIO.throttleWriteIOPSDevice[0]");
}

#[test]
fn pages_and_adapters_in_both_versions() {
    let pages = |size: &str, limit| HugepageLimit { page_size: size.into(), limit };
    let resources = Resources {
        hugepage_limits: vec![pages("2MB", 0), pages("1GB", 1 << 30)],
        rdma: vec![
            RdmaLimit { device: "mlx4_0".into(), hca_handles: Some(2), hca_objects: None },
            RdmaLimit { device: "mlx4_1".into(), hca_handles: Some(0), hca_objects: Some(3) },
        ],
        ..Resources::default()
    };
    let v1 = written(hugetlb(&resources, Version::V1));
    assert_eq!(v1[..2], ["hugetlb.2MB.limit_in_bytes=0", "?hugetlb.2MB.rsvd.limit_in_bytes=0"]);
    let v2 = written(hugetlb(&resources, Version::V2));
    assert_eq!(v2[2..], ["hugetlb.1GB.max=1073741824", "?hugetlb.1GB.rsvd.max=1073741824"]);
    let adapters = ["rdma.max=mlx4_0 hca_handle=2", "rdma.max=mlx4_1 hca_handle=0 hca_object=3"];
    for version in [Version::V1, Version::V2] {
        assert_eq!(written(rdma(&resources, version)), adapters);
    }
}

#[test]
fn packets_are_v1s() {
    let resources = Resources {
        network_class_id: Some(0x10_0001),
        network_priorities: vec![("eth0".into(), 5), ("lo".into(), 1)],
        ..Resources::default()
    };
    assert_eq!(written(net_cls(&resources, Version::V1)), ["net_cls.classid=1048577"]);
    assert_eq!(written(net_prio(&resources, Version::V1)), ["net_prio.ifpriomap=eth0 5", "net_prio.ifpriomap=lo 1"]);
    let reason = "only cgroup v1 has this control, and here it is cgroup v2";
    let line = |settings: Settings| settings.expect_err("a refusal").to_string();
    assert_eq!(line(net_cls(&resources, Version::V2)), format!("linux.resources.network.classID: 1048577: {reason}"));
    assert_eq!(
        line(net_prio(&resources, Version::V2)),
        format!("linux.resources.network.priorities[0]: eth0 5: {reason}")
    );
    for settings in [net_cls, net_prio, io, hugetlb, rdma] {
        assert_eq!(written(settings(&Resources::default(), Version::V2)), [""; 0]);
    }
}

#[test]
fn files_of_v2_are_written_by_line_and_not_to_v1() {
    let (controller, settings) = unified("io.max", "8:0 rbps=1\n\n 8:16 wbps=2\n", |_| Version::V2).expect("settings");
    assert_eq!(controller, "io");
    assert_eq!(written(Ok(settings)), ["io.max=8:0 rbps=1", "io.max=8:16 wbps=2"]);
    let refusal = unified("memory.high", "1\n2", |_| Version::V1).expect_err("a refusal").to_string();
    let reason = "is a file of cgroup v2, and here its controller is cgroup v1's";
    assert_eq!(refusal, format!("linux.resources.unified[\"memory.high\"]: 1 2: {reason}"));
}
