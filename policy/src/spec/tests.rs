//! Whole specs, as engines write them.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::plan::{Capabilities, Propagation};

/// What `ctr run` writes, shortened where nothing differs in kind.
fn ctr() -> Value {
    json!({
        "ociVersion": "1.1.0",
        "process": {
            "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
            "args": ["cat", "/proc/self/uid_map"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "cgroupsPath": "/default/c1",
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore"],
            "readonlyPaths": ["/proc/bus"]
        }
    })
}

/// What dockerd 26 adds: empty and zero resources with every container.
pub(super) fn docker() -> Value {
    let mut spec = ctr();
    spec["linux"]["resources"] = json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"}
        ],
        "memory": {"swappiness": 18_446_744_073_709_551_615_u64, "disableOOMKiller": false},
        "cpu": {},
        "pids": {},
        "blockIO": {"weight": 0, "weightDevice": [], "throttleReadBpsDevice": null},
        "unified": null
    });
    spec["linux"]["cgroupsPath"] = json!("system.slice:docker:0123abc");
    spec["linux"]["sysctl"] =
        json!({"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"});
    spec["hostname"] = json!("0123abc");
    spec["hooks"] = json!({"prestart": [], "poststop": null});
    spec["process"]["apparmorProfile"] = json!("docker-default");
    spec["process"]["oomScoreAdj"] = json!(0);
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 4294967295_u64, "op": "SCMP_CMP_EQ"}]}]
    });
    spec
}

/// What containerd's CRI writes for a container of a pod; the kubelet adds every page size with limit 0.
fn cri() -> Value {
    let mut spec = ctr();
    spec["annotations"] = json!({"io.kubernetes.cri.container-type": "container"});
    spec["process"]["apparmorProfile"] = json!("cri-containerd.apparmor.d");
    spec["linux"]["cgroupsPath"] = json!("kubepods-besteffort-pod1.slice:cri-containerd:abc");
    spec["linux"]["rootfsPropagation"] = json!("rslave");
    spec["linux"]["resources"]["hugepageLimits"] =
        json!([{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 0}]);
    spec["linux"]["resources"]["cpu"] = json!({"shares": 2, "period": 100_000, "quota": 0});
    spec["linux"]["namespaces"] = json!([
        {"type": "pid"}, {"type": "mount"}, {"type": "cgroup"},
        {"type": "ipc", "path": "/proc/42/ns/ipc"}, {"type": "uts", "path": "/proc/42/ns/uts"},
        {"type": "network", "path": "/var/run/netns/cni-1"}
    ]);
    spec["mounts"].as_array_mut().expect("mounts").push(json!({
        "destination": "/etc/hosts", "type": "bind", "source": "/var/lib/kubelet/hosts", "options": ["rbind", "rprivate", "rw"]
    }));
    spec
}

fn request(terminal: bool) -> Request<'static> {
    Request { id: "c1", bundle: Path::new("/run/bundle"), terminal }
}

fn planned(spec: &Value) -> Result<Plan, String> {
    let loaded = load(spec.to_string().as_bytes()).map_err(|refusal| refusal.to_string())?;
    plan(&loaded.value, &request(false)).map_err(|refusal| refusal.to_string())
}

/// The plan of `ctr`'s spec with one place changed.
fn changed(pointer: &str, value: Value) -> Result<Plan, String> {
    let mut spec = ctr();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    spec.pointer_mut(parent).expect("a place")[name] = value;
    planned(&spec)
}

#[test]
fn specs_of_engines_become_plans() {
    for spec in [ctr(), docker(), cri()] {
        let loaded = load(spec.to_string().as_bytes()).expect("a spec");
        assert_eq!(loaded.unknown, Vec::<String>::new());
        planned(&spec).expect("a plan");
    }
}

#[test]
fn a_plan_says_what_the_spec_says_and_no_more() {
    let plan = planned(&ctr()).expect("a plan");
    assert_eq!(plan.root.path, Path::new("/run/bundle/rootfs"));
    assert!(!plan.root.readonly && plan.root.propagation.is_none());
    assert_eq!(plan.mounts.len(), 7);
    assert_eq!(plan.masked_paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/proc/acpi", "/proc/kcore"]);
    assert_eq!(plan.id_map, None);
    assert!(plan.devices.is_empty() && plan.sysctl.is_empty() && plan.hostname.is_none());
    let process = &plan.process;
    assert_eq!((process.args.len(), process.additional_gids.as_slice()), (2, &[0, 10][..]));
    let expected = Capabilities { bounding: 1, effective: 1, permitted: 1, inheritable: 0, ambient: 0 };
    assert_eq!(process.capabilities, expected);
    assert!(process.no_new_privileges && process.seccomp.is_none() && process.apparmor.is_none());

    // A spec of next to nothing: what it leaves out stays out (no default masks, capabilities or limits).
    let least = json!({"process": {"args": ["true"], "cwd": "/"}, "root": {"path": "/r"}, "linux": {"namespaces": [{"type": "mount"}]}});
    let plan = planned(&least).expect("a plan");
    assert_eq!(plan.process.capabilities, Capabilities::default());
    assert!(plan.masked_paths.is_empty() && plan.mounts.is_empty() && plan.process.rlimits.is_empty());
    assert_eq!(plan.cgroup, plan::Cgroup::default());
    assert!(planned(&json!({"process": {"args": ["true"], "cwd": "/"}, "root": {"path": "/r"}})).is_ok());
}

#[test]
fn every_kind_of_namespace_has_one_wish() {
    let wishes = planned(&cri()).expect("a plan").namespaces;
    assert_eq!(wishes.len(), 8);
    let wish = |kind| wishes.iter().find(|wish| wish.kind == kind).expect("a wish");
    assert!(!wish(NamespaceKind::User).named && wish(NamespaceKind::User).path.is_none());
    assert!(wish(NamespaceKind::Pid).named && wish(NamespaceKind::Pid).path.is_none());
    assert_eq!(wish(NamespaceKind::Network).path.as_deref(), Some(Path::new("/var/run/netns/cni-1")));

    let namespaces = |namespaces| changed("/linux/namespaces", namespaces).map(|_| ());
    let message = |message: &str| Err(message.to_owned());
    assert_eq!(
        namespaces(json!([{"type": "pid"}, {"type": "pid"}])),
        message("linux.namespaces[1].type: \"pid\" is listed twice")
    );
    assert_eq!(
        namespaces(json!([{"type": "mount", "path": "/proc/1/ns/mnt"}])),
        message("linux.namespaces[0].path: joining a mount namespace is not implemented")
    );
    assert_eq!(
        namespaces(json!([{"type": "ipc", "path": "x"}])),
        message("linux.namespaces[0].path: \"x\" is not an absolute path")
    );
    assert_eq!(namespaces(json!([{"type": "pod"}])), message("linux.namespaces[0].type: \"pod\" is not known"));
}

#[test]
fn names_need_a_uts_namespace_of_the_containers_own() {
    let mut spec = cri();
    spec["hostname"] = json!("h");
    let expected = "hostname: needs a uts namespace of the container's own, but the spec joins \"/proc/42/ns/uts\"";
    assert_eq!(planned(&spec), Err(expected.into()));
    spec["hostname"] = json!("");
    assert!(planned(&spec).is_ok());
    assert_eq!(changed("/hostname", json!("h")).expect("a plan").hostname.as_deref(), Some("h"));
    assert!(changed("/domainname", json!("d".repeat(65))).expect_err("refused").starts_with("domainname: "));
}

#[test]
fn a_domain_name_may_come_as_a_sysctl() {
    let mut spec = ctr();
    spec["linux"]["sysctl"] = json!({"kernel.domainname": "d", "net.ipv4.ip_forward": "1"});
    let plan = planned(&spec).expect("a plan");
    assert_eq!(plan.domainname.as_deref(), Some("d"));
    assert_eq!(plan.sysctl, [("net.ipv4.ip_forward".to_owned(), "1".to_owned())]);
    spec["domainname"] = json!("e");
    let expected = "linux.sysctl[\"kernel.domainname\"]: is given as domainname, too";
    assert_eq!(planned(&spec), Err(expected.into()));
}

#[test]
fn ids_are_held_against_the_map() {
    let mut spec = ctr();
    spec["process"]["user"]["uid"] = json!(70_000);
    let expected = "process.user.uid: 70000 is outside the container's ids, which are 0 to 65535";
    assert_eq!(planned(&spec), Err(expected.into()));
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 131_072}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    assert_eq!(planned(&spec).expect("a plan").id_map, Some(IdMap { host: 200_000, size: 131_072 }));
    for uid in [json!(-1), json!(4_294_967_296_u64), json!("0"), json!(0.5)] {
        let shown = uid.to_string();
        let expected = format!("process.user.uid: {shown} is not a whole number from 0 to 4294967295");
        assert_eq!(changed("/process/user/uid", uid), Err(expected));
    }
    let tmpfs = json!([{"destination": "/t", "type": "tmpfs", "options": ["uid=65536"]}]);
    assert!(changed("/mounts", tmpfs).expect_err("refused").starts_with("mounts[0].options: uid: 65536 is outside"));
}

#[test]
fn documents_that_are_no_spec_are_refused_in_one_line() {
    let refusal = |bytes: &[u8]| load(bytes).map(|_| ()).expect_err("refused").to_string();
    assert_eq!(refusal(b"{\n  \"root\": }"), "config.json: is not valid JSON: expected value at line 2 column 11");
    assert_eq!(refusal(b""), "config.json: is not valid JSON: EOF while parsing a value at line 1 column 0");
    assert_eq!(refusal(b"[]"), "config.json: is not an object");
    assert_eq!(refusal(&vec![b' '; MAX_BYTES + 1]), "config.json: is larger than 16777216 bytes");
    assert_eq!(refusal(br#"{"root": {}}"#), "root.path: is missing");
    assert_eq!(changed("/root", json!(null)), Err("root: is missing".into()));
    assert_eq!(changed("/process", json!(null)), Err("process: is missing".into()));
    assert_eq!(changed("/ociVersion", json!("2.0.0")), Err("ociVersion: \"2.0.0\" is not supported, only 1.x".into()));
    assert_eq!(changed("/root/path", json!("")), Err("root.path: is empty".into()));
    let deep = "[".repeat(200_000);
    assert!(refusal(deep.as_bytes()).starts_with("config.json: is not valid JSON: recursion limit exceeded"));
}

#[test]
fn a_container_id_is_a_file_name() {
    let spec = load(ctr().to_string().as_bytes()).expect("a spec").value;
    for id in ["c1", "a.b_c+d-E", &"x".repeat(255)] {
        assert!(plan(&spec, &Request { id, ..request(false) }).is_ok(), "{id}");
    }
    for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(256)] {
        let refusal = plan(&spec, &Request { id, ..request(false) }).expect_err(id);
        assert_eq!(refusal.field, "id");
    }
}

#[test]
fn paths_in_the_root_do_not_climb() {
    let refused = |pointer: &str, value: Value| changed(pointer, value).expect_err("refused");
    assert_eq!(
        refused("/linux/maskedPaths", json!(["/a", "../b"])),
        "linux.maskedPaths[1]: \"../b\" is not an absolute path"
    );
    assert_eq!(
        refused("/linux/readonlyPaths", json!(["/a/../b"])),
        "linux.readonlyPaths[0]: \"/a/../b\" has a .. component"
    );
    assert_eq!(
        refused("/linux/maskedPaths", json!(["/"])),
        "linux.maskedPaths[0]: \"/\" is the whole container; root.readonly makes it read-only"
    );
    let twice = changed("/linux/maskedPaths", json!(["/proc/keys", "/proc//keys/"])).expect("a plan");
    assert_eq!(twice.masked_paths.len(), 1);
}

#[test]
fn propagation_of_the_root_is_read() {
    for (text, propagation) in [
        ("private", Propagation::Private),
        ("rprivate", Propagation::Private),
        ("slave", Propagation::Slave),
        ("rslave", Propagation::Slave),
        ("rshared", Propagation::Shared),
        ("unbindable", Propagation::Unbindable),
    ] {
        let plan = changed("/linux/rootfsPropagation", json!(text)).expect("a plan");
        assert_eq!(plan.root.propagation, Some(propagation));
    }
    let refusal = changed("/linux/rootfsPropagation", json!("public"));
    assert_eq!(refusal, Err("linux.rootfsPropagation: \"public\" is not known".into()));
}

#[test]
fn a_seccomp_profile_passes_whole() {
    let plan = planned(&docker()).expect("a plan");
    let profile = serde_json::to_value(plan.process.seccomp.expect("a profile")).expect("JSON");
    assert_eq!(profile, docker()["linux"]["seccomp"]);
    let notify =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]});
    let expected =
        "linux.seccomp.syscalls[0].action: \"SCMP_ACT_NOTIFY\" needs a listener, which is not implemented yet";
    assert_eq!(changed("/linux/seccomp", notify), Err(expected.into()));
    let unknown = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]});
    assert_eq!(
        changed("/linux/seccomp", unknown),
        Err("linux.seccomp.architectures[0]: \"SCMP_ARCH_PDP11\" is not known".into())
    );
}

#[test]
fn a_plan_survives_its_journey_to_a_stage() {
    let plan = planned(&docker()).expect("a plan");
    let json = serde_json::to_vec(&plan).expect("JSON");
    assert_eq!(serde_json::from_slice::<Plan>(&json).expect("a plan"), plan);
}
