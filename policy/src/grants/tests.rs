//! Plans of engines, as the config leaves them.

use serde_json::{Value, json};

use super::*;

const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;

/// A container of Docker's with the fourteen, read-only /sys and cgroups, and the paths that Docker hides.
fn docker() -> Value {
    let usual: Vec<String> = (0..64).filter(|bit| USUAL & 1 << bit != 0).map(crate_name).collect();
    let hard = ["nosuid", "noexec", "nodev"];
    json!({
        "process": { "args": ["true"], "cwd": "/",
            "capabilities": { "bounding": usual, "effective": usual, "permitted": usual } },
        "root": { "path": "/r" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": hard },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["ro", "nosuid", "noexec", "nodev"] },
            { "destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro"] },
        ],
        "linux": {
            "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/kallsyms", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                { "names": ["read", "mount"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ" }] },
                { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
                { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }] },
                { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
                { "names": ["swapon", "umount2"], "action": "SCMP_ACT_KILL" },
            ] },
        },
    })
}

fn crate_name(bit: u32) -> String {
    crate::fields::common::CAPABILITY_NAMES[bit as usize].to_owned()
}

fn plan(spec: &Value) -> Plan {
    let loaded = crate::spec::load(spec.to_string().as_bytes()).expect("a spec");
    let request = crate::spec::Request { id: "c", bundle: std::path::Path::new("/b"), terminal: false };
    crate::spec::plan(&loaded.value, &request).expect("a plan")
}

fn system(spec: &Value) -> Plan {
    container(plan(spec), Grants::System)
}

fn paths(paths: &[ContainerPath]) -> Vec<&str> {
    paths.iter().map(ContainerPath::as_str).collect()
}

#[test]
fn without_a_grant_a_plan_is_the_specs() {
    assert_eq!(container(plan(&docker()), Grants::Spec), plan(&docker()));
    let process = plan(&docker()).process;
    assert_eq!(super::process(process.clone(), Grants::Spec), process);
}

#[test]
fn root_has_every_capability_but_those_that_were_dropped() {
    let capabilities = |change: &dyn Fn(&mut Value)| {
        let mut spec = docker();
        change(&mut spec["process"]);
        system(&spec).process.capabilities
    };
    let all = Capabilities { bounding: EVERY, effective: EVERY, permitted: EVERY, ..Default::default() };
    assert_eq!(capabilities(&|_| {}), all);
    let dropped = capabilities(&|process| {
        for set in ["bounding", "effective", "permitted"] {
            process["capabilities"][set].as_array_mut().unwrap().retain(|name| name != "CAP_NET_RAW");
        }
    });
    assert_eq!([dropped.bounding, dropped.effective, dropped.permitted], [EVERY & !NET_RAW; 3]);
    assert_ne!(dropped.bounding & SYS_ADMIN, 0);
    // Dropping all is dropping all, with what was added again or not.
    assert_eq!(capabilities(&|process| process["capabilities"] = json!({})), Capabilities::default());
    // An inheritable set is only ever the spec's.
    let inherited = capabilities(&|process| process["capabilities"]["inheritable"] = json!(["CAP_CHOWN"]));
    assert_eq!((inherited.inheritable, inherited.ambient, inherited.bounding), (1, 0, EVERY));
}

#[test]
fn any_other_user_has_the_specs_capabilities() {
    let mut spec = docker();
    spec["process"]["user"] = json!({ "uid": 1000, "gid": 0 });
    assert_eq!(system(&spec).process.capabilities, plan(&spec).process.capabilities);
}

#[test]
fn proc_sys_and_the_cgroup_tree_are_writable_and_nothing_else() {
    let plan = system(&docker());
    assert_eq!(paths(&plan.masked_paths), ["/proc/asound", "/proc/acpi", "/proc/keys", "/sys/firmware"]);
    assert_eq!(paths(&plan.readonly_paths), ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"]);
    let read_only =
        plan.mounts.iter().filter(|mount| mount.flags.set & RDONLY != 0 || mount.recursive_flags.set & RDONLY != 0);
    assert_eq!(read_only.map(|mount| mount.destination.as_str()).collect::<Vec<_>>(), ["/data"]);
    assert!(plan.mounts[1..3].iter().all(|mount| mount.flags.set & NOSUID_NODEV_NOEXEC == NOSUID_NODEV_NOEXEC));
}

#[test]
fn a_spec_without_cgroups_gets_them_after_its_sysfs() {
    let destinations = |mounts: Value| {
        let mut spec = docker();
        spec["mounts"] = mounts;
        let plan = system(&spec);
        plan.mounts.iter().map(|mount| mount.destination.to_string()).collect::<Vec<_>>()
    };
    let sysfs = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] });
    let below = json!({ "destination": "/sys/fs/cgroup/x", "type": "tmpfs", "source": "tmpfs" });
    let bound = json!({ "destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind"] });
    assert_eq!(destinations(json!([sysfs, below])), ["/sys", "/sys/fs/cgroup", "/sys/fs/cgroup/x"]);
    assert_eq!(destinations(json!([bound])), ["/sys"]);
    assert_eq!(destinations(json!([])), Vec::<String>::new());
}

/// The rules of a call: action and whether it has conditions.
fn rules(profile: &oci_spec::runtime::LinuxSeccomp, call: &str) -> Vec<(String, bool)> {
    let rules = profile.syscalls().as_deref().unwrap_or_default().iter();
    let rules = rules.filter(|rule| rule.names().iter().any(|name| name == call));
    rules.map(|rule| (format!("{:?}", rule.action()), rule.args().is_some())).collect()
}

#[test]
fn a_profile_of_what_is_allowed_allows_system_calls_of_any_argument() {
    let profile = system(&docker()).process.seccomp.expect("a profile");
    let allowed = || vec![("ScmpActAllow".to_owned(), false)];
    for call in ["mount", "clone", "clone3", "umount2", "pivot_root", "fsopen", "setns", "keyctl", "read"] {
        assert_eq!(rules(&profile, call), allowed(), "{call}");
    }
    for call in ["socket", "personality"] {
        assert_eq!(rules(&profile, call), [("ScmpActAllow".to_owned(), true)], "{call}");
    }
    assert_eq!(rules(&profile, "swapon"), [("ScmpActKill".to_owned(), false)]);
    for call in ["bpf", "perf_event_open", "init_module", "kexec_load", "io_uring_setup", "settimeofday"] {
        assert_eq!(rules(&profile, call), [], "{call}");
    }
    // A profile that does not speak of personality(2) gives it whole.
    let mut spec = docker();
    spec["linux"]["seccomp"]["syscalls"] = json!([]);
    assert_eq!(rules(&system(&spec).process.seccomp.expect("a profile"), "personality"), allowed());
}

#[test]
fn a_list_of_refusals_stays_what_it_is() {
    let mut spec = docker();
    spec["linux"]["seccomp"] =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }] });
    assert_eq!(system(&spec).process.seccomp, plan(&spec).process.seccomp);
    spec["linux"].as_object_mut().unwrap().remove("seccomp");
    assert_eq!(system(&spec).process.seccomp, None);
}
