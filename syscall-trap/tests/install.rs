//! The kernel as the judge: programs that [`syscall_trap::filter::compile`] made, installed by
//! [`syscall_trap::sys::install`], decide the calls of a process.
//!
//! Every check runs in a process of its own (this binary again, with the check's name), because a program stays as long
//! as its process. Needs root: without `no_new_privs`, seccomp(2) asks for CAP_SYS_ADMIN.

// clippy takes a test without the harness for a program.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::{
    fs, io,
    net::UdpSocket,
    os::unix::{net::UnixDatagram, process::ExitStatusExt as _},
    process::{Command, ExitStatus},
};

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};
use syscall_trap::{filter, sys};

/// What the process of a check must end as.
enum End {
    Success,
    /// Killed by the kernel (SIGSYS).
    Killed,
}

const CHECKS: &[(&str, fn(), End)] = &[
    ("errno", errno, End::Success),
    ("argument", argument, End::Success),
    ("new_calls_are_enosys", new_calls_are_enosys, End::Success),
    ("no_new_privs_stays_off", no_new_privs_stays_off, End::Success),
    ("the_largest_program_is_taken", the_largest_program_is_taken, End::Success),
    ("a_listener_is_refused", a_listener_is_refused, End::Success),
    ("kill_process", kill_process, End::Killed),
    #[cfg(target_arch = "x86_64")]
    ("i386_errno", i386::errno, End::Success),
    #[cfg(target_arch = "x86_64")]
    ("i386_not_listed", i386::not_listed, End::Killed),
];

fn main() {
    let mut args = std::env::args().skip(1);
    if let Some(name) = args.next().as_deref().and_then(|arg| arg.strip_prefix("check=")) {
        let (_, check, _) = CHECKS.iter().find(|(known, _, _)| *known == name).expect("a check");
        return check();
    }
    if !fs::read_to_string("/proc/self/status").expect("procfs").contains("\nUid:\t0\t") {
        return println!("install: skipped, needs root");
    }
    for (name, _, end) in CHECKS {
        if name.starts_with("i386") && !has_i386() {
            println!("{name}: skipped, this kernel has no i386 calls");
            continue;
        }
        let status = run(name);
        let right = match end {
            End::Success => status.success(),
            End::Killed => status.signal() == Some(libc::SIGSYS),
        };
        assert!(right, "{name}: {status}");
        println!("{name}: ok");
    }
}

fn run(name: &str) -> ExitStatus {
    let exe = std::env::current_exe().expect("this binary");
    Command::new(exe).arg(format!("check={name}")).status().expect("a process")
}

/// Whether the kernel knows the i386 ABI: its vDSO is for it alone.
fn has_i386() -> bool {
    fs::exists("/proc/sys/abi/vsyscall32").unwrap_or(false)
}

fn compile(profile: Value) -> filter::Program {
    let profile: LinuxSeccomp = serde_json::from_value(profile).expect("a profile");
    filter::compile(&profile).expect("a program").program
}

fn install(profile: Value) {
    let program = compile(profile);
    // The way of a real one: as bytes, from one process to another.
    let program = filter::Program::from_bytes(&program.to_bytes()).expect("a program");
    sys::install(&program, program.flags).expect("installed");
}

/// All is allowed but `calls`, which get `action`.
fn deny(calls: &[&str], action: &str, args: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls": [{"names": calls, "action": action, "errnoRet": libc::EXFULL, "args": args}]})
}

#[track_caller]
fn fails_with<T>(result: io::Result<T>, errno: i32) {
    assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(errno));
}

fn errno() {
    fails_with(fs::create_dir("/nowhere/at/all"), libc::ENOENT);
    install(deny(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", json!([])));
    fails_with(fs::create_dir("/nowhere/at/all"), libc::EXFULL);
    fails_with(fs::remove_dir("/nowhere/at/all"), libc::ENOENT);
}

fn argument() {
    let inet = json!([{"index": 0, "value": libc::AF_INET, "op": "SCMP_CMP_EQ"}]);
    install(deny(&["socket"], "SCMP_ACT_ERRNO", inet));
    fails_with(UdpSocket::bind("127.0.0.1:0"), libc::EXFULL);
    UnixDatagram::unbound().expect("another family");
}

fn new_calls_are_enosys() {
    // A profile that knows nothing newer than exit_group, 231 on x86-64 and 94 on arm64; it allows what ends a process.
    let names = ["write", "exit_group", "sigaltstack", "munmap", "madvise", "futex", "rt_sigprocmask"];
    install(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}));
    let call = |nr| {
        // SAFETY: neither call has arguments, or any effect under this profile.
        let ret = unsafe { libc::syscall(nr) };
        (ret == -1).then(|| io::Error::last_os_error().raw_os_error()).flatten()
    };
    assert_eq!(call(libc::SYS_sync), Some(libc::EPERM));
    assert_eq!(call(9999), Some(libc::ENOSYS));
}

fn no_new_privs_stays_off() {
    install(deny(&["mkdir"], "SCMP_ACT_ERRNO", json!([])));
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    assert!(status.contains("\nNoNewPrivs:\t0\n") && status.contains("\nSeccomp:\t2\n"), "{status}");
}

fn the_largest_program_is_taken() {
    let mut program = compile(deny(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", json!([])));
    let last = *program.instructions.last().expect("not empty");
    program.instructions.resize(filter::MAX_INSTRUCTIONS, last);
    sys::install(&program, program.flags).expect("installed");
    fails_with(fs::create_dir("/nowhere/at/all"), libc::EXFULL);
    program.instructions.push(last);
    fails_with(sys::install(&program, program.flags), libc::EINVAL);
}

fn a_listener_is_refused() {
    let program = compile(deny(&["mkdir"], "SCMP_ACT_ERRNO", json!([])));
    fails_with(sys::install(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER), libc::EINVAL);
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    assert!(status.contains("\nSeccomp:\t0\n"), "{status}");
}

fn kill_process() {
    install(deny(&["mkdir", "mkdirat"], "SCMP_ACT_KILL_PROCESS", json!([])));
    fails_with(fs::remove_dir("/nowhere/at/all"), libc::ENOENT);
    let _ = fs::create_dir("/nowhere/at/all");
}

/// Calls of another ABI from 64-bit code.
#[cfg(target_arch = "x86_64")]
mod i386 {
    use std::arch::asm;

    use serde_json::json;

    use super::{deny, install};

    const UMASK: i32 = 60;
    const GETPID: i32 = 20;

    /// The i386 call `nr`, which must take at most one argument and no pointer.
    fn call(nr: i32, argument: i32) -> i32 {
        let ret;
        // SAFETY: the call reads and writes no memory of ours; rbx is restored, the kernel clears r8 to r11.
        unsafe {
            asm!("push rbx", "mov ebx, {arg:e}", "int 0x80", "pop rbx", arg = in(reg) argument,
                inlateout("eax") nr => ret, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        ret
    }

    pub(super) fn errno() {
        let mut profile = deny(&["umask"], "SCMP_ACT_ERRNO", json!([{"index": 0, "value": 0o17, "op": "SCMP_CMP_EQ"}]));
        profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        install(profile);
        assert_eq!(call(GETPID, 0), std::process::id().cast_signed());
        assert_eq!(call(UMASK, 0o17), -libc::EXFULL);
        assert!(call(UMASK, 0o22) >= 0);
        assert_eq!(call(UMASK, 0o27), 0o22);
    }

    pub(super) fn not_listed() {
        install(deny(&["umask"], "SCMP_ACT_ERRNO", json!([])));
        call(GETPID, 0);
    }
}
