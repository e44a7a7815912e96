//! libseccomp as the oracle: what a program of ours decides, its program decides, for every ABI and number and for
//! arguments around every value that the profile compares.
//!
//! Invariant: [`oracle`] uses libseccomp as runc does; what runc adds by itself (ENOSYS for new calls) is added here too.

use std::io::Read as _;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::{
    Abi, Instruction, Program,
    abi::X32_MARK,
    compile,
    interpreter::{Data, run},
};

const ARCHES: [u32; 4] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0];

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(errno as i32),
        Action::ScmpActTrace => ScmpAction::Trace(errno as u16),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
        Action::ScmpActNotify => unreachable!("no test asks"),
    }
}

fn condition(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, value) = match arg.op() {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        Operator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0)),
    };
    ScmpArgCompare::new(arg.index() as u32, op, value)
}

fn arches(seccomp: &LinuxSeccomp) -> Vec<ScmpArch> {
    let mut arches = vec![ScmpArch::X8664];
    for arch in seccomp.architectures().iter().flatten() {
        match arch {
            Arch::ScmpArchX86 => arches.push(ScmpArch::X86),
            Arch::ScmpArchX32 => arches.push(ScmpArch::X32),
            _ => {}
        }
    }
    arches
}

/// libseccomp's program for `seccomp`; none if it refuses a rule.
fn oracle(seccomp: &LinuxSeccomp) -> Option<Vec<Instruction>> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default).unwrap();
    for arch in arches(seccomp) {
        filter.add_arch(arch).unwrap();
    }
    for entry in seccomp.syscalls().iter().flatten() {
        let wanted = action(entry.action(), entry.errno_ret());
        let conditions: Vec<_> = entry.args().iter().flatten().map(condition).collect();
        let mut indices: Vec<_> = entry.args().iter().flatten().map(LinuxSeccompArg::index).collect();
        indices.sort_unstable();
        for name in entry.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            if wanted == default {
                continue;
            }
            if indices.windows(2).any(|pair| pair[0] == pair[1]) {
                for condition in &conditions {
                    filter.add_rule_conditional(wanted, call, &[*condition]).ok()?;
                }
            } else {
                filter.add_rule_conditional(wanted, call, &conditions).ok()?;
            }
        }
    }
    // A pipe holds 64 KiB, the largest program has 32.
    let (mut reader, writer) = std::io::pipe().unwrap();
    filter.export_bpf(&writer).unwrap();
    drop(writer);
    let mut bytes = 0u64.to_ne_bytes().to_vec();
    reader.read_to_end(&mut bytes).unwrap();
    Some(Program::from_bytes(&bytes).unwrap().instructions)
}

/// The highest number of `seccomp` on `arch` for runc, which sees multiplexed calls as no number.
fn newest(seccomp: &LinuxSeccomp, arch: ScmpArch) -> Option<u32> {
    let names = seccomp.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok());
    numbers.map(i32::from).filter(|&nr| nr > 0).max().map(|nr| nr as u32)
}

/// What runc's program decides.
fn expected(seccomp: &LinuxSeccomp, oracle: &[Instruction], data: &Data) -> u32 {
    let permissive =
        matches!(seccomp.default_action(), Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace);
    let arch = match data.arch {
        0x4000_0003 => Some(ScmpArch::X86),
        0xc000_003e if data.nr >= X32_MARK => Some(ScmpArch::X32),
        0xc000_003e => Some(ScmpArch::X8664),
        _ => None,
    };
    let decided = run(oracle, data).0;
    match arch.filter(|arch| arches(seccomp).contains(arch)).and_then(|arch| newest(seccomp, arch)) {
        Some(newest) if !permissive && data.nr > newest => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        _ => decided,
    }
}

/// Arguments around every value that `seccomp` compares: alone, and all together.
fn arguments(seccomp: &LinuxSeccomp) -> Vec<[u64; 6]> {
    let mut sets = vec![[0; 6], [u64::MAX; 6], [1; 6], [u64::from(u32::MAX); 6], [1 << 32; 6]];
    for entry in seccomp.syscalls().iter().flatten() {
        let mut together = [0; 6];
        for arg in entry.args().iter().flatten() {
            let centre = arg.value_two().unwrap_or(arg.value());
            together[arg.index()] = centre;
            for near in
                [centre, centre.wrapping_add(1), centre.wrapping_sub(1), centre | 1 << 32, centre ^ 1 << 40, !centre]
            {
                for others in [0, u64::MAX] {
                    let mut set = [others; 6];
                    set[arg.index()] = near;
                    sets.push(set);
                }
                let mut set = together;
                set[arg.index()] = near;
                sets.push(set);
            }
        }
        sets.push(together);
    }
    sets.sort_unstable();
    sets.dedup();
    sets
}

/// Asks both for every number that could matter; the numbers where they differ.
fn compare(seccomp: &LinuxSeccomp, ours: &[Instruction], oracle: &[Instruction]) -> Result<(), String> {
    let arguments = arguments(seccomp);
    let edges = [X32_MARK - 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
    let numbers: Vec<u32> = (0..600).chain((0..600).map(|nr| nr | X32_MARK)).chain(edges).collect();
    for arch in ARCHES {
        for &nr in &numbers {
            for &args in &arguments {
                let data = Data { nr, arch, args };
                let (ours, theirs) = (run(ours, &data).0, expected(seccomp, oracle, &data));
                if ours != theirs {
                    return Err(format!("{data:x?}: {ours:#x}, libseccomp {theirs:#x}"));
                }
            }
        }
    }
    Ok(())
}

fn parse(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

#[track_caller]
fn agree(json: serde_json::Value) {
    let seccomp = parse(json);
    let ours = compile(&seccomp).unwrap();
    let oracle = oracle(&seccomp).expect("libseccomp takes the profile");
    if let Err(difference) = compare(&seccomp, &ours.program.instructions, &oracle) {
        panic!("{difference}");
    }
}

const ALL: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// A profile of the shape of Docker's and containerd's: allow all but some eighty, with conditions for four.
fn default_profile() -> serde_json::Value {
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
    let mut entries = vec![serde_json::json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    for value in [0u64, 8, 0x20000, 0x20008, 0xffff_ffff] {
        let args = serde_json::json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
        entries.push(serde_json::json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args}));
    }
    entries.extend([
        serde_json::json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}),
        serde_json::json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}),
        serde_json::json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
    ]);
    serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ALL, "syscalls": entries})
}

#[test]
fn engines_default_profile() {
    agree(default_profile());
}

#[test]
fn engines_default_profile_has_a_short_worst_path() {
    let program = compile(&parse(default_profile())).unwrap().program;
    let longest =
        |arch| (0..600).map(|nr| run(&program.instructions, &Data { nr, arch, args: [1; 6] }).1).max().unwrap();
    // A load and a comparison for the ABI, a load and the depth of the search, the values of personality(2).
    assert!(longest(ARCHES[0]) <= 32, "{}", longest(ARCHES[0]));
    // The same with the sub-calls of socketcall(2), which are tried in turn.
    assert!(longest(ARCHES[1]) <= 60, "{}", longest(ARCHES[1]));
    assert!(program.instructions.len() < 1000, "{}", program.instructions.len());
}
