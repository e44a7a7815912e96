use policy::plan::{BlockIo, DeviceKind, DeviceRule};

use super::*;

/// `name=value` of each.
fn told(properties: &[Property]) -> Vec<String> {
    let value = |value: &Value<'_>| match value {
        Value::U64(u64::MAX) => "infinity".to_owned(),
        Value::U64(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Str(text) => text.to_string(),
        Value::Array(list) => format!("{:?}", list.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    };
    properties.iter().map(|it| format!("{}={}", it.0, value(&it.1))).collect()
}

const NEW: u32 = 257;

fn resources() -> Resources {
    Resources {
        memory_limit: Some(100),
        memory_swap: Some(150),
        memory_reservation: Some(50),
        cpu_shares: Some(1024),
        cpu_quota: Some(50_000),
        pids_limit: Some(7),
        block_io: BlockIo { weight: Some(10), ..BlockIo::default() },
        ..Resources::default()
    }
}

#[test]
fn the_limits_of_both_versions() {
    let v2 = told(&limits(&resources(), true, NEW)).join(" ");
    let expected =
        "MemoryMax=100 MemoryLow=50 MemorySwapMax=50 CPUWeight=100 IOWeight=1 CPUQuotaPerSecUSec=500000 TasksMax=7";
    assert_eq!(v2, expected);
    let v1 = told(&limits(&resources(), false, NEW)).join(" ");
    assert_eq!(v1, "MemoryLimit=100 CPUShares=1024 BlockIOWeight=10 CPUQuotaPerSecUSec=500000 TasksMax=7");
    for unified in [true, false] {
        assert!(limits(&Resources::default(), unified, NEW).is_empty());
    }
}

#[test]
fn no_limit_is_infinity_and_zero_is_not_set() {
    let open = Resources {
        memory_limit: Some(-1),
        memory_swap: Some(-1),
        memory_reservation: Some(-1),
        cpu_quota: Some(-1),
        pids_limit: Some(-1),
        ..Resources::default()
    };
    let v2 = told(&limits(&open, true, NEW)).join(" ");
    assert_eq!(
        v2,
        "MemoryMax=infinity MemoryLow=0 MemorySwapMax=infinity CPUQuotaPerSecUSec=infinity TasksMax=infinity"
    );
    let zero = Resources {
        memory_limit: Some(0),
        cpu_shares: Some(0),
        cpu_quota: Some(0),
        cpu_period: Some(0),
        pids_limit: Some(0),
        ..Resources::default()
    };
    assert_eq!(told(&limits(&zero, true, NEW)), ["TasksMax=1"]);
}

#[test]
fn a_quota_is_the_next_whole_percent_of_a_second() {
    for (quota, period, expected) in [
        (50_000, None, "500000"),
        (150_000, Some(100_000), "1500000"),
        (1001, Some(100_000), "20000"),
        (1000, Some(1_000_000), "10000"),
        (i64::MAX, Some(1), "infinity"),
    ] {
        let properties = told(&quota_of(Some(quota), period, NEW));
        assert_eq!(properties[0], format!("CPUQuotaPerSecUSec={expected}"));
        assert_eq!(properties.get(1).cloned(), period.map(|it| format!("CPUQuotaPeriodUSec={it}")));
    }
    assert_eq!(told(&quota_of(None, Some(5000), 241)), [""; 0]);
}

#[test]
fn sets_are_masks_where_systemd_has_them() {
    let set = Resources { cpuset_cpus: Some("0-1,9".into()), cpuset_mems: Some("0".into()), ..Resources::default() };
    let expected = [r#"AllowedCPUs=["U8(3)", "U8(2)"]"#, r#"AllowedMemoryNodes=["U8(1)"]"#];
    assert_eq!(told(&limits(&set, true, NEW)), expected);
    assert!(limits(&set, true, 243).is_empty() && limits(&set, false, NEW).is_empty());
}

#[test]
fn an_idle_group_has_no_weight_where_systemd_can_say_so() {
    let idle = Resources { cpu_idle: Some(1), cpu_shares: Some(1024), ..Resources::default() };
    assert_eq!(told(&limits(&idle, true, 252)), ["CPUWeight=0"]);
    assert!(limits(&idle, true, 251).is_empty());
}

#[test]
fn files_of_v2_that_systemd_knows_are_properties_too() {
    let file = |file: &str, value: &str| told(&of_file(file, value, NEW));
    assert_eq!(file("memory.high", "5"), ["MemoryHigh=5"]);
    assert_eq!(file("memory.max", "max"), ["MemoryMax=infinity"]);
    assert_eq!(file("pids.max", "9"), ["TasksMax=9"]);
    assert_eq!(file("cpu.max", "50000 100000"), ["CPUQuotaPerSecUSec=500000", "CPUQuotaPeriodUSec=100000"]);
    assert_eq!(file("cpu.max", "max"), ["CPUQuotaPerSecUSec=infinity"]);
    assert_eq!(file("cpuset.cpus", "1"), [r#"AllowedCPUs=["U8(2)"]"#]);
    for (unknown, value) in [("memory.oom.group", "1"), ("hugetlb.2MB.max", "0"), ("memory.max", "x")] {
        assert!(file(unknown, value).is_empty(), "{unknown}");
    }
}

#[test]
fn a_scope_is_delegated_and_accounted() {
    for (unified, io) in [(true, "IOAccounting=true"), (false, "BlockIOAccounting=true")] {
        let properties = told(&of_scope("a.slice", "b-c.scope", 7, unified));
        for expected in [
            "Description=eci container b-c.scope",
            "Slice=a.slice",
            "Delegate=true",
            "DefaultDependencies=false",
            "CollectMode=inactive-or-failed",
            "MemoryAccounting=true",
            "CPUAccounting=true",
            "TasksAccounting=true",
            r#"PIDs=["U32(7)"]"#,
            io,
        ] {
            assert!(properties.iter().any(|it| it == expected), "{expected}: {properties:?}");
        }
    }
}

fn rule(allow: bool, kind: Option<DeviceKind>, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, read: true, write: true, mknod: true }
}

#[test]
fn device_rules_of_v1_are_a_list_of_what_is_allowed() {
    let deny = rule(false, None, None, None);
    let disk = rule(true, Some(DeviceKind::Block), Some(8), Some(1));
    let properties = devices(&devices::rules(&[deny, disk]).unwrap()).unwrap();
    let text = told(&properties);
    assert_eq!(text[0], "DevicePolicy=strict");
    for device in ["/dev/block/8:1", "/dev/char/1:3", "char-*"] {
        assert!(text[1].contains(&format!("Str(Str(Static({device:?})))")) || text[1].contains(device), "{text:?}");
    }
    let everything = devices::rules(&[rule(true, None, None, None)]).unwrap();
    assert_eq!(told(&devices(&everything).unwrap()), ["DevicePolicy=auto"]);
    let all_but = [rule(true, None, None, None), rule(false, Some(DeviceKind::Block), Some(8), Some(1))];
    let refusal = devices(&devices::rules(&all_but).unwrap()).unwrap_err().to_string();
    let expected =
        "linux.resources.devices[1]: b 8:1 rw: is denied among what is allowed, which systemd cannot keep on cgroup v1";
    assert_eq!(refusal, expected);
}
