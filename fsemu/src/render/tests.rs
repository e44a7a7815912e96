//! All files of a container whose groups are directories that a test has written.

use super::groups::tests::levels;
use crate::table::Kind;
use crate::{Emulation, Facts};

const STALL: &str = "some avg10=1.53 avg60=0.87 avg300=0.22 total=1193877\n";

/// A container with these groups, of which this process is the init.
fn container(cgroups: Vec<(Vec<String>, std::path::PathBuf)>) -> Emulation {
    let init = std::process::id().try_into().unwrap();
    let values = std::sync::Arc::new(std::fs::File::open("/").unwrap().into());
    Emulation::new(Facts { root: 0, id: "test".into(), init, cgroups, values })
}

fn text(container: &Emulation, path: &str) -> std::io::Result<String> {
    let node = crate::table::nodes().find(|node| node.path == path).unwrap();
    let Kind::Live(live) = node.kind else { panic!("{path} is made") };
    Ok(String::from_utf8((live.render)(container)?).unwrap())
}

/// What every file says of a container with the processor 0, 32 MiB and no swap.
fn tells_of_it(container: &Emulation) {
    let text = |path| text(container, path).unwrap();
    let meminfo = text("/proc/meminfo");
    assert!(meminfo.starts_with("MemTotal:          32768 kB\nMemFree:           30720 kB\n"), "{meminfo}");
    assert!(meminfo.contains("\nCached:             1024 kB\n"), "{meminfo}");
    assert!(meminfo.contains("\nSwapTotal:             0 kB\nSwapFree:              0 kB\n"), "{meminfo}");
    assert_eq!(text("/proc/swaps").lines().count(), 1);
    let cpuinfo = text("/proc/cpuinfo");
    assert_eq!(cpuinfo.lines().filter(|line| line.starts_with("processor\t")).count(), 1, "{cpuinfo}");
    let stat = text("/proc/stat");
    let lines: Vec<&str> = stat.lines().collect();
    assert!(lines[0].starts_with("cpu  200 0 100 ") && lines[1].starts_with("cpu0 200 0 100 "), "{stat}");
    assert!(lines[2].starts_with("intr "), "{stat}");
    let uptime = text("/proc/uptime");
    let numbers: Vec<f64> = uptime.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!((numbers[0] - numbers[1] - 3.0).abs() < 0.05, "one processor, 3 s used: {uptime}");
    let loadavg = text("/proc/loadavg");
    assert!(loadavg.contains("/1 "), "one task: {loadavg}");
    assert_eq!(loadavg.split_whitespace().count(), 5, "{loadavg}");
}

#[test]
fn a_container_on_the_unified_hierarchy() {
    let thread = format!("{}\n", std::process::id());
    let own = [
        ("memory.max", "67108864\n"),
        ("memory.current", "1048576\n"),
        ("memory.stat", "file 1048576\nanon 0\n"),
        ("memory.swap.max", "0\n"),
        ("memory.swap.current", "0\n"),
        ("cpuset.cpus.effective", "0\n"),
        ("cpu.max", "50000 100000\n"),
        ("cpu.stat", "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n"),
        ("cpu.pressure", STALL),
        ("cgroup.threads", &thread),
    ];
    let root =
        levels(&own, &[("memory.max", "33554432\n"), ("memory.current", "2097152\n"), ("cpu.max", "max 100000\n")]);
    let container = container(vec![(Vec::new(), root.path().join("own"))]);
    tells_of_it(&container);
    assert_eq!(text(&container, "/proc/pressure/cpu").unwrap(), STALL);
    let error = text(&container, "/proc/pressure/io").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "a kernel that counts none");
}

#[test]
fn a_container_on_hierarchies_of_the_first_version() {
    let thread = format!("{}\n", std::process::id());
    let own = [
        ("memory.limit_in_bytes", "33554432\n"),
        ("memory.usage_in_bytes", "2097152\n"),
        ("memory.memsw.limit_in_bytes", "33554432\n"),
        ("memory.stat", "total_cache 1048576\ntotal_rss 0\ntotal_swap 0\n"),
        ("cpuset.effective_cpus", "0\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("cpuacct.usage_user", "2000000000\n"),
        ("cpuacct.usage_sys", "1000000000\n"),
        ("cpuacct.usage_all", "cpu user system\n0 1500000000 1000000000\n1 500000000 0\n"),
        ("tasks", &thread),
    ];
    let unlimited = [("memory.limit_in_bytes", "9223372036854771712\n")];
    let root = levels(&own, &unlimited);
    let controllers = ["cpu", "cpuacct", "cpuset", "memory", "blkio"].map(str::to_owned);
    let container = container(vec![(controllers.into(), root.path().join("own"))]);
    tells_of_it(&container);
    let error = text(&container, "/proc/pressure/cpu").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "without a unified hierarchy");
    let disks = text(&container, "/proc/diskstats").unwrap();
    assert_eq!(disks.lines().count(), std::fs::read_to_string("/proc/diskstats").unwrap().lines().count());
    assert!(disks.lines().all(|line| line.ends_with(" 0 0 0 0 0 0 0 0 0 0 0")), "{disks}");
}

#[test]
fn without_any_group_the_host_is_told() {
    let container = container(Vec::new());
    let lines = |text: String| text.lines().count();
    for path in ["/proc/meminfo", "/proc/cpuinfo", "/proc/diskstats", "/proc/swaps"] {
        assert_eq!(lines(text(&container, path).unwrap()), lines(std::fs::read_to_string(path).unwrap()), "{path}");
    }
}
