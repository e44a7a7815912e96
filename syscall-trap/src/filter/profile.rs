//! Checks a profile and turns it into values: actions, conditions, ABIs, flags.
//!
//! Main types: [`Profile`], [`Call`], [`Condition`].
//!
//! Invariant: what leaves here needs no further check of the spec; a field that is not served is refused by its name.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator,
    LinuxSyscall,
};
use policy::Refusal;

use super::{abi::Abi, numbers};

/// The highest index of an argument of a system call.
const LAST_ARGUMENT: usize = 5;

/// The highest errno that a system call can return; the kernel would lower a higher one to it (linux/err.h).
const MAX_ERRNO: u32 = 4095;

/// A profile with its names of actions, ABIs and flags resolved.
#[derive(Debug)]
pub(super) struct Profile {
    /// `SECCOMP_RET_*` value of a call that no rule matches.
    pub(super) default: u32,
    /// The native ABI first, then those that the spec lists, once each.
    pub(super) abis: Vec<Abi>,
    /// The entries of `syscalls`, in order.
    pub(super) calls: Vec<Call>,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub(super) flags: u64,
    /// Names that no table has.
    pub(super) unknown: Vec<String>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug)]
pub(super) struct Call {
    /// The entry's place in the spec, for refusals.
    pub(super) field: String,
    pub(super) names: Vec<String>,
    /// `SECCOMP_RET_*` value.
    pub(super) action: u32,
    /// The action holds when all conditions of any one of these match. An empty list of conditions always matches.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Index of the argument, 0 to 5.
    pub(super) argument: u8,
    pub(super) op: LinuxSeccompOperator,
    /// What the (masked) argument is compared with.
    pub(super) value: u64,
    /// The bits of the argument that count; all unless `op` is `SCMP_CMP_MASKED_EQ`.
    pub(super) mask: u64,
}

/// Checks `seccomp` for a kernel whose native ABI is `native`.
pub(super) fn check(native: Abi, seccomp: &LinuxSeccomp) -> Result<Profile, Refusal> {
    let default =
        action(seccomp.default_action(), seccomp.default_errno_ret(), "linux.seccomp.default", ["Action", "ErrnoRet"])?;
    let entries = seccomp.syscalls().as_deref().unwrap_or_default();
    let calls = entries.iter().enumerate().map(|(at, entry)| call(at, entry)).collect::<Result<Vec<_>, _>>()?;
    refuse_listener(seccomp)?;

    let mut abis = vec![native];
    for abi in seccomp.architectures().iter().flatten().filter_map(|&arch| Abi::of(arch, native)) {
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    let mut unknown: Vec<String> = Vec::new();
    for name in calls.iter().flat_map(|call| &call.names) {
        if !numbers::known(name) && !unknown.contains(name) {
            unknown.push(name.clone());
        }
    }
    Ok(Profile { default, abis, calls, flags: flags(seccomp)?, unknown })
}

/// A listener has no use without `SCMP_ACT_NOTIFY`, which is refused: the kernel gives one process tree one listener.
fn refuse_listener(seccomp: &LinuxSeccomp) -> Result<(), Refusal> {
    let unused = "is of use only to SCMP_ACT_NOTIFY, which is not supported";
    if seccomp.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty()) {
        return Err(Refusal::new("linux.seccomp.listenerPath", unused));
    }
    if seccomp.listener_metadata().as_ref().is_some_and(|data| !data.is_empty()) {
        return Err(Refusal::new("linux.seccomp.listenerMetadata", unused));
    }
    Ok(())
}

/// The flags that the spec names. Without a list there are none: runc then sets SPEC_ALLOW, but since Linux 5.16 only a
/// host whose operator asked for it (`spec_store_bypass_disable=seccomp`) ties that mitigation to seccomp.
fn flags(seccomp: &LinuxSeccomp) -> Result<u64, Refusal> {
    let mut bits = 0;
    for (at, flag) in seccomp.flags().iter().flatten().enumerate() {
        bits |= match flag {
            Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
            Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            // The kernel refuses the flag without a listener (EINVAL).
            Flag::SeccompFilterFlagWaitKillableRecv => {
                return Err(Refusal::new(
                    format!("linux.seccomp.flags[{at}]"),
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY, which is not supported",
                ));
            }
        };
    }
    Ok(bits)
}

fn call(at: usize, entry: &LinuxSyscall) -> Result<Call, Refusal> {
    let field = format!("linux.seccomp.syscalls[{at}]");
    if entry.names().iter().any(String::is_empty) {
        return Err(Refusal::new(format!("{field}.names"), "a name is empty"));
    }
    let action = action(entry.action(), entry.errno_ret(), &format!("{field}."), ["action", "errnoRet"])?;
    let args = entry.args().as_deref().unwrap_or_default();
    let mut conditions =
        args.iter().enumerate().map(|(at, arg)| condition(&field, at, arg)).collect::<Result<Vec<_>, _>>()?;
    conditions.sort_by_key(|condition| condition.argument);
    // As runc: several conditions on one argument are alternatives, all others must match together.
    let repeated = conditions.windows(2).any(|pair| matches!(pair, [a, b] if a.argument == b.argument));
    let alternatives =
        if repeated { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] };
    Ok(Call { field, names: entry.names().clone(), action, alternatives })
}

fn condition(field: &str, at: usize, arg: &LinuxSeccompArg) -> Result<Condition, Refusal> {
    let argument = u8::try_from(arg.index()).ok().filter(|&index| usize::from(index) <= LAST_ARGUMENT);
    let Some(argument) = argument else {
        let reason = format!("\"{}\" is no argument of a system call (0 to {LAST_ARGUMENT})", arg.index());
        return Err(Refusal::new(format!("{field}.args[{at}].index"), reason));
    };
    // The runtime spec follows libseccomp: of a masked comparison, `value` is the mask.
    let (value, mask) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpMaskedEq => (arg.value_two().unwrap_or(0) & arg.value(), arg.value()),
        _ => (arg.value(), u64::MAX),
    };
    Ok(Condition { argument, op: arg.op(), value, mask })
}

/// The `SECCOMP_RET_*` value of `action`; `errno` is the data of ERRNO and TRACE (EPERM unless given, as in runc), and of
/// no other.
fn action(action: Action, errno: Option<u32>, prefix: &str, fields: [&str; 2]) -> Result<u32, Refusal> {
    let [action_field, errno_field] = fields.map(|field| format!("{prefix}{field}"));
    let most = match action {
        Action::ScmpActNotify => return Err(Refusal::new(action_field, "SCMP_ACT_NOTIFY is not supported")),
        Action::ScmpActErrno => MAX_ERRNO,
        Action::ScmpActTrace => libc::SECCOMP_RET_DATA,
        _ => return Ok(action.as_u32(None)),
    };
    match errno {
        Some(data) if data > most => Err(Refusal::new(errno_field, format!("\"{data}\" is more than {most}"))),
        _ => Ok(action.as_u32(errno)),
    }
}
