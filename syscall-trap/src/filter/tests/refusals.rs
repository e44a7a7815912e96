//! Tests of what is refused, of the message, and of the near miss that compiles.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::super::compile;

fn profile(changes: Value) -> LinuxSeccomp {
    let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []});
    for (key, value) in changes.as_object().unwrap() {
        profile[key] = value.clone();
    }
    serde_json::from_value(profile).unwrap()
}

fn entry(fields: Value) -> Value {
    let mut entry = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    for (key, value) in fields.as_object().unwrap() {
        entry[key] = value.clone();
    }
    json!({"syscalls": [{"names": ["write"], "action": "SCMP_ACT_LOG"}, entry]})
}

#[track_caller]
fn refused(changes: Value, line: &str) {
    assert_eq!(compile(&profile(changes)).unwrap_err().to_string(), line);
}

#[track_caller]
fn compiles(changes: Value) {
    compile(&profile(changes)).unwrap();
}

#[test]
fn notify_and_what_belongs_to_it() {
    refused(
        entry(json!({"action": "SCMP_ACT_NOTIFY"})),
        "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY is not supported",
    );
    compiles(entry(json!({"action": "SCMP_ACT_TRAP"})));
    refused(
        json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported",
    );
    compiles(json!({"defaultAction": "SCMP_ACT_TRACE"}));
    let unused = "is of use only to SCMP_ACT_NOTIFY, which is not supported";
    refused(json!({"listenerPath": "/run/agent.sock"}), &format!("linux.seccomp.listenerPath: {unused}"));
    refused(json!({"listenerMetadata": "x"}), &format!("linux.seccomp.listenerMetadata: {unused}"));
    compiles(json!({"listenerPath": "", "listenerMetadata": ""}));
    refused(
        json!({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
        "linux.seccomp.flags[1]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY, which is not supported",
    );
}

#[test]
fn values_out_of_range() {
    for (action, most) in [("SCMP_ACT_ERRNO", 4095), ("SCMP_ACT_TRACE", 65535)] {
        let more = most + 1;
        refused(
            entry(json!({"action": action, "errnoRet": more})),
            &format!("linux.seccomp.syscalls[1].errnoRet: \"{more}\" is more than {most}"),
        );
        compiles(entry(json!({"action": action, "errnoRet": most})));
        refused(
            json!({"defaultAction": action, "defaultErrnoRet": more}),
            &format!("linux.seccomp.defaultErrnoRet: \"{more}\" is more than {most}"),
        );
        compiles(json!({"defaultAction": action, "defaultErrnoRet": most}));
    }
    // No other action has a value, and runc does not look at it there.
    compiles(entry(json!({"action": "SCMP_ACT_KILL", "errnoRet": 70000})));
    let args = |index| json!({"args": [{"index": index, "value": 1, "op": "SCMP_CMP_EQ"}]});
    refused(entry(args(6)), "linux.seccomp.syscalls[1].args[0].index: \"6\" is no argument of a system call (0 to 5)");
    compiles(entry(args(5)));
    refused(entry(json!({"names": ["read", ""]})), "linux.seccomp.syscalls[1].names: a name is empty");
}

#[test]
fn contradictions() {
    let two = |first: &str, second: &str, value: u64| {
        let args = |value| json!([{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]);
        json!({"syscalls": [
            {"names": ["ioctl"], "action": first, "args": args(7)},
            {"names": ["ioctl"], "action": second, "args": args(value)},
        ]})
    };
    refused(
        two("SCMP_ACT_ALLOW", "SCMP_ACT_KILL", 7),
        "linux.seccomp.syscalls[1]: an earlier entry has the same call and conditions with another action",
    );
    compiles(two("SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", 7));
    compiles(two("SCMP_ACT_ALLOW", "SCMP_ACT_KILL", 8));
}

#[test]
fn programs_that_the_kernel_would_not_take() {
    let rules = |count: u64| {
        let rule = |value| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]})
        };
        json!({"syscalls": (0..count).map(rule).collect::<Vec<_>>()})
    };
    refused(rules(817), "linux.seccomp: needs 4099 instructions, the kernel takes 4096");
    compiles(rules(816));
}

#[test]
fn flags_have_the_kernels_bits() {
    let flags = |names: Value| compile(&profile(json!({ "flags": names }))).unwrap().program.flags;
    assert_eq!(flags(json!([])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 1);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), 6);
    assert_eq!(compile(&profile(json!({}))).unwrap().program.flags, 0);
}

#[test]
fn unknown_names_are_left_out_and_reported() {
    let compiled =
        compile(&profile(entry(json!({"names": ["read", "mount3", "socketcall", "mount3", "frob"]})))).unwrap();
    assert_eq!(compiled.unknown, ["mount3", "frob"]);
    let without = compile(&profile(entry(json!({"names": ["read", "socketcall"]})))).unwrap();
    assert_eq!(compiled.program, without.program);
}
