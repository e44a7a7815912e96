//! Ids, groups, capabilities, no_new_privs.

use policy::idmap::IdMap;
use policy::plan::Capabilities;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;

const STATUS: &[&str] = &["/bin/cat", "/proc/self/status"];

/// Chown, setpcap, net_bind_service.
const SOME: u64 = 1 | 1 << 8 | 1 << 10;

fn hex(set: u64) -> String {
    format!("{set:016x}")
}

#[test]
fn a_user_has_its_ids_and_groups_and_no_others() {
    let shown = alone(|| run(&Process { uid: 1000, gid: 2000, additional_gids: vec![30, 40], ..program(STATUS) }));
    assert_eq!(shown.line("Uid:"), "1000 1000 1000 1000");
    assert_eq!(shown.line("Gid:"), "2000 2000 2000 2000");
    assert_eq!(shown.line("Groups:"), "30 40");
}

#[test]
fn the_shims_groups_are_dropped() {
    let shown = alone(|| {
        rustix::thread::set_thread_groups(&[rustix::fs::Gid::from_raw(7)]).unwrap();
        run(&program(STATUS))
    });
    assert_eq!(shown.line("Groups:"), "");
}

/// S23: an id outside of the map never becomes another, root least of all.
#[test]
fn ids_outside_of_the_map_are_refused() {
    let map = IdMap { host: 100_000, size: 65536 };
    let refused = |process: Process| {
        let error = prepared_with(&process, |setup| setup.id_map = map).unwrap_err();
        error.to_string()
    };
    let user = |uid| Process { uid, ..program(STATUS) };
    let expected = |field, id| format!("setting process.user.{field}: {id} is outside of the container's ids 0-65535");
    assert_eq!(refused(user(u32::MAX)), expected("uid", u32::MAX));
    assert_eq!(refused(user(65536)), expected("uid", 65536));
    assert_eq!(refused(Process { gid: 70000, ..user(0) }), expected("gid", 70000));
    assert_eq!(refused(Process { additional_gids: vec![5, 65536], ..user(0) }), expected("additionalGids", 65536));
}

#[test]
fn the_last_id_of_the_map_is_served() {
    let shown = alone(|| run(&Process { uid: 65535, gid: 65535, ..program(STATUS) }));
    assert_eq!(shown.line("Uid:"), "65535 65535 65535 65535");
}

/// S05, and CVE-2022-24769: what the caller had as inheritable does not reach the program.
#[test]
fn root_gets_the_bounding_set_and_nothing_inheritable() {
    let shown = alone(|| {
        let mut sets = capabilities(None).unwrap();
        sets.inheritable = CapabilitySet::CHOWN | CapabilitySet::SYS_ADMIN;
        set_capabilities(None, sets).unwrap();
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::CHOWN, true).unwrap();
        let capabilities = Capabilities { bounding: SOME, effective: SOME, permitted: SOME, ..Default::default() };
        run(&Process { capabilities, ..program(STATUS) })
    });
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| shown.line(name));
    assert_eq!(sets, [hex(0), hex(SOME), hex(SOME), hex(SOME), hex(0)]);
}

#[test]
fn a_user_without_ambient_capabilities_has_none() {
    let capabilities = Capabilities { bounding: SOME, effective: SOME, permitted: SOME, ..Default::default() };
    let shown = alone(|| run(&Process { uid: 1000, capabilities, ..program(STATUS) }));
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| shown.line(name));
    assert_eq!(sets, [hex(0), hex(0), hex(0), hex(SOME), hex(0)]);
}

#[test]
fn a_user_has_its_ambient_capabilities() {
    let bind = 1 << 10;
    let capabilities =
        Capabilities { bounding: SOME, effective: bind, permitted: SOME, inheritable: bind | 1, ambient: bind };
    let shown = alone(|| run(&Process { uid: 1000, capabilities, ..program(STATUS) }));
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| shown.line(name));
    assert_eq!(sets, [hex(bind | 1), hex(bind), hex(bind), hex(SOME), hex(bind)]);
}

#[test]
fn a_capability_that_no_kernel_has_is_reported() {
    let capabilities = Capabilities { bounding: 1 << 62 | 1, ..Default::default() };
    let shown = alone(|| run(&Process { capabilities, ..program(STATUS) }));
    assert_eq!(shown.line("note:"), "process.capabilities.bounding has no capability 62: not available here");
    assert_eq!(shown.line("CapBnd:"), hex(1));
}

#[test]
fn secure_bits_are_left_clean() {
    let shown = alone(|| {
        let bits = rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP;
        rustix::thread::set_capabilities_secure_bits(bits).unwrap();
        let prepared = prepared(&Process { uid: 1000, ..program(STATUS) })?;
        prepared.become_and_exec(|| {
            println!("\nsecure bits: {:?}", rustix::thread::capabilities_secure_bits().unwrap().bits());
            Ok(())
        })
    });
    assert_eq!(shown.line("secure bits:"), "0");
}

#[test]
fn no_new_privileges_is_set_when_asked_for_and_only_then() {
    let shown = alone(|| run(&Process { no_new_privileges: true, ..program(STATUS) }));
    assert_eq!(shown.line("NoNewPrivs:"), "1");
}

#[test]
fn new_privileges_are_allowed_otherwise() {
    assert_eq!(alone(|| run(&program(STATUS))).line("NoNewPrivs:"), "0");
}

/// What is effective when the filter is installed: `CAP_SYS_ADMIN` beside the program's, or no_new_privs.
fn at_the_filter(no_new_privileges: bool) -> Shown {
    alone(|| {
        let capabilities = Capabilities { bounding: 1, effective: 1, permitted: 1, ..Default::default() };
        let prepared = prepared(&Process { uid: 1000, no_new_privileges, capabilities, ..program(STATUS) })?;
        prepared.become_and_exec(|| {
            let effective = rustix::thread::capabilities(None).unwrap().effective.bits();
            println!("\nfilter: {} {}", hex(effective), rustix::thread::no_new_privs().unwrap());
            Ok(())
        })
    })
}

#[test]
fn the_filter_is_installed_with_the_privilege_it_takes() {
    let shown = at_the_filter(false);
    assert_eq!(shown.line("filter:"), format!("{} false", hex(1 << 21 | 1)));
    assert_eq!((shown.line("CapPrm:"), shown.line("CapBnd:")), (hex(0), hex(1)));
}

#[test]
fn the_filter_is_installed_without_privilege_under_no_new_privileges() {
    assert_eq!(at_the_filter(true).line("filter:"), format!("{} true", hex(1)));
}

#[test]
fn a_filter_that_cannot_be_installed_starts_no_program() {
    let shown = alone(|| prepared(&program(STATUS))?.become_and_exec(|| Err(rustix::io::Errno::INVAL.into())));
    assert_eq!(shown.line("error:"), "installing the seccomp filter: invalid argument");
}
