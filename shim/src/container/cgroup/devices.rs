//! Which devices a container may open and make nodes of.
//!
//! Nothing, then the spec's rules in their order, then [`DEFAULTS`]: for each of read, write and mknod the last rule that
//! speaks of the device decides. This order is runc's; engines count on it, for what containerd and Docker send begins
//! with "deny everything" and leaves out terminals, and ctr's is that one rule. On v2 the rules become a program
//! ([`super::program`]); v1 has a list of exceptions of its own, in which the order does not count ([`V1`]).

use std::fmt;

use policy::Refusal;
use policy::plan::{DeviceKind, DeviceRule};

/// What every container may do, whatever the spec says.
///
/// A node alone does nothing, so any may be made (in a user namespace the kernel refuses mknod(2) anyway). Then the nodes
/// that the runtime spec requires in `/dev`, terminals, and the two devices that are made for user namespaces: fuse(4) and
/// tun open nothing of the host's, and policy puts their nodes into a container only when asked. `/dev/console` (5:1) is
/// missing: it is the host's; a container's is a terminal (136) under its name.
pub(super) const DEFAULTS: [DeviceRule; 12] = [
    DeviceRule { read: false, write: false, ..char_device(None, None) },
    DeviceRule { read: false, write: false, kind: Some(DeviceKind::Block), ..char_device(None, None) },
    char_device(Some(1), Some(3)),    // null
    char_device(Some(1), Some(5)),    // zero
    char_device(Some(1), Some(7)),    // full
    char_device(Some(1), Some(8)),    // random
    char_device(Some(1), Some(9)),    // urandom
    char_device(Some(5), Some(0)),    // tty
    char_device(Some(5), Some(2)),    // ptmx
    char_device(Some(136), None),     // pts/*
    char_device(Some(10), Some(200)), // net/tun
    char_device(Some(10), Some(229)), // fuse
];

const fn char_device(major: Option<u32>, minor: Option<u32>) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(DeviceKind::Char), major, minor, read: true, write: true, mknod: true }
}

/// Bits of what is done with a device, as `linux/bpf.h` numbers them (`BPF_DEVCG_ACC_*`).
pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

pub(super) fn access(rule: &DeviceRule) -> u8 {
    [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)].iter().filter(|it| it.0).map(|it| it.1).sum()
}

/// A rule, and its place in the spec's list unless it is a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) rule: DeviceRule,
    pub(super) index: Option<usize>,
}

impl Rule {
    /// The field for messages.
    pub(super) fn field(&self) -> String {
        self.index.map_or_else(|| "linux.resources.devices".into(), |index| format!("linux.resources.devices[{index}]"))
    }

    fn covers_everything(&self) -> bool {
        let DeviceRule { kind, major, minor, .. } = self.rule;
        kind.is_none() && major.is_none() && minor.is_none() && access(&self.rule) == ALL
    }
}

/// The spec's rules with the defaults behind them.
///
/// # Errors
/// When a rule speaks of something that the kernel has no device control for.
pub(super) fn rules(spec: &[DeviceRule]) -> Result<Vec<Rule>, Refusal> {
    let ours = spec.iter().enumerate().map(|(index, &rule)| Rule { rule, index: Some(index) });
    let rules: Vec<Rule> = ours.chain(DEFAULTS.iter().map(|&rule| Rule { rule, index: None })).collect();
    for rule in &rules {
        if rule.rule.kind == Some(DeviceKind::Fifo) {
            return Err(Refusal::new(rule.field(), "type \"p\": a named pipe is no device"));
        }
    }
    Ok(rules)
}

/// Whether the rules allow everything, so that none is needed.
pub(super) fn allow_everything(rules: &[Rule]) -> bool {
    let last_denial = rules.iter().rposition(|it| !it.rule.allow && access(&it.rule) != 0);
    let last_reset = rules.iter().rposition(|it| it.rule.allow && it.covers_everything());
    last_reset.is_some_and(|reset| last_denial.is_none_or(|denial| denial < reset))
}

/// One exception of v1's list: devices of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exception {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
    /// The last rule that had a part in it.
    pub(super) from: Rule,
}

impl Exception {
    /// Whether `other`'s devices are all among its own.
    fn covers(&self, other: &Self) -> bool {
        let number = |own: Option<u32>, other: Option<u32>| own.is_none() || own == other;
        self.block == other.block && number(self.major, other.major) && number(self.minor, other.minor)
    }

    /// Whether some device is both its own and `other`'s.
    fn meets(&self, other: &Self) -> bool {
        let number = |own: Option<u32>, other: Option<u32>| own.is_none() || other.is_none() || own == other;
        self.block == other.block && number(self.major, other.major) && number(self.minor, other.minor)
    }
}

impl Exception {
    /// The letters of what is done.
    pub(super) fn letters(&self) -> String {
        [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')].iter().filter(|it| self.access & it.0 != 0).map(|it| it.1).collect()
    }

    /// The devices as systemd's `DeviceAllow` names them (systemd.resource-control(5)). All of one major number have the
    /// name that `groups` (`/proc/devices`) gives them; where the kernel has no driver there is none, nor anything to open.
    pub(super) fn of_systemd(&self, groups: &str) -> Option<String> {
        let kind = if self.block { "block" } else { "char" };
        match (self.major, self.minor) {
            (None, None) => Some(format!("{kind}-*")),
            (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
            (Some(major), None) => group_name(groups, self.block, major).map(|name| format!("{kind}-{name}")),
            (None, Some(_)) => None,
        }
    }
}

/// The name of a major number: `/proc/devices` has a heading and lines of number and name for each kind.
fn group_name(groups: &str, block: bool, major: u32) -> Option<&str> {
    let heading = if block { "Block devices:" } else { "Character devices:" };
    let lines = groups.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.trim().split_once(' ')).find(|it| it.0 == major.to_string()).map(|it| it.1)
}

/// A line as `devices.allow` and `devices.deny` take it (`c 1:3 rwm`).
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".into(), |number| number.to_string());
        write!(f, "{} {}:{} ", if self.block { 'b' } else { 'c' }, number(self.major), number(self.minor))?;
        f.write_str(&self.letters())
    }
}

/// v1's form of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct V1 {
    /// Whether everything but the exceptions is allowed, or nothing but them.
    pub(super) allow: bool,
    /// Written in any order.
    pub(super) exceptions: Vec<Exception>,
}

/// Works the ordered rules out into one list of exceptions.
///
/// # Errors
/// When a rule takes a part away from a wider one before it, which such a list cannot say.
pub(super) fn v1(rules: &[Rule]) -> Result<V1, Refusal> {
    let mut state = V1 { allow: false, exceptions: Vec::new() };
    for rule in rules {
        if rule.covers_everything() {
            state = V1 { allow: rule.rule.allow, exceptions: Vec::new() };
            continue;
        }
        for block in [false, true] {
            let of_kind = match rule.rule.kind {
                Some(kind) => (kind == DeviceKind::Block) == block,
                None => true,
            };
            if of_kind && access(&rule.rule) != 0 {
                let DeviceRule { major, minor, .. } = rule.rule;
                state.apply(Exception { block, major, minor, access: access(&rule.rule), from: *rule })?;
            }
        }
    }
    Ok(state)
}

impl V1 {
    fn apply(&mut self, new: Exception) -> Result<(), Refusal> {
        if new.from.rule.allow == self.allow {
            // What was excepted falls back to the rest.
            for old in self.exceptions.iter_mut().filter(|old| old.meets(&new) && old.access & new.access != 0) {
                if !new.covers(old) {
                    let reason = format!("{new}: takes back a part of the wider rule {old}, which cgroup v1 cannot do");
                    return Err(Refusal::new(new.from.field(), reason));
                }
                old.access &= !new.access;
            }
            self.exceptions.retain(|old| old.access != 0);
        } else if let Some(same) = self.exceptions.iter_mut().find(|old| old.covers(&new) && new.covers(old)) {
            same.access |= new.access;
            same.from = new.from;
        } else {
            self.exceptions.push(new);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "devices_tests.rs"]
pub(super) mod tests;
