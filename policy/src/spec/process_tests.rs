//! Processes as specs and exec requests write them.

use serde_json::{Value, json};

use super::*;
use crate::plan::Capabilities;
use crate::spec::load_process;

const MAP: IdMap = IdMap { host: 100_000, size: 65536 };

fn least() -> Value {
    json!({"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}})
}

fn with(name: &str, value: Value) -> Value {
    let mut process = least();
    process[name] = value;
    process
}

fn exec(process: &Value, init: &Value, terminal: bool) -> Result<Process, String> {
    let load = |json: &Value| load_process(json.to_string().as_bytes()).map(|loaded| loaded.value);
    let init = own(&load(init).expect("init"), false).expect("init");
    let process = load(process).map_err(|refusal| refusal.to_string())?;
    plan_process(&process, &Exec { map: MAP, init: &init, terminal }).map_err(|refusal| refusal.to_string())
}

fn planned(process: &Value) -> Result<Process, String> {
    exec(process, &least(), false)
}

fn refusal(name: &str, value: Value) -> String {
    planned(&with(name, value)).expect_err("refused")
}

#[test]
fn the_command_must_name_a_program() {
    assert_eq!(planned(&least()).expect("a process").args, ["sh"]);
    assert_eq!(refusal("args", json!([])), "process.args: is empty; it must name a program");
    assert_eq!(refusal("args", json!(null)), "process.args: is empty; it must name a program");
    assert_eq!(refusal("args", json!(["", "x"])), "process.args[0]: is empty");
    assert_eq!(refusal("args", json!(["sh", "a\0b"])), "process.args[1]: \"a\\0b\" has a NUL byte");
    assert_eq!(refusal("args", json!(["sh", null])), "process.args[1]: is not a string");
    assert_eq!(refusal("env", json!(["A=\0secret"])), "process.env[0]: has a NUL byte");
    assert_eq!(planned(&with("env", json!(["A", "B="]))).expect("a process").env, ["A", "B="]);
}

#[test]
fn the_directory_is_absolute() {
    assert_eq!(refusal("cwd", json!("tmp")), "process.cwd: \"tmp\" is not an absolute path");
    assert_eq!(refusal("cwd", json!("")), "process.cwd: \"\" is not an absolute path");
    assert_eq!(refusal("cwd", json!(null)), "process.cwd: is missing");
    assert_eq!(planned(&with("cwd", json!("/a/./b/"))).expect("a process").cwd.as_str(), "/a/b");
}

#[test]
fn users_outside_the_map_are_refused_and_never_wrapped() {
    let user = |user: Value| planned(&with("user", user)).map(|process| (process.uid, process.gid));
    assert_eq!(user(json!({"uid": 65535, "gid": 1})), Ok((65535, 1)));
    assert_eq!(user(json!(null)), Ok((0, 0)));
    let outside = "is outside the container's ids, which are 0 to 65535";
    for (json, message) in [
        (json!({"uid": 65536}), format!("uid: 65536 {outside}")),
        (json!({"uid": 0, "gid": 4_294_967_295_u32}), format!("gid: 4294967295 {outside}")),
        (json!({"additionalGids": [1, 70_000]}), format!("additionalGids[1]: 70000 {outside}")),
        (json!({"uid": 4_294_967_296_u64}), "uid: 4294967296 is not a whole number from 0 to 4294967295".into()),
        (json!({"uid": -1}), "uid: -1 is not a whole number from 0 to 4294967295".into()),
        (json!({"uid": "0"}), "uid: \"0\" is not a whole number from 0 to 4294967295".into()),
        (json!({"umask": 512}), "umask: 512 (0o1000) is more than 0o777".into()),
    ] {
        assert_eq!(user(json), Err(format!("process.user.{message}")));
    }
}

#[test]
fn the_terminal_is_agreed_upon() {
    for request in [false, true] {
        for spec in [false, true] {
            assert_eq!(exec(&with("terminal", json!(spec)), &least(), request).expect("a process").terminal, request);
        }
    }
    let refused = |spec: bool| agreed(spec, !spec).expect_err("refused").to_string();
    assert_eq!(refused(true), "process.terminal: is true, but the request gives no terminal");
    assert_eq!(refused(false), "process.terminal: is false, but the request gives a terminal");
    assert_eq!((agreed(true, true), agreed(false, false)), (Ok(true), Ok(false)));
    let size = |height: u64, width: u64| {
        planned(&with("consoleSize", json!({"height": height, "width": width}))).expect("a process").console_size
    };
    assert_eq!(size(24, 80), Some((80, 24)));
    assert_eq!(size(0, 80), None);
    assert_eq!(size(24, 1 << 40), Some((65535, 24)));
}

#[test]
fn limits_are_numbered_and_checked() {
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_RTTIME", "soft": 0, "hard": 18_446_744_073_709_551_615_u64}]);
    let plan = planned(&with("rlimits", limits)).expect("a process").rlimits;
    assert_eq!(plan, [Rlimit { resource: 7, soft: 1, hard: 2 }, Rlimit { resource: 15, soft: 0, hard: u64::MAX }]);
    for (number, name) in crate::fields::common::RLIMIT_NAMES.iter().enumerate() {
        let typ: PosixRlimitType = serde_json::from_value((*name).into()).expect(name);
        assert_eq!(resource(typ) as usize, number);
    }
    let limit = |name: &str, soft: u64| json!({"type": name, "soft": soft, "hard": 5});
    assert_eq!(
        refusal("rlimits", json!([limit("RLIMIT_AS", 1), limit("RLIMIT_AS", 2)])),
        "process.rlimits[1]: RLIMIT_AS is listed twice"
    );
    assert_eq!(
        refusal("rlimits", json!([limit("RLIMIT_AS", 6)])),
        "process.rlimits[0]: the soft limit 6 of RLIMIT_AS is above its hard limit 5"
    );
    assert_eq!(
        refusal("rlimits", json!([limit("RLIMIT_LUCK", 1)])),
        "process.rlimits[0].type: \"RLIMIT_LUCK\" is not known"
    );
    assert_eq!(refusal("oomScoreAdj", json!(1001)), "process.oomScoreAdj: 1001 is not from -1000 to 1000");
    assert_eq!(planned(&with("oomScoreAdj", json!(-1000))).expect("a process").oom_score_adj, Some(-1000));
}

#[test]
fn affinity_is_a_list_of_cpus() {
    let affinity = |value: Value| {
        planned(&with("execCPUAffinity", value))
            .map(|process| (process.cpu_affinity_initial, process.cpu_affinity_final))
    };
    assert_eq!(affinity(json!({"initial": "0-3,7", "final": ""})), Ok((Some("0-3,7".into()), None)));
    let refused = affinity(json!({"initial": "0", "final": "3-0"})).expect_err("refused");
    assert_eq!(refused, "process.execCPUAffinity.final: \"3-0\" is not a list of numbers and ranges like 0-3,7");
}

#[test]
fn scheduler_flags_have_the_names_of_the_specification() {
    let flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_UTIL_CLAMP_MAX"];
    let scheduler = planned(&with("scheduler", json!({"policy": "SCHED_OTHER", "flags": flags}))).expect("a process");
    assert_eq!(scheduler.scheduler.expect("a scheduler").flags, 0x45);
    let unknown = json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_LUCKY"]});
    assert_eq!(refusal("scheduler", unknown), "process.scheduler.flags[0]: \"SCHED_FLAG_LUCKY\" is not known");
    assert_eq!(refusal("scheduler", json!({"nice": 1})), "process.scheduler.policy: is missing");
}

#[test]
fn profiles_of_engines_are_told_from_those_of_users() {
    let profile = |name: &str| planned(&with("apparmorProfile", json!(name))).expect("a process").apparmor;
    for name in ENGINE_PROFILES {
        assert_eq!(profile(name), Some(AppArmor { profile: (*name).into(), engine_default: true }));
    }
    assert_eq!(profile("mine"), Some(AppArmor { profile: "mine".into(), engine_default: false }));
    assert_eq!((profile(""), profile("unconfined")), (None, None));
}

#[test]
fn capabilities_of_a_newer_kernel_are_reported() {
    let process = with("capabilities", json!({"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"], "ambient": []}));
    let loaded = load_process(process.to_string().as_bytes()).expect("a process");
    assert_eq!(loaded.unknown, ["process.capabilities.bounding[1] \"CAP_TIME_TRAVEL\""]);
    assert_eq!(
        planned(&process).expect("a process").capabilities,
        Capabilities { bounding: 1 << 5, ..Capabilities::default() }
    );
}

#[test]
fn an_exec_takes_over_the_confinement_that_it_leaves_out() {
    let init = json!({
        "args": ["init"], "cwd": "/", "user": {"uid": 0, "gid": 0, "umask": 18},
        "capabilities": {"bounding": ["CAP_KILL"]},
        "noNewPrivileges": true, "apparmorProfile": "mine", "selinuxLabel": "label",
        "rlimits": [{"type": "RLIMIT_AS", "soft": 1, "hard": 1}],
        "oomScoreAdj": 7, "execCPUAffinity": {"final": "1"}
    });
    let plan = exec(&least(), &init, false).expect("a process");
    assert_eq!(plan.capabilities.bounding, 1 << 5);
    assert!(plan.no_new_privileges && plan.apparmor.is_some_and(|profile| profile.profile == "mine"));
    assert_eq!((plan.selinux_label.as_deref(), plan.rlimits.len(), plan.umask), (Some("label"), 1, Some(18)));
    assert_eq!((plan.oom_score_adj, plan.cpu_affinity_final.as_deref()), (Some(7), Some("1")));

    let mut own = least();
    own["capabilities"] = json!({});
    own["noNewPrivileges"] = json!(false);
    own["apparmorProfile"] = json!("unconfined");
    own["oomScoreAdj"] = json!(8);
    let plan = exec(&own, &init, false).expect("a process");
    assert_eq!((plan.capabilities, plan.no_new_privileges), (Capabilities::default(), false));
    assert_eq!((plan.apparmor, plan.oom_score_adj), (None, Some(8)));
}
