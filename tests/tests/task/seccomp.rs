//! The spec's seccomp profile, by what calls do under it.

use serde_json::{Value, json};
use tests::{Bundle, Container};

/// The shape of Docker's default profile: what is not listed fails, some calls by their arguments.
fn default_profile() -> Value {
    let personality = |value: u64| {
        json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }] })
    };
    // The namespaces' flags of clone(2).
    let clone = json!([{ "index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    let mut syscalls = vec![
        json!({ "names": ALLOWED.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": clone }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }),
    ];
    syscalls.extend([0, 8, 0x20000, 0x20008, 0xffff_ffff].map(personality));
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": syscalls })
}

pub(super) const ALLOWED: &str = "access arch_prctl brk chdir close dup dup2 execve exit exit_group faccessat fcntl fork fstat \
    futex getcwd getdents64 getegid geteuid getgid getpid getppid getrandom gettid getuid ioctl lseek lstat mmap \
    mprotect munmap nanosleep clock_nanosleep newfstatat open openat pipe2 poll prctl pread64 prlimit64 read readlink \
    readlinkat rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sendfile set_robust_list set_tid_address \
    stat statx sysinfo uname vfork wait4 write writev";

fn allow_but(names: &[&str], action: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": names, "action": action }] })
}

fn with(profile: &Value) -> Bundle {
    Bundle::new().with_inside().set("/linux/seccomp", profile.clone())
}

/// A call's name, how `/inside` makes it, and its answer.
const CALLS: [(&str, &str, &str); 9] = [
    ("getpid", "syscall 39", "ok"),
    ("personality, a value of the list", "syscall 135 0xffffffff", "ok"),
    ("personality, another", "syscall 135 0x4000000", "EPERM"),
    ("mount", "syscall 165 0 0 0", "EPERM"),
    ("clone with a namespace", "syscall 56 0x10000000", "EPERM"),
    ("clone3", "syscall 435 0 0", "ENOSYS"),
    ("getpid of 32 bits", "syscall32 20", "ok"),
    ("mount of 32 bits", "syscall32 21 0 0 0", "EPERM"),
    ("personality of 32 bits", "syscall32 136 0x4000000", "EPERM"),
];

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_profile_of_dockers_shape_decides_by_call_argument_and_abi() {
    for no_new_privileges in [true, false] {
        let user = json!({ "uid": 1000, "gid": 1000 });
        let bundle = with(&default_profile()).set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = Container::sleeping(bundle.set("/process/user", user)).await;
        for (call, verb, answer) in CALLS {
            let args: Vec<&str> = ["/inside"].into_iter().chain(verb.split(' ')).collect();
            let output = container.exec(&args).await;
            assert_eq!(output.stdout.trim(), answer, "{call}: {output:?}");
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
        assert_eq!(super::process::status(&status, "Seccomp"), "2");
        container.end().await;
    }
    let init = with(&default_profile()).args(&["/inside", "syscall", "135", "0x4000000"]).run().await;
    assert_eq!(init.stdout.trim(), "EPERM");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn each_action_does_what_it_says() {
    // A call that does no harm: sysinfo(2) with a null pointer is EFAULT when it is let through.
    let sysinfo = ["/inside", "syscall", "99", "0"];
    for (action, answer, status) in [
        ("SCMP_ACT_ALLOW", "EFAULT", 1),
        ("SCMP_ACT_LOG", "EFAULT", 1),
        ("SCMP_ACT_ERRNO", "EPERM", 1),
        ("SCMP_ACT_TRACE", "ENOSYS", 1),
        ("SCMP_ACT_TRAP", "", 128 + 31),
        ("SCMP_ACT_KILL", "", 128 + 31),
        ("SCMP_ACT_KILL_THREAD", "", 128 + 31),
        ("SCMP_ACT_KILL_PROCESS", "", 128 + 31),
    ] {
        let container = Container::sleeping(with(&allow_but(&["sysinfo"], action))).await;
        let output = container.exec(&sysinfo).await;
        assert_eq!((output.stdout.trim(), output.status), (answer, status), "{action}");
        container.end().await;
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_call_through_an_abi_that_the_profile_does_not_list_is_killed() {
    let mut profile = allow_but(&["sysinfo"], "SCMP_ACT_ERRNO");
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    let output = with(&profile).args(&["/inside", "syscall32", "20"]).run().await;
    // init: pid 1 is killed too.
    assert_eq!(output.status, 128 + 31, "{output:?}");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let profile = || allow_but(&["sysinfo"], "SCMP_ACT_ERRNO");
    let arg = |index: u32, op: &str| json!([{ "index": index, "value": 1, "op": op }]);
    for (pointer, value, message) in [
        (
            "/defaultAction",
            json!("SCMP_ACT_NOTIFY"),
            "linux.seccomp.defaultAction: \"SCMP_ACT_NOTIFY\" needs a listener",
        ),
        ("/syscalls/0/action", json!("SCMP_ACT_NOTIFY"), "linux.seccomp.syscalls[0].action: \"SCMP_ACT_NOTIFY\" needs"),
        ("/listenerPath", json!("/run/l"), "linux.seccomp.listenerPath: "),
        ("/listenerMetadata", json!("x"), "linux.seccomp.listenerMetadata: "),
        (
            "/syscalls/0/action",
            json!("SCMP_ACT_HUG"),
            "linux.seccomp.syscalls[0].action: \"SCMP_ACT_HUG\" is not known",
        ),
        ("/architectures/0", json!("SCMP_ARCH_VAX"), "linux.seccomp.architectures[0]: \"SCMP_ARCH_VAX\" is not known"),
        ("/syscalls/0/errnoRet", json!(4096), "linux.seccomp.syscalls[0].errnoRet: \"4096\" is more than 4095"),
        ("/syscalls/0/args", arg(6, "SCMP_CMP_EQ"), "linux.seccomp.syscalls[0].args[0].index: 6 is not"),
        (
            "/syscalls/0/args",
            arg(0, "SCMP_CMP_XX"),
            "linux.seccomp.syscalls[0].args[0].op: \"SCMP_CMP_XX\" is not known",
        ),
        ("/flags", json!(["SECCOMP_FILTER_FLAG_X"]), "linux.seccomp.flags[0]: \"SECCOMP_FILTER_FLAG_X\" is not known"),
    ] {
        let bundle = Bundle::new().set("/linux/seccomp", profile());
        let refusal = bundle.set(&format!("/linux/seccomp{pointer}"), value).refused().await;
        assert!(refusal.contains(message), "{refusal}");
    }
    assert_eq!(Bundle::new().set("/linux/seccomp", profile()).run().await.ok(), "");
}
