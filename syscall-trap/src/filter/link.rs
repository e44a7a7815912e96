//! Joins the rules of all ABIs into one program.
//!
//! The program compares the ABI, then finds the call by a binary search over the spans of numbers that are treated
//! alike, and at the end of the search returns an action or compares arguments. Code is a tree: every branch ends in a
//! return and all jumps go forward, so the pieces are put together without labels.
//!
//! Invariant: no path reaches the end of the code, and a conditional jump farther than the 255 instructions that its
//! eight bits allow goes through an unconditional one.

use std::collections::BTreeMap;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ERRNO};
use oci_spec::runtime::LinuxSeccompOperator as Operator;
use policy::Refusal;
use seccompiler::{BackendError, BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{
    abi::{Abi, X32_MARK},
    profile::{Condition, Profile},
    program::{Instruction, MAX_INSTRUCTIONS},
    rules::{AbiRules, Rule, Verdict},
};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NR: u32 = 0;
const ARCH: u32 = 4;
/// A call through an ABI that the profile does not list: libseccomp's default, which runc does not change.
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;
/// A call that is newer than the profile.
const NO_SUCH_CALL: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
/// The number that a tracer sets to skip a call. It bears the mark of x32 but is of no ABI (seccomp(2)).
const SKIPPED: u32 = u32::MAX;

type Code = Vec<Instruction>;

/// Numbers from `first` up to the next span's are treated alike.
struct Span<'a> {
    first: u32,
    end: End<'a>,
}

/// Where a search ends.
#[derive(Clone, Copy)]
enum End<'a> {
    Action(u32),
    /// The rules of a call, with the ABI whose argument size they compare.
    Rules(&'a [Rule], Abi),
}

/// The whole program. `abis` starts with the rules of `native`.
pub(super) fn link(native: Abi, profile: &Profile, abis: &[AbiRules]) -> Result<Code, Refusal> {
    let mut code = vec![ret(BAD_ARCH)];
    // The native ABI is compared first, and so put in front last.
    let mut entries: Vec<Abi> = abis.iter().map(|rules| rules.abi).filter(|&abi| abi != Abi::X32).collect();
    entries.sort_by_key(|&abi| abi == native);
    for entry in entries {
        let mut block = vec![load(NR)];
        block.extend(search(&spans(entry, profile, abis), profile.default).map_err(refuse_backend)?);
        code = branch(BPF_JEQ, entry.audit_arch(), block, code);
    }
    code.insert(0, load(ARCH));
    match code.len() {
        ..=MAX_INSTRUCTIONS => Ok(code),
        len => {
            Err(Refusal::new("linux.seccomp", format!("needs {len} instructions, the kernel takes {MAX_INSTRUCTIONS}")))
        }
    }
}

fn refuse_backend(error: BackendError) -> Refusal {
    Refusal::new("linux.seccomp", error.to_string())
}

/// All numbers that can come with the audit arch of `abi`, in order, neighbours that are treated alike in one span.
fn spans<'a>(abi: Abi, profile: &Profile, abis: &'a [AbiRules]) -> Vec<Span<'a>> {
    let mut ends = BTreeMap::new();
    for rules in abis.iter().filter(|rules| rules.abi == abi) {
        add_ends(&mut ends, 0, profile, rules);
    }
    if abi == Abi::X86_64 {
        match abis.iter().find(|rules| rules.abi == Abi::X32) {
            Some(x32) => add_ends(&mut ends, X32_MARK, profile, x32),
            None => ends.extend([(X32_MARK, End::Action(BAD_ARCH)), (SKIPPED, End::Action(profile.default))]),
        }
    }
    let mut spans: Vec<Span<'a>> = Vec::new();
    for (first, end) in ends {
        match (spans.last(), end) {
            (Some(Span { end: End::Action(last), .. }), End::Action(action)) if *last == action => {}
            _ => spans.push(Span { first, end }),
        }
    }
    spans
}

/// Adds where the numbers of one ABI, from `first` to the highest number there is, end.
fn add_ends<'a>(ends: &mut BTreeMap<u32, End<'a>>, first: u32, profile: &Profile, rules: &'a AbiRules) {
    let unlisted = |nr: u32| match rules.newest {
        Some(newest) if nr > newest && stub(profile.default) => (nr, End::Action(NO_SUCH_CALL)),
        _ => (nr, End::Action(profile.default)),
    };
    let after = rules.calls.keys().copied().chain(rules.newest).filter_map(|nr| nr.checked_add(1));
    ends.extend([first].into_iter().chain(after).map(unlisted));
    ends.extend(rules.calls.iter().map(|(&nr, verdict)| match verdict {
        Verdict::Always(action) => (nr, End::Action(*action)),
        Verdict::Rules(list) => (nr, End::Rules(list, rules.abi)),
    }));
}

/// Whether a default action is one that hides that a call does not exist. runc: a permissive one does not, and a tracer
/// answers by itself.
fn stub(default: u32) -> bool {
    let kind = default & libc::SECCOMP_RET_ACTION_FULL;
    ![libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_TRACE].contains(&kind)
}

/// Finds the span of the number in the accumulator.
fn search(spans: &[Span<'_>], default: u32) -> Result<Code, BackendError> {
    match spans {
        [] => Ok(vec![ret(default)]),
        [Span { end: End::Action(action), .. }] => Ok(vec![ret(*action)]),
        [Span { end: End::Rules(rules, abi), .. }] => compare(rules, *abi, default),
        _ => {
            let (low, high) = spans.split_at(spans.len() / 2);
            let first = high.first().map_or(0, |span| span.first);
            Ok(branch(BPF_JGE, first, search(high, default)?, search(low, default)?))
        }
    }
}

/// Tries `rules` in turn.
fn compare(rules: &[Rule], abi: Abi, default: u32) -> Result<Code, BackendError> {
    let mut code = Code::new();
    for rule in rules {
        let conditions = rule.conditions.iter().map(|condition| generate(condition, abi.argument_len()));
        // seccompiler's rule runs off its end when it matches, and one instruction beyond when it does not. It opens with
        // a jump over a second jump, which long rules chain to; nothing here does.
        let generated = BpfProgram::from(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?);
        let opening = generated.first().is_some_and(|i| u32::from(i.code) == BPF_JMP | BPF_JA && i.k == 1);
        let body = generated.iter().skip(if opening { 2 } else { 0 });
        code.extend(body.map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }));
        code.push(ret(rule.action));
    }
    code.push(ret(default));
    Ok(code)
}

fn generate(condition: &Condition, len: SeccompCmpArgLen) -> Result<SeccompCondition, BackendError> {
    let op = match condition.op {
        Operator::ScmpCmpEq => SeccompCmpOp::Eq,
        Operator::ScmpCmpNe => SeccompCmpOp::Ne,
        Operator::ScmpCmpLt => SeccompCmpOp::Lt,
        Operator::ScmpCmpLe => SeccompCmpOp::Le,
        Operator::ScmpCmpGt => SeccompCmpOp::Gt,
        Operator::ScmpCmpGe => SeccompCmpOp::Ge,
        Operator::ScmpCmpMaskedEq => SeccompCmpOp::MaskedEq(condition.mask),
    };
    SeccompCondition::new(condition.argument, len, op, condition.value)
}

/// `yes` where the accumulator compares true with `k`, `no` elsewhere. Both end in a return.
fn branch(comparison: u32, k: u32, yes: Code, no: Code) -> Code {
    let mut code = Code::with_capacity(yes.len() + no.len() + 2);
    match u8::try_from(no.len()) {
        Ok(jt) => code.push(jump(comparison, k, jt, 0)),
        Err(_) => {
            code.push(jump(comparison, k, 0, 1));
            // A program of more than 2^32 instructions does not fit in memory, and is refused by `link` long before.
            code.push(jump(BPF_JA, u32::try_from(no.len()).unwrap_or(u32::MAX), 0, 0));
        }
    }
    code.extend(no);
    code.extend(yes);
    code
}

fn load(offset: u32) -> Instruction {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn ret(action: u32) -> Instruction {
    statement(BPF_RET | BPF_K, action)
}

fn statement(code: u32, k: u32) -> Instruction {
    Instruction { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: (BPF_JMP | comparison | BPF_K) as u16, jt, jf, k }
}
