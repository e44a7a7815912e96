//! libseccomp as the oracle: what a program of ours decides, its program decides, for every ABI and number and for
//! arguments around every value that the profile compares.
//!
//! Invariant: [`Oracle`] uses libseccomp as runc does, and adds what runc adds by itself.

use std::io::Read as _;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator, LinuxSyscall,
};
use serde_json::Value;

use super::{
    super::{
        Instruction, Program,
        abi::{Abi, X32_MARK},
    },
    interpreter::{Data, run},
};

/// Every audit arch that a program of ours compares, and one that none does.
const ARCHES: [u32; 5] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0];

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

fn arch(abi: Abi) -> ScmpArch {
    match abi {
        Abi::X86_64 => ScmpArch::X8664,
        Abi::X32 => ScmpArch::X32,
        Abi::I386 => ScmpArch::X86,
        Abi::Aarch64 => ScmpArch::Aarch64,
        Abi::Arm => ScmpArch::Arm,
    }
}

/// The ABIs of `seccomp` where `native` is the native one, which libseccomp always has.
fn abis(native: Abi, seccomp: &LinuxSeccomp) -> Vec<Abi> {
    let listed = seccomp.architectures().iter().flatten().filter_map(|&arch| Abi::of(arch, native));
    [native].into_iter().chain(listed).collect()
}

/// libseccomp's program for `seccomp`; none if it refuses a rule.
fn libseccomp(native: Abi, seccomp: &LinuxSeccomp) -> Option<Vec<Instruction>> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default).unwrap();
    for abi in abis(native, seccomp) {
        filter.add_arch(arch(abi)).unwrap();
    }
    if native != Abi::X86_64 {
        filter.remove_arch(ScmpArch::X8664).unwrap();
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

/// The highest number of `seccomp` on `abi` for runc, which sees multiplexed calls as no number.
fn newest(seccomp: &LinuxSeccomp, abi: Abi) -> Option<u32> {
    let names = seccomp.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch(abi)).ok());
    numbers.map(i32::from).filter(|&nr| nr > 0).max().map(|nr| nr as u32)
}

/// runc's program: libseccomp's, and ENOSYS for calls newer than the profile unless its default is permissive.
pub(super) struct Oracle {
    program: Vec<Instruction>,
    newest: Vec<(Abi, Option<u32>)>,
}

impl Oracle {
    /// None if libseccomp refuses a rule.
    pub(super) fn new(native: Abi, seccomp: &LinuxSeccomp) -> Option<Self> {
        let permissive = [Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace];
        let stubs = if permissive.contains(&seccomp.default_action()) { vec![] } else { abis(native, seccomp) };
        let newest = stubs.into_iter().map(|abi| (abi, newest(seccomp, abi))).collect();
        Some(Self { program: libseccomp(native, seccomp)?, newest })
    }

    fn decide(&self, data: &Data) -> u32 {
        let x32 = data.nr >= X32_MARK;
        let stub = self.newest.iter().find(|(abi, _)| {
            abi.audit_arch() == data.arch && (*abi != Abi::X32 || x32) && (*abi != Abi::X86_64 || !x32)
        });
        match stub {
            Some((_, Some(newest))) if data.nr > *newest => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            _ => run(&self.program, data).0,
        }
    }
}

/// Arguments around every value that `seccomp` compares: alone, and all together.
pub(super) fn around(seccomp: &LinuxSeccomp) -> Vec<[u64; 6]> {
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

/// Asks both for every number that could matter; the first call on which they differ.
pub(super) fn compare(seccomp: &LinuxSeccomp, ours: &[Instruction], oracle: &Oracle) -> Result<(), String> {
    let arguments = around(seccomp);
    let edges = [X32_MARK - 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
    let numbers: Vec<u32> = (0..600).chain((0..600).map(|nr| nr | X32_MARK)).chain(edges).collect();
    for arch in ARCHES {
        for &nr in &numbers {
            for &args in &arguments {
                let data = Data { nr, arch, args };
                let (ours, theirs) = (run(ours, &data).0, oracle.decide(&data));
                if ours != theirs {
                    return Err(format!("{data:x?}: {ours:#x}, libseccomp {theirs:#x}"));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn parse(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}
