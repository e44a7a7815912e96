//! Resolves a profile to what one ABI does with each call number.
//!
//! Main types: [`AbiRules`], [`Verdict`].
//!
//! Invariant: the rules of a number are in the order in which they are tried, and no later rule has the conditions of an
//! earlier one.

use std::{cmp::Reverse, collections::BTreeMap};

use oci_spec::runtime::LinuxSeccompOperator as Operator;
use policy::Refusal;
use seccompiler::SeccompCmpArgLen;

use super::{
    abi::Abi,
    multiplex,
    profile::{Call, Condition, Profile},
};

/// Arm's private calls (cacheflush…) start here; they say nothing of how new a profile is.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// The rules of one ABI.
#[derive(Debug)]
pub(super) struct AbiRules {
    pub(super) abi: Abi,
    /// By call number.
    pub(super) calls: BTreeMap<u32, Verdict>,
    /// The highest number that the profile names, with whatever action.
    pub(super) newest: Option<u32>,
}

/// What happens to one call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A `SECCOMP_RET_*` value, whatever the arguments.
    Always(u32),
    /// The first rule that matches decides, else the profile's default action.
    Rules(Vec<Rule>),
}

/// An action under conditions.
#[derive(Debug)]
pub(super) struct Rule {
    /// At least one, in the order of the arguments; all must match.
    pub(super) conditions: Vec<Condition>,
    /// `SECCOMP_RET_*` value.
    pub(super) action: u32,
}

/// The rules of `profile` on `abi`.
pub(super) fn resolve(abi: Abi, profile: &Profile) -> Result<AbiRules, Refusal> {
    let mut resolved = AbiRules { abi, calls: BTreeMap::new(), newest: None };
    for call in &profile.calls {
        for name in &call.names {
            resolved.add(call, name, profile.default)?;
        }
    }
    for verdict in resolved.calls.values_mut() {
        if let Verdict::Rules(rules) = verdict {
            rules.sort_by_cached_key(|rule| rule.conditions.iter().map(place).collect::<Vec<_>>());
        }
    }
    Ok(resolved)
}

/// Where a condition is tried among those of one call, lowest first: libseccomp's order.
fn place(condition: &Condition) -> impl Ord + use<> {
    let (group, value) = match condition.op {
        Operator::ScmpCmpEq | Operator::ScmpCmpNe | Operator::ScmpCmpMaskedEq => (0, !condition.value),
        Operator::ScmpCmpLt | Operator::ScmpCmpLe => (1, condition.value),
        Operator::ScmpCmpGt | Operator::ScmpCmpGe => (2, !condition.value),
    };
    (Reverse(condition.argument), group, value)
}

impl AbiRules {
    fn add(&mut self, call: &Call, name: &str, default: u32) -> Result<(), Refusal> {
        let carrier = multiplex::carrier(self.abi, name);
        let direct = self.abi.number(name);
        // As runc, which sees no number in what it can reach through a carrier, and none in 0.
        let private = self.abi == Abi::Arm && direct >= Some(ARM_PRIVATE);
        if carrier.is_none() && !private {
            self.newest = self.newest.max(direct.filter(|&nr| nr != 0));
        }
        if call.action == default {
            return Ok(());
        }
        for conditions in &call.alternatives {
            if let Some(nr) = direct {
                self.add_rule(nr, conditions.clone(), call, false)?;
            }
            if let Some(carrier) = &carrier
                && let Some(nr) = self.abi.number(carrier.name)
            {
                let selector =
                    Condition { argument: 0, op: Operator::ScmpCmpEq, value: carrier.selector, mask: u64::MAX };
                let others = conditions.iter().filter(|condition| condition.argument != 0);
                self.add_rule(nr, [&selector].into_iter().chain(others).copied().collect(), call, true)?;
            }
        }
        Ok(())
    }

    fn add_rule(&mut self, nr: u32, conditions: Vec<Condition>, call: &Call, carried: bool) -> Result<(), Refusal> {
        let conditions: Vec<_> = conditions.into_iter().filter_map(|condition| self.visible(condition)).collect();
        if conditions.is_empty() {
            // The first rule without conditions covers every other one, before and after it, as in libseccomp.
            let verdict = self.calls.entry(nr).or_insert(Verdict::Always(call.action));
            if matches!(verdict, Verdict::Rules(_)) {
                *verdict = Verdict::Always(call.action);
            }
            return Ok(());
        }
        let Verdict::Rules(rules) = self.calls.entry(nr).or_insert_with(|| Verdict::Rules(Vec::new())) else {
            return Ok(());
        };
        match rules.iter_mut().find(|rule| rule.conditions == conditions) {
            None => rules.push(Rule { conditions, action: call.action }),
            Some(rule) if rule.action == call.action => {}
            // Rules that differ in what a carrier hides: what is stricter for the kernel holds for both.
            Some(rule) if carried => rule.action = stricter(rule.action, call.action),
            Some(_) => {
                let reason = "an earlier entry has the same call and conditions with another action";
                return Err(Refusal::new(&call.field, reason));
            }
        }
        Ok(())
    }

    /// `condition` as this ABI's argument size lets it be; none when it matches every argument.
    fn visible(&self, mut condition: Condition) -> Option<Condition> {
        if matches!(self.abi.argument_len(), SeccompCmpArgLen::Dword) {
            condition.value &= u64::from(u32::MAX);
            condition.mask &= u64::from(u32::MAX);
        }
        (condition.mask != 0).then_some(condition)
    }
}

/// The action that the kernel would prefer if two filters gave one each: the lower as a signed number (seccomp(2)).
fn stricter(a: u32, b: u32) -> u32 {
    if a.cast_signed() <= b.cast_signed() { a } else { b }
}
