//! The devices of a privileged container.
//!
//! An engine's `--privileged` means "every device of the host": it lists them all in `linux.devices` and allows them all by one
//! rule of the device cgroup, `a *:* rwm`. That rule is how it is told here. What such a container gets is the harmless
//! nodes, and those of the host that the operator's config lists (`[devices] privileged`), with rules to match.
//!
//! A device that the user asks for besides (`--device`) comes in the same list, and cannot be told from the rest: with
//! `--privileged` it is had by the config, without by `--device` alone.
//!
//! Invariant: a plan that leaves here allows no device by a rule for all of them, and has no node that its spec does not have.

use crate::plan::{DeviceKind, DeviceNode, DeviceOwner, DeviceRule, Plan};

/// A device of the host, as stat(2) of a path that the config lists shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostDevice {
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl HostDevice {
    /// Whether a node is of this device.
    pub fn is(self, node: &DeviceNode) -> bool {
        (self.kind, self.major, self.minor) == (node.kind, node.major, node.minor)
    }
}

/// Whether a plan asks for every device of the host.
pub fn wants_every_device(plan: &Plan) -> bool {
    plan.cgroup.resources.devices.iter().any(is_for_all)
}

/// Limits a plan that asks for every device to the harmless ones and to those that are `allowed`, which become the container
/// root's. Returns the nodes that it leaves out, too. Any other plan stays as it is.
pub fn limit(mut plan: Plan, allowed: &[HostDevice]) -> (Plan, Vec<DeviceNode>) {
    if !wants_every_device(&plan) {
        return (plan, Vec::new());
    }
    let is_allowed = |node: &DeviceNode| allowed.iter().any(|device| device.is(node));
    let (mut kept, left_out): (Vec<_>, Vec<_>) =
        plan.devices.into_iter().partition(|node| is_allowed(node) || crate::spec::is_default_device(node));
    for node in kept.iter_mut().filter(|node| is_allowed(node)) {
        node.owner = DeviceOwner::Container { uid: 0, gid: 0 };
    }
    let rules = std::mem::take(&mut plan.cgroup.resources.devices);
    plan.cgroup.resources.devices = rules.into_iter().flat_map(|rule| narrowed(rule, &kept)).collect();
    plan.devices = kept;
    (plan, left_out)
}

/// An allowing rule for every device. (A rule for all that denies is how most lists begin.)
fn is_for_all(rule: &DeviceRule) -> bool {
    rule.allow && rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none()
}

/// The rule, or what it means for the nodes that there are.
fn narrowed(rule: DeviceRule, nodes: &[DeviceNode]) -> Vec<DeviceRule> {
    if !is_for_all(&rule) {
        return vec![rule];
    }
    let devices = nodes.iter().filter(|node| node.kind != DeviceKind::Fifo);
    devices
        .map(|node| DeviceRule { kind: Some(node.kind), major: Some(node.major), minor: Some(node.minor), ..rule })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(rules: Value) -> Plan {
        let node = |path: &str, kind: &str, major: i64, minor: i64| json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": 0o660, "uid": 0, "gid": 6 });
        let spec = json!({
            "process": { "args": ["true"], "cwd": "/" }, "root": { "path": "/r" },
            "linux": { "resources": { "devices": rules }, "devices": [
                node("/dev/vda", "b", 254, 0), node("/dev/null", "c", 1, 3), node("/dev/kmsg", "c", 1, 11),
                node("/dev/net/tun", "c", 10, 200), node("/dev/kvm", "c", 10, 232), node("/dev/zero-too", "c", 1, 5),
                node("/dev/mem", "c", 1, 1), node("/dev/the-hosts-console", "c", 5, 1),
            ] },
        });
        let loaded = crate::spec::load(spec.to_string().as_bytes()).expect("a spec");
        let request = crate::spec::Request { id: "c", bundle: std::path::Path::new("/b"), terminal: false };
        crate::spec::plan(&loaded.value, &request).expect("a plan")
    }

    fn names(nodes: &[DeviceNode]) -> Vec<&str> {
        nodes.iter().map(|node| node.path.as_str()).collect()
    }

    fn char_device(minor: u32) -> HostDevice {
        HostDevice { kind: DeviceKind::Char, major: 10, minor }
    }

    #[test]
    fn a_privileged_plan_keeps_what_is_harmless_or_allowed() {
        let every = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "access": "rwm" }]);
        let (limited, left_out) = limit(plan(every), &[char_device(200), char_device(232)]);
        assert_eq!(names(&limited.devices), ["/dev/net/tun", "/dev/kvm", "/dev/zero-too"]);
        assert_eq!(names(&left_out), ["/dev/vda", "/dev/kmsg", "/dev/mem", "/dev/the-hosts-console"]);
        assert!(limited.devices.iter().all(|node| node.owner == DeviceOwner::Container { uid: 0, gid: 0 }));
        let rules: Vec<_> =
            limited.cgroup.resources.devices.iter().map(|rule| (rule.allow, rule.major, rule.minor)).collect();
        let of = |major, minor| (true, Some(major), Some(minor));
        assert_eq!(rules, [(false, None, None), of(10, 200), of(10, 232), of(1, 5)]);
        assert!(!wants_every_device(&limited));
    }

    #[test]
    fn what_the_config_does_not_list_a_privileged_plan_does_not_have() {
        let (limited, _) = limit(plan(json!([{ "allow": true, "type": "a", "access": "rw" }])), &[]);
        assert_eq!(names(&limited.devices), ["/dev/zero-too"]);
        let rules = &limited.cgroup.resources.devices;
        assert!(rules.len() == 1 && rules[0].read && rules[0].write && !rules[0].mknod);
    }

    #[test]
    fn any_other_plan_stays_as_it_is() {
        for rules in [
            json!([]),
            json!([{ "allow": false, "access": "rwm" }]),
            json!([{ "allow": true, "type": "c", "access": "rwm" }, { "allow": true, "type": "b", "major": 254, "minor": 0, "access": "r" }]),
        ] {
            assert_eq!(limit(plan(rules.clone()), &[char_device(200)]), (plan(rules), vec![]));
        }
        let owner = |path: &str| {
            plan(json!([])).devices.into_iter().find(|node| node.path.as_str() == path).map(|node| node.owner)
        };
        assert_eq!(owner("/dev/vda"), Some(DeviceOwner::Host { uid: 0, gid: 6 }));
        assert_eq!(owner("/dev/the-hosts-console"), Some(DeviceOwner::Host { uid: 0, gid: 6 }));
    }
}
