//! The systemd driver, on a host whose process 1 is systemd: cgroup v1 (hybrid), containerd 1.6. (Pure cgroup v2 is the virtual
//! machine's: ../vm.)

use serde_json::json;
use tests::host::{Host, Setup};
use tests::place;

use super::pod::{Pod, call};

/// `ctr run` of a container in a scope: `in_scope PARENT:PREFIX:NAME ARGUMENT...`; `show UNIT PROPERTY...` prints values.
const PRELUDE: &str = r#"
    in_scope() { local at=$1; shift; $RUN -d --cgroup "$at" "$@"; }
    show() { local unit=$1; shift; for it in "$@"; do systemctl show --value -p "$it" "$unit"; done; }
    files() { cat /sys/fs/cgroup/memory/$1/memory.limit_in_bytes /sys/fs/cgroup/cpu/$1/cpu.cfs_quota_us /sys/fs/cgroup/pids/$1/pids.max; }
    pid() { ctr task ls | awk -v id="$1" '$1 == id { print $2 }'; }
"#;

fn on_systemd(test: &str, setup: &Setup, check: fn(&Host)) {
    let Some(host) = Host::up_with("systemd", &format!("systemd::{test}"), setup) else { return };
    assert_eq!(sh(&host, "cat /proc/1/comm"), "systemd");
    check(&host);
    // Whatever becomes of the tasks: no unit, no group and no process of a container is left.
    host.until(
        "[ -z \"$(systemctl list-units --all --plain --no-legend '*.scope' | grep -v '^init.scope')\" ] &&
         [ -z \"$(find /sys/fs/cgroup -name '*.scope' ! -name init.scope)\" ] && ! pgrep -f '[c]ontainerd-shim-eci-v2' > /dev/null",
    );
    assert_eq!(
        sh(&host, "find /run/systemd/transient /run/systemd/system.control -name '*.scope*' 2> /dev/null || :"),
        ""
    );
}

fn sh(host: &Host, script: &str) -> String {
    host.sh(&format!("{PRELUDE}{script}")).ok().to_owned()
}

#[test]
fn a_scope_has_the_limits_and_a_reload_keeps_them() {
    on_systemd("a_scope_has_the_limits_and_a_reload_keeps_them", &Setup::default(), |host| {
        sh(
            host,
            "in_scope system.slice:eci:c1 --memory-limit 67108864 --cpus 0.5 --device /dev/kmsg $IMAGE c1 sleep 1000",
        );
        let group = "system.slice/eci-c1.scope";
        let properties =
            "show eci-c1.scope MemoryLimit CPUQuotaPerSecUSec Slice Delegate Transient ActiveState DevicePolicy";
        assert_eq!(sh(host, properties), "67108864\n500ms\nsystem.slice\nyes\nyes\nactive\nstrict");
        // In every hierarchy, also those that systemd does not manage; and alone: nothing stands in for init any more.
        let paths = "grep -c ':.*/system.slice/eci-c1.scope$' /proc/$(pid c1)/cgroup; grep -c . /proc/$(pid c1)/cgroup";
        let counts = sh(host, paths);
        let (ours, all) = counts.split_once('\n').expect("two lines");
        assert_eq!(ours, all);
        assert_eq!(sh(host, &format!("cat /sys/fs/cgroup/memory/{group}/cgroup.procs")), sh(host, "pid c1"));
        let look = format!("files {group}; sort /sys/fs/cgroup/devices/{group}/devices.list");
        let before = sh(host, &look);
        assert!(before.starts_with("67108864\n50000\n") && before.contains("c 1:11 "), "{before}");
        sh(host, "systemctl daemon-reload");
        assert_eq!(sh(host, &look), before);
        // What systemd is not told of it sets back: the values stand because they are properties.
        let limit = format!("/sys/fs/cgroup/memory/{group}/memory.limit_in_bytes");
        sh(host, &format!("echo -1 > {limit}; systemctl daemon-reload"));
        host.until(&format!("grep -qx 67108864 {limit}"));
        assert_eq!(sh(host, &look), before);
        let inside =
            "ctr task exec --exec-id e c1 sh -c 'echo in > /dev/null && cut -d: -f3 /proc/self/cgroup | sort -u'";
        assert_eq!(sh(host, inside), "/");
        sh(
            host,
            "ctr task kill -s KILL c1; while ctr task ls | grep -q RUNNING; do sleep 0.05; done; ctr task rm c1; ctr c rm c1",
        );
        assert_eq!(sh(host, &format!("ls -d /sys/fs/cgroup/*/{group} 2> /dev/null | wc -l")), "0");
    });
}

#[test]
fn runcs_options_ask_for_it_too() {
    on_systemd("runcs_options_ask_for_it_too", &Setup::default(), |host| {
        // ctr has the flag for runc's name alone; what it finds under that name is ours.
        sh(host, "ln -s /opt/shim/containerd-shim-eci-v2 /usr/local/sbin/containerd-shim-runc-v2");
        let run = |cgroup: &str, id: &str| {
            host.sh(&format!(
                "ctr run -d --runtime io.containerd.runc.v2 --runc-systemd-cgroup --cgroup {cgroup} $IMAGE {id} sleep 1000 2>&1"
            ))
        };
        run("a-b.slice:eci:c1", "c1").ok();
        let path = "/a.slice/a-b.slice/eci-c1.scope";
        let found = "grep ^[0-9]*:memory: /proc/$(pid c1)/cgroup; show eci-c1.scope Slice; containerd-shim-eci-v2 ranges | grep -c ' c1 '";
        assert_eq!(sh(host, found).split_once(':').map(|it| it.1), Some(&*format!("memory:{path}\na-b.slice\n1")));
        let refused = run("/a/path", "c2");
        let reason =
            "linux.cgroupsPath: \"/a/path\" is not slice:prefix:name, which the runtime option SystemdCgroup asks for";
        assert!(refused.status != 0 && refused.stdout.contains(reason), "{refused:#?}");
        // The name is the container's as long as it runs.
        let taken = run("a-b.slice:eci:c1", "c3");
        assert!(
            taken.status != 0 && taken.stdout.contains("linux.cgroupsPath: the container's cgroup is not empty"),
            "{taken:#?}"
        );
        let elsewhere = run("system.slice:eci:c1", "c4");
        assert!(elsewhere.stdout.contains("linux.cgroupsPath: the unit eci-c1.scope exists already"), "{elsewhere:#?}");
        assert_eq!(sh(host, "show eci-c1.scope ActiveState"), "active");
        sh(host, "ctr task rm -f c1 2> /dev/null; ctr c rm c1");
    });
}

#[test]
fn what_a_killed_shim_leaves_is_stopped_by_delete() {
    on_systemd("what_a_killed_shim_leaves_is_stopped_by_delete", &Setup::default(), |host| {
        sh(host, "in_scope :eci:c1 $IMAGE c1 sleep 1000");
        assert_eq!(sh(host, "show eci-c1.scope ActiveState Slice"), "active\nsystem.slice");
        let bundle = "/run/containerd/io.containerd.runtime.v2.task/default/c1";
        assert!(sh(host, &format!("cat {bundle}/eci.json")).contains(r#""unit":"eci-c1.scope""#));
        // containerd calls delete of its own accord.
        sh(host, "kill -KILL $(ps -o ppid= -p $(pid c1))");
        host.until("! systemctl is-active -q eci-c1.scope");
        host.until("! pgrep -xf 'sleep 1000' > /dev/null");
    });
}

#[test]
fn the_bus_of_the_system_serves_as_well() {
    on_systemd("the_bus_of_the_system_serves_as_well", &Setup::default(), |host| {
        sh(host, "systemctl start dbus.socket && rm /run/systemd/private");
        sh(host, "in_scope :eci:c1 --memory-limit 67108864 $IMAGE c1 sleep 1000");
        assert_eq!(sh(host, "show eci-c1.scope MemoryLimit ActiveState"), "67108864\nactive");
        sh(host, "ctr task rm -f c1 2> /dev/null; ctr c rm c1");
    });
}

fn cri() -> Setup {
    let hosts = place::sources().join("hosts");
    Setup {
        containerd: Some(hosts.join("containerd-cri-systemd.toml")),
        cni: Some(hosts.join("10-bridge.conflist")),
        ..Setup::default()
    }
}

#[test]
fn a_pod_lives_in_the_slice_of_its_kind_and_is_updated() {
    on_systemd("a_pod_lives_in_the_slice_of_its_kind_and_is_updated", &cri(), |host| {
        let pod = Pod::run_below(host, "kubepods-burstable.slice");
        let id = pod.container("one", 0, &["sleep", "1000"]);
        let (unit, group) = (
            format!("cri-containerd-{id}.scope"),
            format!("kubepods.slice/kubepods-burstable.slice/cri-containerd-{id}.scope"),
        );
        let look = format!("show {unit} MemoryLimit CPUShares Slice CPUQuotaPerSecUSec; files {group}");
        assert!(sh(host, &look).starts_with("67108864\n100\nkubepods-burstable.slice\ninfinity\n67108864\n-1\n"));
        let resources = json!({ "memory_limit_in_bytes": 134_217_728, "cpu_shares": 200, "cpu_quota": 25_500, "cpu_period": 100_000 });
        call(host, "UpdateContainerResources", &json!({ "container_id": id, "linux": resources }));
        let updated = "134217728\n200\nkubepods-burstable.slice\n260ms\n134217728\n25500\n";
        assert!(sh(host, &look).starts_with(updated), "{}", sh(host, &look));
        sh(host, "systemctl daemon-reload");
        host.until(&format!("grep -qx 26000 /sys/fs/cgroup/cpu/{group}/cpu.cfs_quota_us"));
        // systemd knows whole percents.
        assert!(sh(host, &look).starts_with(&updated.replace("25500", "26000")), "{}", sh(host, &look));
        assert_eq!(pod.exec(&id, "exit 3").0, 3);
        pod.end(&[&id]);
    });
}
