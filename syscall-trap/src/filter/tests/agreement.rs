//! Profiles on which a program of ours and one of libseccomp agree.
//!
//! Invariant: every operator, action, ABI and way of joining rules that [`super::super::compile`] promises is in one.

use libseccomp::ScmpSyscall;
use serde_json::{Value, json};

use super::{
    super::{abi::Abi, compile_for},
    interpreter::{Data, run},
    oracle::{Oracle, compare, parse},
};

/// The ABIs of x86, as in every engine's profile.
pub(super) const ALL: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

fn differences(native: Abi, json: Value) -> Result<(), String> {
    let seccomp = parse(json);
    let ours = compile_for(native, &seccomp).unwrap();
    let oracle = Oracle::new(native, &seccomp);
    let oracle = oracle.unwrap_or_else(|| panic!("libseccomp refuses {}", serde_json::to_string(&seccomp).unwrap()));
    compare(&seccomp, &ours.program.instructions, &oracle)
}

#[track_caller]
fn agree(json: Value) {
    assert_eq!(differences(Abi::X86_64, json), Ok(()));
}

/// A profile of the shape of Docker's and containerd's: allow all but some eighty, with conditions for four.
fn default_profile() -> Value {
    const DENIED: &str = "_sysctl acct add_key afs_syscall bdflush bpf break clock_settime clock_settime64 create_module \
        delete_module finit_module fsconfig fsmount fsopen fspick ftime get_kernel_syms getpmsg gtty init_module ioperm \
        iopl kcmp kexec_file_load kexec_load keyctl lock lookup_dcookie migrate_pages mount mount_setattr move_mount \
        move_pages mpx nfsservctl oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at open_tree \
        perf_event_open pidfd_getfd pivot_root process_madvise process_vm_writev prof profil ptrace putpmsg \
        query_module quotactl quotactl_fd reboot request_key security set_mempolicy setdomainname sethostname setns \
        settimeofday stime stty swapoff swapon sysfs syslog tuxcall ulimit umount umount2 unshare uselib userfaultfd \
        ustat vhangup vm86 vm86old vserver clone clone3 personality socket";
    let denied: Vec<_> = DENIED.split_whitespace().collect();
    let mut names: Vec<_> =
        [Abi::X86_64, Abi::I386].iter().flat_map(|abi| abi.table()).map(|&(name, _)| name).collect();
    names.retain(|name| !denied.contains(name) && ScmpSyscall::from_name(name).is_ok());
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 370, "{}", names.len());
    let mut entries = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    for value in [0u64, 8, 0x20000, 0x20008, 0xffff_ffff] {
        let args = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
        entries.push(json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args}));
    }
    entries.extend([
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
    ]);
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ALL, "syscalls": entries})
}

#[test]
fn engines_default_profile() {
    agree(default_profile());
}

#[test]
fn engines_default_profile_has_a_short_worst_path() {
    let program = compile_for(Abi::X86_64, &parse(default_profile())).unwrap().program;
    let longest = |abi: Abi| {
        let steps = |nr| run(&program.instructions, &Data { nr, arch: abi.audit_arch(), args: [1; 6] }).1;
        (0..600).map(steps).max().unwrap()
    };
    // A load and a comparison for the ABI, a load and the depth of the search, the values of personality(2).
    assert!(longest(Abi::X86_64) <= 32, "{}", longest(Abi::X86_64));
    // The same with the sub-calls of socketcall(2), which are tried in turn.
    assert!(longest(Abi::I386) <= 60, "{}", longest(Abi::I386));
    assert!(program.instructions.len() < 1000, "{}", program.instructions.len());
}

/// One rule per condition, all for calls that every ABI has.
fn with_conditions(default: &str, rules: &[(&str, &str, Value)]) -> Value {
    let entries = rules.iter().map(|(name, action, args)| {
        let args: Vec<_> = args.as_array().unwrap().iter().map(|arg| {
            json!({"index": arg[0], "op": format!("SCMP_CMP_{}", arg[1].as_str().unwrap()), "value": arg[2], "valueTwo": arg[3].as_u64()})
        }).collect();
        json!({"names": [name], "action": format!("SCMP_ACT_{action}"), "args": args})
    });
    // A new call keeps ENOSYS out of the way.
    let new = json!({"names": ["futex_waitv"], "action": "SCMP_ACT_LOG"});
    let entries: Vec<_> = entries.chain([new]).collect();
    json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": ALL, "syscalls": entries})
}

#[test]
fn every_operator_at_every_boundary() {
    for op in ["EQ", "NE", "LT", "LE", "GT", "GE"] {
        for value in [0, 1, 7, u64::from(u32::MAX), 1 << 32, (1 << 32) + 5, 0xdead_beef_0000_0007, u64::MAX] {
            agree(with_conditions("ERRNO", &[("ioctl", "ALLOW", json!([[1, op, value]]))]));
        }
    }
    for (mask, value) in
        [(0, 0u64), (1u64, 1), (0xff, 0x1ff), (0xff << 32, 0), (0xff << 32, 7 << 32), (u64::MAX, 5), (6 << 30, 2 << 30)]
    {
        agree(with_conditions("KILL", &[("ioctl", "ALLOW", json!([[1, "MASKED_EQ", mask, value]]))]));
    }
}

#[test]
fn several_conditions_and_rules() {
    let all_of = json!([[0, "GE", 3], [1, "MASKED_EQ", 12, 8], [2, "NE", 5u64 << 32]]);
    agree(with_conditions("ERRNO", &[("ioctl", "ALLOW", all_of.clone())]));
    let any_of = json!([[1, "EQ", 4], [1, "EQ", 9], [2, "GT", 7]]);
    agree(with_conditions("ERRNO", &[("ioctl", "ALLOW", any_of.clone())]));
    agree(with_conditions("TRAP", &[("ioctl", "ALLOW", all_of), ("ioctl", "ALLOW", any_of)]));
    // Some conditions, and none.
    let rules = [("ioctl", "ALLOW", json!([[1, "EQ", 4]])), ("ioctl", "LOG", json!([])), ("ioctl", "TRAP", json!([]))];
    agree(with_conditions("ERRNO", &rules));
    let [some, none, _] = rules;
    agree(with_conditions("ERRNO", &[none, some]));
}

#[test]
fn actions_and_their_values() {
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG"] {
        for default in ["ERRNO", "ALLOW", "KILL_PROCESS", "LOG", "TRACE", "TRAP"] {
            let mut json =
                with_conditions(default, &[("read", action, json!([])), ("ioctl", action, json!([[0, "EQ", 1]]))]);
            agree(json.clone());
            json["defaultErrnoRet"] = json!(38);
            json["syscalls"][0]["errnoRet"] = json!(0);
            json["syscalls"][1]["errnoRet"] = json!(4094);
            agree(json);
        }
    }
}

#[test]
fn overlapping_ranges_with_several_actions() {
    let ge = |value: u64| json!([[1, "GE", value]]);
    let lt = |value: u64| json!([[1, "LT", value]]);
    let eq = |value: u64| json!([[1, "EQ", value]]);
    agree(with_conditions("ERRNO", &[("ioctl", "ALLOW", ge(10)), ("ioctl", "TRAP", ge(20))]));
    agree(with_conditions("ERRNO", &[("ioctl", "TRAP", ge(20)), ("ioctl", "ALLOW", ge(10))]));
    agree(with_conditions("ERRNO", &[("ioctl", "ALLOW", lt(20)), ("ioctl", "TRAP", lt(10))]));
    agree(with_conditions("ALLOW", &[("ioctl", "KILL", ge(10)), ("ioctl", "LOG", eq(15)), ("ioctl", "TRAP", lt(5))]));
}

#[test]
fn architectures() {
    let calls = json!([{"names": ["read", "write", "ioctl", "mmap2", "futex_waitv"], "action": "SCMP_ACT_ALLOW"}]);
    let lists = [
        json!([]),
        json!(["SCMP_ARCH_X86"]),
        json!(["SCMP_ARCH_X32"]),
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]),
        json!(["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86"]),
        json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"]),
    ];
    for list in lists {
        for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS"] {
            let action = if default == "SCMP_ACT_ALLOW" { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" };
            let mut calls = calls.clone();
            calls[0]["action"] = json!(action);
            agree(json!({"defaultAction": default, "architectures": list, "syscalls": calls}));
        }
    }
    agree(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    agree(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}));
}

#[test]
fn enosys_for_what_is_newer_than_the_profile() {
    for names in [json!(["read"]), json!(["read", "write"]), json!(["statx", "exit_group"]), json!(["io_uring_setup"])]
    {
        for default in ["ERRNO", "KILL", "TRAP", "ALLOW", "LOG", "TRACE"] {
            let action = if default == "ALLOW" { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" };
            agree(json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": ALL,
                "syscalls": [{"names": names, "action": action}]}));
        }
    }
}

#[test]
fn arm() {
    let entry = |name: &str, op: &str, value: u64| {
        json!({"names": [name], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value, "valueTwo": 4, "op": format!("SCMP_CMP_{op}")}]})
    };
    let calls = json!([{"names": ["read", "mount", "mmap2", "mmap", "openat2", "semop", "futex_waitv"], "action": "SCMP_ACT_ALLOW"},
        entry("socket", "NE", 40), entry("ioctl", "LT", (1 << 32) + 9), entry("clone", "MASKED_EQ", (1 << 33) + 6)]);
    for list in [json!([]), json!(["SCMP_ARCH_ARM"]), json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X86"])] {
        for default in ["ERRNO", "TRACE", "KILL"] {
            let default = format!("SCMP_ACT_{default}");
            let json = json!({"defaultAction": default, "architectures": list, "syscalls": calls});
            assert_eq!(differences(Abi::Aarch64, json), Ok(()));
        }
    }
}
