use proptest::prelude::*;

use super::*;

/// What somebody wants of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) wanted: u8,
}

/// The definition: for each thing wanted, the last rule that speaks of it decides.
pub(crate) fn decide(rules: &[Rule], request: Request) -> bool {
    let bits = [MKNOD, READ, WRITE].into_iter().filter(|bit| request.wanted & bit != 0);
    let about = |rule: &DeviceRule, bit| {
        rule.kind.is_none_or(|kind| (kind == DeviceKind::Block) == request.block)
            && rule.major.is_none_or(|major| major == request.major)
            && rule.minor.is_none_or(|minor| minor == request.minor)
            && access(rule) & bit != 0
    };
    let mut verdicts = bits.map(|bit| rules.iter().rfind(|it| about(&it.rule, bit)).is_some_and(|it| it.rule.allow));
    verdicts.all(|allowed| allowed)
}

/// What the kernel's list (security/device_cgroup.c) says.
fn v1_decides(v1: &V1, request: Request) -> bool {
    let number = |own: Option<u32>, asked| own.is_none_or(|own| own == asked);
    let mut about = v1
        .exceptions
        .iter()
        .filter(|it| it.block == request.block && number(it.major, request.major) && number(it.minor, request.minor));
    if v1.allow {
        !about.any(|it| it.access & request.wanted != 0)
    } else {
        about.any(|it| it.access & request.wanted == request.wanted)
    }
}

// Few numbers, the defaults' and u32's largest among them, so that rules meet.
fn some_number() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(3), Just(136), Just(u32::MAX)]
}

pub(crate) fn some_rules() -> impl Strategy<Value = Vec<DeviceRule>> {
    let kind = prop_oneof![Just(None), Just(Some(DeviceKind::Char)), Just(Some(DeviceKind::Block))];
    let number = || proptest::option::of(some_number());
    let rule = (any::<bool>(), kind, number(), number(), 0..8_u8).prop_map(|(allow, kind, major, minor, bits)| {
        let (mknod, read, write) = (bits & MKNOD != 0, bits & READ != 0, bits & WRITE != 0);
        DeviceRule { allow, kind, major, minor, read, write, mknod }
    });
    proptest::collection::vec(rule, 0..6)
}

pub(crate) fn some_request() -> impl Strategy<Value = Request> {
    (any::<bool>(), some_number(), some_number(), 1..8_u8).prop_map(|(block, major, minor, wanted)| Request {
        block,
        major,
        minor,
        wanted,
    })
}

const EVERYTHING: DeviceRule =
    DeviceRule { allow: true, kind: None, major: None, minor: None, read: true, write: true, mknod: true };
const NOTHING: DeviceRule = DeviceRule { allow: false, ..EVERYTHING };

fn lines(spec: &[DeviceRule]) -> (bool, Vec<String>) {
    let v1 = v1(&rules(spec).expect("rules")).expect("a v1 form");
    (v1.allow, v1.exceptions.iter().map(ToString::to_string).collect())
}

#[test]
fn what_ctr_sends_leaves_the_defaults() {
    let (allow, exceptions) = lines(&[NOTHING]);
    assert!(!allow);
    let expected = "c *:* m|b *:* m|c 1:3 rwm|c 1:5 rwm|c 1:7 rwm|c 1:8 rwm|c 1:9 rwm|c 5:0 rwm|c 5:2 rwm|c 136:* rwm|\
                    c 10:200 rwm|c 10:229 rwm";
    assert_eq!(exceptions.join("|"), expected);
    assert_eq!(lines(&[]), (allow, exceptions), "no rules are the same");
}

#[test]
fn a_privileged_container_needs_no_rule() {
    assert_eq!(lines(&[NOTHING, EVERYTHING]), (true, vec![]));
    let of = |spec: &[DeviceRule]| allow_everything(&rules(spec).expect("rules"));
    assert!(of(&[NOTHING, EVERYTHING]));
    let no_disks = DeviceRule { kind: Some(DeviceKind::Block), ..NOTHING };
    assert!(!of(&[EVERYTHING, no_disks]) && !of(&[]) && !of(&[EVERYTHING, NOTHING]));
    assert_eq!(lines(&[EVERYTHING, no_disks]).1, ["b *:* rw"], "the defaults give mknod back");
}

#[test]
fn what_v1_cannot_say_is_refused_by_its_place() {
    let disk = DeviceRule { kind: Some(DeviceKind::Block), major: Some(8), ..EVERYTHING };
    let partition = DeviceRule { allow: false, minor: Some(1), ..disk };
    let refusal = v1(&rules(&[disk, partition]).expect("rules")).expect_err("a refusal").to_string();
    assert_eq!(
        refusal,
        "linux.resources.devices[1]: b 8:1 rwm: takes back a part of the wider rule b 8:* rwm, which cgroup v1 cannot do"
    );
    let whole = DeviceRule { allow: false, ..disk };
    assert!(!lines(&[disk, whole]).1.iter().any(|line| line.starts_with("b 8")), "a whole rule is taken back");
}

#[test]
fn a_named_pipe_is_refused() {
    let pipe = DeviceRule { kind: Some(DeviceKind::Fifo), ..EVERYTHING };
    let refusal = rules(&[NOTHING, pipe]).expect_err("a refusal").to_string();
    assert_eq!(refusal, "linux.resources.devices[1]: type \"p\": a named pipe is no device");
}

proptest! {
    #[test]
    fn v1_never_allows_more_and_denies_more_only_for_several_things_at_once(
        spec in some_rules(), request in some_request(),
    ) {
        let rules = rules(&spec).expect("rules");
        if let Ok(v1) = v1(&rules) {
            let (ordered, list) = (decide(&rules, request), v1_decides(&v1, request));
            prop_assert!(ordered || !list);
            if request.wanted.is_power_of_two() {
                prop_assert_eq!(ordered, list);
            }
        }
    }

    #[test]
    fn needing_no_rule_means_that_everything_is_allowed(spec in some_rules(), request in some_request()) {
        let rules = rules(&spec).expect("rules");
        if allow_everything(&rules) {
            prop_assert!(decide(&rules, request));
        }
    }
}

#[test]
fn systemd_has_names_for_devices_and_for_the_groups_of_drivers() {
    let groups = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n";
    let name = |block, major, minor| {
        let from = Rule { rule: DEFAULTS[0], index: None };
        Exception { block, major, minor, access: ALL, from }.of_systemd(groups)
    };
    assert_eq!(name(false, None, None).as_deref(), Some("char-*"));
    assert_eq!(name(true, None, None).as_deref(), Some("block-*"));
    assert_eq!(name(false, Some(1), Some(3)).as_deref(), Some("/dev/char/1:3"));
    assert_eq!(name(false, Some(136), None).as_deref(), Some("char-pts"));
    assert_eq!(name(true, Some(8), None).as_deref(), Some("block-sd"));
    assert_eq!(name(true, Some(136), None), None);
    assert_eq!(name(false, None, Some(3)), None);
}
