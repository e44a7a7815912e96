//! Every row of the table, walked.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::common::{CONFIG, PROCESS};
use super::*;
use crate::plan::Plan;
use crate::spec::{self, Request};

/// The objects of specs-go/config.go of runtime-spec 1.3.0 with their JSON names, by their place.
const SPECIFIED: &[(&str, &str)] = &[
    ("", "ociVersion process root hostname domainname mounts hooks annotations linux solaris windows vm zos freebsd"),
    (
        "process",
        "terminal consoleSize user args commandLine env cwd capabilities rlimits noNewPrivileges apparmorProfile \
         oomScoreAdj scheduler selinuxLabel ioPriority execCPUAffinity",
    ),
    ("process.consoleSize", "height width"),
    ("process.user", "uid gid umask additionalGids username"),
    ("process.capabilities", "bounding effective inheritable permitted ambient"),
    ("process.rlimits[]", "type hard soft"),
    ("process.scheduler", "policy nice priority flags runtime deadline period"),
    ("process.ioPriority", "class priority"),
    ("process.execCPUAffinity", "initial final"),
    ("root", "path readonly"),
    ("mounts[]", "destination type source options uidMappings gidMappings"),
    ("mounts[].uidMappings[]", "containerID hostID size"),
    ("hooks", "prestart createRuntime createContainer startContainer poststart poststop"),
    ("hooks.prestart[]", "path args env timeout"),
    (
        "linux",
        "uidMappings gidMappings sysctl resources cgroupsPath namespaces devices netDevices seccomp rootfsPropagation \
         maskedPaths readonlyPaths mountLabel intelRdt memoryPolicy personality timeOffsets",
    ),
    ("linux.namespaces[]", "type path"),
    ("linux.devices[]", "path type major minor fileMode uid gid"),
    ("linux.personality", "domain flags"),
    ("linux.resources", "devices memory cpu pids blockIO hugepageLimits network rdma unified"),
    ("linux.resources.devices[]", "allow type major minor access"),
    (
        "linux.resources.memory",
        "limit reservation swap kernel kernelTCP swappiness disableOOMKiller useHierarchy checkBeforeUpdate",
    ),
    ("linux.resources.cpu", "shares quota burst period realtimeRuntime realtimePeriod cpus mems idle"),
    ("linux.resources.pids", "limit"),
    (
        "linux.resources.blockIO",
        "weight leafWeight weightDevice throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice \
         throttleWriteIOPSDevice",
    ),
    ("linux.resources.blockIO.weightDevice[]", "major minor weight leafWeight"),
    ("linux.resources.blockIO.throttleReadBpsDevice[]", "major minor rate"),
    ("linux.resources.hugepageLimits[]", "pageSize limit"),
    ("linux.resources.network", "classID priorities"),
    ("linux.resources.network.priorities[]", "name priority"),
    ("linux.seccomp", "defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata syscalls"),
    ("linux.seccomp.syscalls[]", "names action errnoRet args"),
    ("linux.seccomp.syscalls[].args[]", "index value valueTwo op"),
];

/// A row with its place: `process.rlimits[].soft`.
struct Row {
    path: String,
    field: &'static Field,
}

/// Every row below `fields`.
fn rows(fields: &'static [Field], parent: &str, all: &mut Vec<Row>) {
    for field in fields {
        let path = if parent.is_empty() { field.name.to_owned() } else { format!("{parent}.{}", field.name) };
        below(field.shape, &path, all);
        all.push(Row { path, field });
    }
}

fn below(shape: &'static Shape, path: &str, all: &mut Vec<Row>) {
    match shape {
        Shape::Object(fields) => rows(fields, path, all),
        Shape::List(shape) => below(shape, &format!("{path}[]"), all),
        _ => {}
    }
}

fn table() -> Vec<Row> {
    let mut all = Vec::new();
    rows(CONFIG, "", &mut all);
    all
}

/// A document with nothing but `value` at `path`.
fn alone(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, part| {
        let (name, inner) = match part.strip_suffix("[]") {
            Some(name) => (name, json!([inner])),
            None => (part, inner),
        };
        Value::Object(Map::from_iter([(name.to_owned(), inner)]))
    })
}

fn checked(mut document: Value) -> (Value, Result<Report, Refusal>) {
    let result = check(&mut document, CONFIG, "");
    (document, result)
}

/// A value for each property that carries or refuses one; together they make a plan.
fn full() -> Value {
    let map = |first: u32| json!([{"containerID": 65536, "hostID": first + 65536, "size": 65536}, {"containerID": 0, "hostID": first, "size": 65536}]);
    json!({
        "ociVersion": "1.3.0",
        "annotations": {"a": "b"},
        "hooks": {
            "prestart": [{"path": "/prestart", "args": ["x"], "env": ["A=b"], "timeout": 1}],
            "createRuntime": [{"path": "/createRuntime", "args": ["x"], "env": ["A=b"], "timeout": 1}],
            "createContainer": [{"path": "/createContainer", "args": ["x"], "env": ["A=b"], "timeout": 1}],
            "startContainer": [{"path": "/startContainer", "args": ["x"], "env": ["A=b"], "timeout": 1}],
            "poststart": [{"path": "/poststart", "args": ["x"], "env": ["A=b"], "timeout": 1}],
            "poststop": [{"path": "/poststop", "args": ["x"], "env": ["A=b"], "timeout": 1}],
        },
        "hostname": "h",
        "domainname": "d",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "terminal": true,
            "consoleSize": {"height": 24, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3], "username": "u"},
            "args": ["sh"],
            "commandLine": "sh",
            "env": ["A=B"],
            "cwd": "/c",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]
            },
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 2, "soft": 1}],
            "noNewPrivileges": true,
            "apparmorProfile": "p",
            "oomScoreAdj": 1,
            "scheduler": {"policy": "SCHED_DEADLINE", "nice": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"], "runtime": 1, "deadline": 2, "period": 3},
            "selinuxLabel": "l",
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1},
            "execCPUAffinity": {"initial": "0", "final": "1"}
        },
        "mounts": [
            {"destination": "/m", "type": "bind", "source": "/s", "options": ["ridmap"], "uidMappings": map(7), "gidMappings": map(7)}
        ],
        "linux": {
            "uidMappings": map(200_000),
            "gidMappings": map(200_000),
            "sysctl": {"kernel.shmmax": "1"},
            "resources": {
                "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}],
                "memory": {
                    "limit": 1_000, "reservation": 500, "swap": 2_000, "swappiness": 1,
                    "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true
                },
                "cpu": {
                    "shares": 2, "quota": 1_000, "burst": 1, "period": 1_000, "realtimeRuntime": 1, "realtimePeriod": 1,
                    "cpus": "0", "mems": "0", "idle": 1
                },
                "pids": {"limit": 1},
                "blockIO": {
                    "weight": 10, "weightDevice": [{"major": 8, "minor": 1, "weight": 10}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 1}],
                    "throttleWriteBpsDevice": [{"major": 8, "minor": 1, "rate": 1}],
                    "throttleReadIOPSDevice": [{"major": 8, "minor": 1, "rate": 1}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 1}]
                },
                "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]},
                "rdma": {"mlx4_0": {"hcaHandles": 1, "hcaObjects": 1}},
                "unified": {"memory.high": "1"}
            },
            "cgroupsPath": "/g",
            "namespaces": [{"type": "network", "path": "/run/netns/n"}],
            "devices": [{"path": "/dev/d", "type": "b", "major": 8, "minor": 1, "fileMode": 384, "uid": 1, "gid": 1}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [{
                    "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                    "args": [{"index": 1, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]
                }]
            },
            "rootfsPropagation": "slave",
            "maskedPaths": ["/proc/keys"],
            "readonlyPaths": ["/proc/bus"],
            "mountLabel": "l",
            "personality": {"domain": "LINUX32"}
        }
    })
}

fn planned(document: &Value) -> Result<Plan, Refusal> {
    let loaded = spec::load(document.to_string().as_bytes())?;
    spec::plan(&loaded.value, &Request { id: "c", bundle: Path::new("/b"), terminal: true })
}

/// Removes the first value at `path`; false when there is none.
fn remove(document: &mut Value, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer: String = parent
        .split('.')
        .filter(|part| !part.is_empty())
        .fold(String::new(), |pointer, part| pointer + "/" + &part.replace("[]", "/0"));
    let parent = document.pointer_mut(&pointer).and_then(Value::as_object_mut);
    parent.is_some_and(|parent| parent.remove(name).is_some())
}

#[test]
fn the_table_has_the_properties_of_the_specification_and_no_others() {
    let table = table();
    for (parent, names) in SPECIFIED {
        let mut specified: Vec<_> = names.split_whitespace().collect();
        let place = |path: &str| path.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
        let mut listed: Vec<_> =
            table.iter().filter(|row| place(&row.path) == *parent).map(|row| row.field.name).collect();
        specified.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, specified, "{parent}");
    }
}

#[test]
fn every_refused_row_is_refused_by_its_name_and_only_with_a_value() {
    let mut refused = 0;
    for Row { path, field } in table() {
        let Verdict::Refused { why, .. } = field.verdict else { continue };
        refused += 1;
        let name = path.replace("[]", "[0]");
        for value in [json!({"x": 1}), json!([{"path": "/x", "limit": 1}]), json!("x"), json!(1)] {
            let (_, result) = checked(alone(&path, value));
            assert_eq!(result.expect_err("refused").to_string(), format!("{name}: {why}"));
        }
        for empty in [json!(null), json!({}), json!([]), json!(""), json!(0), json!(false)] {
            let (document, result) = checked(alone(&path, empty));
            // What stands around it may be incomplete in this document; the row itself is not what is refused.
            assert!(result.map_or_else(|refusal| refusal.field != name, |_| true), "{name}");
            let left = document.pointer(&format!("/{}", path.replace("[]", "/0").replace('.', "/")));
            assert_eq!(left, None, "{name} is left in the document");
        }
    }
    assert_eq!(refused, 16);
}

#[test]
fn every_carried_row_reaches_the_plan() {
    let whole = planned(&full()).expect("a plan");
    // Beside SCHED_DEADLINE the static priority must be 0.
    let elsewhere = ["process.scheduler.priority"];
    for Row { path, field } in table() {
        let mut document = full();
        let there = remove(&mut document, &path);
        match field.verdict {
            Verdict::Carried { .. } if elsewhere.contains(&path.as_str()) => assert!(!there),
            Verdict::Carried { required } => {
                assert!(there, "{path} has no value in the full document");
                let plan = planned(&document);
                assert_ne!(plan.as_ref(), Ok(&whole), "{path} does not matter");
                if required {
                    let refusal = plan.expect_err(&path).to_string();
                    assert_eq!(refusal, format!("{}: is missing", path.replace("[]", "[0]")));
                }
            }
            Verdict::Harmless { .. } => {
                assert!(there, "{path} has no value in the full document");
                assert_eq!(planned(&document), Ok(whole.clone()), "{path} is not harmless");
            }
            Verdict::Refused { .. } => assert!(!there),
        }
    }
    let mut real_time = full();
    real_time["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 3});
    let scheduler = planned(&real_time).expect("a plan").process.scheduler;
    assert_eq!(scheduler.map(|scheduler| scheduler.priority), Some(3));
}

#[test]
fn every_carried_row_has_one_type_and_null_is_nothing() {
    for Row { path, field } in table() {
        if matches!(field.verdict, Verdict::Refused { .. }) {
            continue;
        }
        let name = path.replace("[]", "[0]");
        let wrong = match field.shape {
            Shape::Any => continue,
            Shape::Text
            | Shape::CpuList
            | Shape::Name(_)
            | Shape::NameOrEmpty(_)
            | Shape::KnownName(_)
            | Shape::Renamed(_) => json!(1),
            Shape::Flag | Shape::Whole(..) => json!("1"),
            Shape::List(_) => json!({}),
            Shape::Map(_) | Shape::Object(_) => json!([]),
        };
        let (_, result) = checked(alone(&path, wrong));
        assert_eq!(result.expect_err("refused").field, name);
        let (_, result) = checked(alone(&path, Value::Null));
        let missing = |refusal: Refusal| assert_eq!(refusal.reason, "is missing");
        result.map(|_| ()).unwrap_or_else(missing);
    }
}

#[test]
fn what_the_specification_does_not_know_is_reported_and_left_out() {
    let (document, result) = checked(json!({
        "x\ny": 1,
        "Hooks": {"prestart": [{"path": "/x"}]},
        "linux": {"resources": {"memory": {"limit": 5, "frobnicate": {}}}},
        "mounts": [{"destination": "/a", "source": null, "fs": 1}]
    }));
    let report = result.expect("accepted");
    assert_eq!(report.unknown, ["Hooks", "linux.resources.memory.frobnicate", "mounts[0].fs", "x\u{fffd}y"]);
    assert_eq!(report.ignored, Vec::<String>::new());
    assert_eq!(document, json!({"linux": {"resources": {"memory": {"limit": 5}}}, "mounts": [{"destination": "/a"}]}));
    let many: Map<_, _> = (0..1000).map(|n| (format!("{n}{}", "x".repeat(1000)), json!(1))).collect();
    let unknown = checked(Value::Object(many)).1.expect("accepted").unknown;
    assert!(unknown.len() == 64 && unknown.iter().all(|name| name.len() == 200));
}

#[test]
fn what_is_accepted_without_effect_is_reported() {
    let (_, result) = checked(json!({
        "process": {"cwd": "/", "commandLine": "cmd", "user": {"username": "u"}},
        "linux": {"resources": {
            "memory": {"kernel": -1, "kernelTCP": 0}, "blockIO": {"leafWeight": 0}
        }}
    }));
    let expected = [
        "linux.resources.memory.kernel: is accepted, though nothing is done for it",
        "process.commandLine: is for Windows; process.args says what runs",
        "process.user.username: is for Windows; process.user.uid says who runs",
    ];
    let mut ignored = result.expect("accepted").ignored;
    ignored.sort_unstable();
    assert_eq!(ignored, expected);
}

#[test]
fn the_rows_of_resources_are_those_of_an_update() {
    let mut resources = json!({"pids": {}, "blockIO": {"weight": 10, "leafWeight": 5}});
    let refusal = check(&mut resources, super::linux::RESOURCES, "linux.resources").expect_err("refused").to_string();
    assert!(refusal.starts_with("linux.resources.blockIO.leafWeight: was the CFQ scheduler's"), "{refusal}");
    let loaded = spec::load_resources(br#"{"pids": {}, "memory": {"limit": 5}, "x": 1}"#).expect("resources");
    assert_eq!(loaded.unknown, ["linux.resources.x"]);
    let plan = spec::plan_update(&loaded.value).expect("a plan");
    assert_eq!(plan, crate::plan::Resources { memory_limit: Some(5), ..Default::default() });
    let refusal = spec::load_resources(b"[]").expect_err("refused").to_string();
    assert_eq!(refusal, "linux.resources: is not an object");
}

#[test]
fn the_rows_of_a_process_are_those_of_an_exec() {
    let mut process = json!({"cwd": "/", "user": {"uid": -1}});
    let refusal = check(&mut process, PROCESS, "process").expect_err("refused").to_string();
    assert_eq!(refusal, "process.user.uid: -1 is not a whole number from 0 to 4294967295");
}
