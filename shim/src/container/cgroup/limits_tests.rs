use proptest::prelude::*;

use super::*;

/// `file=content` of each setting, with `?` where it is optional.
fn written(settings: Settings) -> String {
    let one = |it: &Setting| format!("{}{}={}", if it.optional { "?" } else { "" }, it.file, it.content);
    settings.expect("settings").iter().map(one).collect::<Vec<_>>().join(" ")
}

fn line(settings: Settings) -> String {
    settings.expect_err("a refusal").to_string()
}

#[test]
fn memory_and_swap_in_both_versions() {
    let memory_of = |limit, swap, version| {
        memory(&Resources { memory_limit: limit, memory_swap: swap, ..Resources::default() }, version)
    };
    let v1 = |limit, swap| written(memory_of(limit, swap, Version::V1));
    let v2 = |limit, swap| written(memory_of(limit, swap, Version::V2));
    assert_eq!(v1(Some(100), Some(150)), "memory.limit_in_bytes=100 memory.memsw.limit_in_bytes=150");
    assert_eq!(v2(Some(100), Some(150)), "memory.max=100 memory.swap.max=50");
    assert_eq!(v1(Some(100), Some(100)), "memory.limit_in_bytes=100 ?memory.memsw.limit_in_bytes=100");
    assert_eq!(v2(Some(100), Some(100)), "memory.max=100 ?memory.swap.max=0");
    assert_eq!(v1(Some(100), Some(-1)), "memory.limit_in_bytes=100 ?memory.memsw.limit_in_bytes=-1");
    assert_eq!(v2(Some(-1), Some(-1)), "?memory.max=max ?memory.swap.max=max");
    assert_eq!(v1(Some(0), Some(0)) + &v2(None, None), "", "zero means not set");
    for version in [Version::V1, Version::V2] {
        let refusal = |limit, swap| line(memory_of(limit, swap, version));
        let needs = "linux.resources.memory.swap: 5: limits memory and swap together and needs a memory.limit";
        assert_eq!(refusal(None, Some(5)), needs);
        assert_eq!(refusal(Some(-1), Some(5)), needs);
        let below = "linux.resources.memory.swap: 5: limits memory and swap together and is below memory.limit 6";
        assert_eq!(refusal(Some(6), Some(5)), below);
        assert_eq!(refusal(Some(-2), None), "linux.resources.memory.limit: -2: is negative; -1 means no limit");
    }
}

#[test]
fn the_rest_of_memory() {
    let reservation =
        |value, version| memory(&Resources { memory_reservation: Some(value), ..Resources::default() }, version);
    assert_eq!(written(reservation(7, Version::V1)), "memory.soft_limit_in_bytes=7");
    assert_eq!(written(reservation(7, Version::V2)), "memory.low=7");
    assert_eq!(written(reservation(-1, Version::V2)), "?memory.low=0");
    let swappiness =
        |value, version| memory(&Resources { memory_swappiness: Some(value), ..Resources::default() }, version);
    assert_eq!(written(swappiness(0, Version::V1)), "memory.swappiness=0");
    assert_eq!(line(swappiness(101, Version::V1)), "linux.resources.memory.swappiness: 101: is not between 0 and 100");
    assert!(line(swappiness(60, Version::V2)).starts_with("linux.resources.memory.swappiness: 60: only cgroup v1"));
    let oom = |value, version| memory(&Resources { disable_oom_killer: Some(value), ..Resources::default() }, version);
    assert_eq!(written(oom(true, Version::V1)), "memory.oom_control=1");
    assert!(line(oom(true, Version::V2)).starts_with("linux.resources.memory.disableOOMKiller: true: only cgroup v1"));
    assert_eq!(written(oom(false, Version::V2)), "");
}

#[test]
fn cpu_bandwidth_in_both_versions() {
    let cpu_of = |quota, period, version| {
        cpu(&Resources { cpu_quota: quota, cpu_period: period, ..Resources::default() }, version)
    };
    let v1 = |quota, period| written(cpu_of(quota, period, Version::V1));
    let v2 = |quota, period| written(cpu_of(quota, period, Version::V2));
    assert_eq!(v1(Some(50_000), Some(100_000)), "cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000");
    assert_eq!(v2(Some(50_000), Some(100_000)), "cpu.max=50000 100000");
    assert_eq!(v2(Some(50_000), None), "cpu.max=50000");
    assert_eq!(v2(None, Some(20_000)), "?cpu.max=max 20000");
    assert_eq!(v1(Some(-1), None), "?cpu.cfs_quota_us=-1");
    assert_eq!(v2(Some(-1), Some(20_000)), "?cpu.max=max 20000");
    assert_eq!(v1(Some(0), Some(0)) + &v2(None, None), "");
    assert!(line(cpu_of(Some(-2), None, Version::V2)).starts_with("linux.resources.cpu.quota: -2: "));
    let setting = cpu_of(Some(5), Some(7), Version::V2).expect("settings").remove(0);
    assert_eq!((&*setting.field, setting.value.as_str()), ("linux.resources.cpu.quota", "5 (period 7)"));
}

#[test]
fn the_rest_of_cpu() {
    let all = Resources {
        cpu_shares: Some(1024),
        cpu_burst: Some(1000),
        cpu_idle: Some(0),
        cpu_realtime_runtime: Some(5000),
        cpu_realtime_period: Some(10_000),
        ..Resources::default()
    };
    let expected = "cpu.shares=1024 cpu.cfs_burst_us=1000 ?cpu.idle=0 cpu.rt_period_us=10000 cpu.rt_runtime_us=5000";
    assert_eq!(written(cpu(&all, Version::V1)), expected);
    assert!(line(cpu(&all, Version::V2)).starts_with("linux.resources.cpu.realtimePeriod: 10000: only cgroup v1"));
    let runtime_only = Resources { cpu_realtime_period: None, ..all.clone() };
    assert!(line(cpu(&runtime_only, Version::V2)).starts_with("linux.resources.cpu.realtimeRuntime: 5000: only"));
    let normal = Resources { cpu_realtime_runtime: Some(0), ..runtime_only };
    assert_eq!(written(cpu(&normal, Version::V2)), "cpu.weight=100 cpu.max.burst=1000 ?cpu.idle=0");
    let idle = Resources { cpu_idle: Some(1), ..normal };
    assert_eq!(written(cpu(&idle, Version::V2)), "cpu.max.burst=1000 cpu.idle=1");
    let idle_of = |idle| cpu(&Resources { cpu_idle: Some(idle), ..Resources::default() }, Version::V2);
    assert_eq!(line(idle_of(2)), "linux.resources.cpu.idle: 2: is neither 0 nor 1");
}

#[test]
fn shares_have_their_range_and_the_weights_meet_at_ends_and_default() {
    assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 100, 10_000));
    let shares = |shares| cpu(&Resources { cpu_shares: Some(shares), ..Resources::default() }, Version::V2);
    assert_eq!(line(shares(1)), "linux.resources.cpu.shares: 1: is not between 2 and 262144");
    assert!(line(shares(262_145)).ends_with("is not between 2 and 262144"));
    assert_eq!(written(shares(262_144)), "cpu.weight=10000");
    assert_eq!(written(shares(0)), "");
}

#[test]
fn cpusets_and_pids() {
    let resources =
        Resources { cpuset_cpus: Some("0-1".into()), cpuset_mems: Some(String::new()), ..Resources::default() };
    assert_eq!(written(cpuset(&resources, Version::V1)), "cpuset.cpus=0-1");
    let limit = |limit| pids(&Resources { pids_limit: Some(limit), ..Resources::default() }, Version::V1);
    assert_eq!(written(limit(10)), "pids.max=10");
    assert_eq!(written(limit(-1)), "?pids.max=max");
    assert_eq!(written(limit(0)), "pids.max=1", "none besides the first");
    assert_eq!(line(limit(-3)), "linux.resources.pids.limit: -3: is negative; -1 means no limit");
}

proptest! {
    #[test]
    fn weights_rise_with_shares(shares in 2..262_144_u64) {
        prop_assert!(weight(shares) <= weight(shares + 1));
        prop_assert!((1..=10_000).contains(&weight(shares)));
    }

    #[test]
    fn no_value_breaks_an_invariant(limit: Option<i64>, swap: Option<i64>, quota: Option<i64>, period: Option<u64>) {
        let resources = Resources {
            memory_limit: limit, memory_swap: swap, cpu_quota: quota, cpu_period: period, ..Resources::default()
        };
        for version in [Version::V1, Version::V2] {
            for (_, settings) in CONTROLLERS {
                for setting in settings(&resources, version).unwrap_or_default() {
                    prop_assert!(setting.field.starts_with("linux.resources."));
                    let plain = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '-') || "max".contains(c);
                    prop_assert!(setting.content.chars().all(plain));
                }
            }
        }
    }
}
