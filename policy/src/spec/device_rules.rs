//! `linux.resources.devices`: the rules of the device cgroup, in their order.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::paths;
use crate::Refusal;
use crate::plan::{DeviceKind, DeviceRule};

/// The rules, in the order of the spec: a later one decides.
pub(super) fn rules(rules: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, Refusal> {
    rules.iter().enumerate().map(|(index, rule)| one(index, rule)).collect()
}

fn one(index: usize, rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Refusal> {
    let field = |name: &str| format!("linux.resources.devices[{index}].{name}");
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DeviceKind::Char),
        Some(LinuxDeviceType::B) => Some(DeviceKind::Block),
        Some(LinuxDeviceType::P) => return Err(Refusal::new(field("type"), "\"p\" is not a kind of device")),
    };
    let number = |name: &str, number: Option<i64>| match number {
        // -1 is how engines write "all" for a number.
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| Refusal::new(field(name), format!("{number} is not a device number, or -1 for all"))),
    };
    let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
    if kind.is_none() && (major.is_some() || minor.is_some()) {
        // cgroup v1 takes "a" for every device and does not look at the numbers.
        return Err(Refusal::new(field("type"), "must be c or b where a major or minor number is given"));
    }
    let access = rule.access().as_deref().unwrap_or_default();
    if let Some(other) = access.chars().find(|letter| !"rwm".contains(*letter)) {
        let reason = format!("{} has {other:?}, which is none of r, w and m", paths::quoted(access));
        return Err(Refusal::new(field("access"), reason));
    }
    if access.is_empty() && rule.allow() {
        return Err(Refusal::new(field("access"), "is empty; an allowing rule must say what it allows"));
    }
    // A denying rule that does not say what it denies denies everything.
    let has = |letter| access.is_empty() || access.contains(letter);
    Ok(DeviceRule { allow: rule.allow(), kind, major, minor, read: has('r'), write: has('w'), mknod: has('m') })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<DeviceRule, String> {
        let rule: LinuxDeviceCgroup = serde_json::from_str(json).expect("a rule");
        rules(&[rule]).map(|rules| rules[0]).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn rules_say_what_they_said() {
        let all =
            |allow| DeviceRule { allow, kind: None, major: None, minor: None, read: true, write: true, mknod: true };
        assert_eq!(plan(r#"{"allow": false, "access": "rwm"}"#), Ok(all(false)));
        assert_eq!(plan(r#"{"allow": false}"#), Ok(all(false)));
        assert_eq!(plan(r#"{"allow": true, "type": "a", "major": -1, "minor": -1, "access": "mwr"}"#), Ok(all(true)));
        let tun = DeviceRule {
            allow: true,
            kind: Some(DeviceKind::Char),
            major: Some(10),
            minor: Some(200),
            read: true,
            write: true,
            mknod: false,
        };
        assert_eq!(plan(r#"{"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"}"#), Ok(tun));
    }

    #[test]
    fn rules_that_could_mean_more_are_refused() {
        for (json, message) in [
            (r#"{"allow": true, "type": "c"}"#, "access: is empty; an allowing rule must say what it allows"),
            (r#"{"allow": true, "access": "rwx"}"#, "access: \"rwx\" has 'x', which is none of r, w and m"),
            (
                r#"{"allow": true, "major": 8, "access": "r"}"#,
                "type: must be c or b where a major or minor number is given",
            ),
            (
                r#"{"allow": true, "type": "b", "major": -2, "access": "r"}"#,
                "major: -2 is not a device number, or -1 for all",
            ),
        ] {
            assert_eq!(plan(json), Err(format!("linux.resources.devices[0].{message}")));
        }
    }
}
