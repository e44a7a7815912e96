//! What Debian's and busybox's tools show is the container's machine, the same in all of them: its limits, and those of the
//! groups above it.

use std::fs;

use serde_json::{Value, json};
use tests::groups::{group, is_v2};
use tests::tools::{self, Told};
use tests::{Bundle, Container, place};

const MIB: u64 = 1 << 20;

/// A container that has the tools and sees its groups, as an engine's does.
fn with_tools(resources: Value) -> Bundle {
    let seen = ["nosuid", "noexec", "nodev", "ro"];
    let bundle = Bundle::new().set("/linux/resources", resources).mount("cgroup", "cgroup", "/sys/fs/cgroup", &seen);
    tools::binds().iter().fold(bundle, |bundle, (source, place)| bundle.bind(source, place, &["ro"]))
}

/// What they tell in it, and agree on.
async fn told(container: &Container) -> Told {
    let told = Told::parse(container.exec(&[tools::SHELL, "-c", tools::SCRIPT]).await.ok());
    told.agrees();
    told
}

fn processors() -> u64 {
    std::thread::available_parallelism().unwrap().get().try_into().unwrap()
}

macro_rules! needs_tools {
    ($name:literal) => {
        if let Some(missing) = tools::missing() {
            return tests::skip($name, &missing);
        }
    };
}

#[tokio::test]
async fn tools_agree_with_the_limits_and_with_each_other() {
    needs_tools!("tools::tools_agree_with_the_limits_and_with_each_other");
    let quota = |quota: u64| json!({ "quota": quota, "period": 100_000 });
    for (cpu, cpus, allowed) in [
        (json!({}), processors(), processors()),
        (quota(50_000), 1, processors()),
        (quota(100_000), 1, processors()),
        (quota(150_000), processors().min(2), processors()),
        (json!({ "cpus": "0" }), 1, 1),
    ] {
        let memory = json!({ "limit": 256 * MIB, "swap": 256 * MIB });
        let container = Container::sleeping(with_tools(json!({ "cpu": cpu, "memory": memory }))).await;
        let told = told(&container).await;
        told.all("cpus", cpus, 0);
        told.all("quota", if cpu["cpus"].is_string() { told.one("cpus", "stat") } else { cpus }, 0);
        // What goes by the kernel's own answer sees a cpuset, and no quota.
        told.all("allowed", allowed, 0);
        told.all("memory", 256 * 1024, 0);
        told.all("swap", 0, 0);
        told.all("free", told.one("free", "meminfo"), 16 * 1024);
        container.end().await;
    }
}

#[tokio::test]
async fn a_limit_that_changes_shows_in_all_of_them() {
    needs_tools!("tools::a_limit_that_changes_shows_in_all_of_them");
    let resources = json!({ "cpu": { "quota": 100_000, "period": 100_000 }, "memory": { "limit": 256 * MIB } });
    let container = Container::sleeping(with_tools(resources)).await;
    told(&container).await.all("memory", 256 * 1024, 0);
    let resources = json!({ "cpu": { "quota": 200_000, "period": 100_000 }, "memory": { "limit": 300 * MIB } });
    container.update(&resources).await.unwrap();
    container.sh("sleep 1.1").await.ok();
    let told = told(&container).await;
    told.all("memory", 300 * 1024, 0);
    told.all("cpus", processors().min(2), 0);
    container.end().await;
}

#[tokio::test]
async fn the_least_limit_of_the_groups_above_is_the_containers() {
    needs_tools!("tools::the_least_limit_of_the_groups_above_is_the_containers");
    let slice = place::unique("slice");
    let memory = group("memory", &format!("/{slice}"));
    fs::create_dir(&memory).unwrap();
    let bundle = with_tools(json!({ "memory": { "limit": 256 * MIB } }));
    let path = format!("/{slice}/{}", bundle.id);
    let container = Container::sleeping(bundle.set("/linux/cgroupsPath", json!(path))).await;
    let limit = if is_v2() { "memory.max" } else { "memory.limit_in_bytes" };
    fs::write(memory.join(limit), (96 * MIB).to_string()).unwrap();
    container.sh("sleep 0.2").await.ok();
    // The group's own file has its own limit.
    let lines = container.exec(&[tools::SHELL, "-c", tools::SCRIPT]).await;
    let (group, others): (Vec<&str>, Vec<&str>) = lines.ok().lines().partition(|line| *line == "memory group 262144");
    assert_eq!(group.len(), 1, "{others:?}");
    let told = Told::parse(&others.join("\n"));
    told.agrees();
    told.all("memory", 96 * 1024, 0);
    assert!(told.one("free", "busybox") < 96 * 1024);
    container.end().await;
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _none = fs::remove_dir(hierarchy.path().join(&slice));
    }
}

/// Who mounts a procfs in a group below sees what that one's limit leaves, as an inner container does; who merely lives there
/// sees the container's machine.
#[tokio::test]
async fn a_group_inside_with_a_lower_limit_has_it_in_a_procfs_of_its_own_only() {
    let resources = json!({ "memory": { "limit": 256 * MIB } });
    let bundle = Bundle::inner_engine().set("/linux/resources", resources).with_inside();
    let container = Container::sleeping(bundle).await;
    let inside = if is_v2() { ("", "memory.max") } else { ("/memory", "memory.limit_in_bytes") };
    let script = format!(
        "set -e; group=/sys/fs/cgroup{}/inner; mkdir $group; echo {} > $group/{}; \
         sh -c 'echo $$ > '$group'/cgroup.procs; grep MemTotal /proc/meminfo; /inside sysinfo; \
         exec unshare -p -m -f sh -c \"mount -t proc proc /proc && grep MemTotal /proc/meminfo && /inside sysinfo\"'",
        inside.0,
        64 * MIB,
        inside.1
    );
    let said = container.sh(&script).await;
    let fields: Vec<&str> = said.ok().split_whitespace().collect();
    let of = |first: usize| (fields[first + 1], fields[first + 4]);
    assert_eq!(of(0), ("262144", (256 * MIB).to_string().as_str()), "{said:?}");
    assert_eq!(of(fields.len() / 2), ("65536", (64 * MIB).to_string().as_str()), "{said:?}");
    container.end().await;
}

/// lscpu tells of the processors what it tells on the host, but for how many there are.
#[tokio::test]
async fn lscpu_says_what_it_says_on_the_host() {
    needs_tools!("tools::lscpu_says_what_it_says_on_the_host");
    let chroot = tools::binds()[0].0.parent().unwrap().to_owned();
    let host = tests::sh(&format!(
        "unshare -m sh -c 'mount --rbind /proc {0}/proc && mount --rbind /sys {0}/sys && LC_ALL=C chroot {0} lscpu -J'",
        chroot.display()
    ));
    let fields = |text: &str| -> Vec<(String, String)> {
        let parsed: Value = serde_json::from_str(text).unwrap();
        fn flat(of: &Value, all: &mut Vec<(String, String)>) {
            for entry in of.as_array().into_iter().flatten() {
                let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
                all.push((text("field"), text("data")));
                flat(&entry["children"], all);
            }
        }
        let mut all = Vec::new();
        flat(&parsed["lscpu"], &mut all);
        all
    };
    // A cache has instances by the processors that share it; a frequency moves.
    let counts = |field: &str| {
        ["CPU(s)", "per core", "per socket", "Socket(s)", "list", "cache", "NUMA node", "MHz", "scaling", "BogoMIPS"]
            .iter()
            .any(|of| field.contains(of))
    };
    let host = fields(host.ok());
    assert!(host.len() > 10, "{host:?}");
    for (resources, all) in [(json!({}), true), (json!({ "cpu": { "cpus": "0" } }), false)] {
        let container = Container::sleeping(with_tools(resources)).await;
        let said = container.sh("LC_ALL=C /usr/bin/lscpu -J").await;
        let inside = fields(said.ok());
        let compared = |fields: &[(String, String)]| -> Vec<(String, String)> {
            fields
                .iter()
                .filter(|(field, _)| all && !field.contains("MHz") && !field.contains("scaling") || !counts(field))
                .cloned()
                .collect()
        };
        assert_eq!(compared(&inside), compared(&host));
        container.end().await;
    }
}

#[tokio::test]
async fn what_is_emulated_is_no_disk_and_lies_below_proc_and_sys() {
    needs_tools!("tools::what_is_emulated_is_no_disk_and_lies_below_proc_and_sys");
    let container = Container::sleeping(with_tools(json!({}))).await;
    let script =
        "export PATH=/usr/bin:/usr/sbin:/bin; df; df -h; findmnt --df; lsblk -n -o MOUNTPOINTS; echo; swapon --show";
    let said = container.exec(&[tools::SHELL, "-c", script]).await;
    assert!(!said.ok().contains("fuse") && !said.ok().contains("eci"), "{said:?}");
    for script in ["mount", "busybox mount", "findmnt -r -n -o SOURCE,TARGET,FSTYPE"] {
        let said = container.exec(&[tools::SHELL, "-c", &format!("export PATH=/usr/bin:/bin; {script}")]).await;
        let fuse: Vec<&str> = said.ok().lines().filter(|line| line.contains("fuse")).collect();
        assert!(fuse.len() > 5, "{script}: {said:?}");
        assert!(fuse.iter().all(|line| line.contains(" /proc/") || line.contains(" /sys/")), "{script}: {fuse:?}");
    }
    container.end().await;
}

/// The length of its text changes whenever a number has one digit more: nobody sees half of one.
#[tokio::test]
async fn uptime_is_whole_when_its_length_changes() {
    let container = Container::sleeping(Bundle::new()).await;
    let script = "for n in 1 2 3 4; do (while read -r up < /proc/uptime; do case $up in *' '*.[0-9][0-9]) ;; *) echo \"cut: $up\" ;; esac; \
                  [ \"${up%%.*}\" -lt 12 ] || exit; done; echo nothing) & done; wait";
    assert_eq!(container.sh(script).await.ok(), "");
    container.end().await;
}

/// vmstat(8) divides the sums since the boot by the uptime: both are the container's.
#[tokio::test]
async fn vmstat_says_what_happened_since_the_container_was_made() {
    needs_tools!("tools::vmstat_says_what_happened_since_the_container_was_made");
    let container = Container::sleeping(with_tools(json!({ "memory": { "limit": 256 * MIB } }))).await;
    let script = "dd if=/dev/zero of=/file bs=1M count=8 conv=fsync 2> /dev/null; awk '$1 ~ /^(pgfault|oom_kill)$/ { print $2 }' /proc/vmstat; \
                  awk '$1 ~ /^(ctxt|intr|processes)$/ { print $2 }' /proc/stat; vmstat | awk 'NR == 3 { print $9, $10, $11, $12 }'";
    let said = container.exec(&[tools::SHELL, "-c", &format!("export PATH=/usr/bin:/bin; {script}")]).await;
    let numbers: Vec<u64> = said.ok().split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [faults, kills, interrupts, switches, forks, read, written, ..] = numbers[..] else { panic!("{said:?}") };
    let host = fs::read_to_string("/proc/stat").unwrap();
    let of_host = |name: &str| -> u64 {
        let line = host.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert!(faults > 0 && faults < 1_000_000 && kills == 0, "{said:?}");
    for (name, own) in [("intr ", interrupts), ("ctxt ", switches), ("processes ", forks)] {
        assert!(own < of_host(name) / 2, "{name} {own} of {}", of_host(name));
    }
    assert!(read < 1_000_000 && written < 1_000_000, "{said:?}");
    container.end().await;
}

#[tokio::test]
async fn the_machines_memory_is_nowhere_in_sysfs_but_in_its_nodes() {
    needs_tools!("tools::the_machines_memory_is_nowhere_in_sysfs_but_in_its_nodes");
    let container = Container::sleeping(with_tools(json!({}))).await;
    let said = container.exec(&["/usr/bin/lsmem"]).await;
    assert!(said.status != 0 && !said.stdout.contains("Total"), "{said:?}");
    assert_eq!(container.sh("ls -A /sys/devices/system/memory").await.ok(), "");
    container.end().await;
}
