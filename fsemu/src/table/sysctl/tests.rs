use std::path::Path;

use super::*;
use crate::fixture::emulation;
use crate::table::{name, nodes};

#[test]
fn rows_are_well_formed() {
    let mut names: Vec<String> = nodes().map(Node::name).collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    for node in nodes() {
        assert!(node.path.starts_with("/proc/") || node.path.starts_with("/sys/"), "{node:?}");
        assert!(node.reason.ends_with('.') && !node.reason.contains('|'), "{node:?}");
        assert_eq!(node.own_proc_only, node.path.starts_with("/proc/sys/net/"), "{}", node.path);
        if let Kind::Kept(Kept { tie: Tie::Same(other) | Tie::Zeroes(other) | Tie::ChangeZeroes(other), .. }) =
            node.kind
        {
            assert!(names.contains(&name(other)), "{other}");
        }
    }
}

#[test]
fn the_config_has_a_ceiling_for_each_row_that_may_raise_and_no_other() {
    let mut rows: Vec<_> = nodes().filter(|node| node.may_raise()).map(|node| node.path).collect();
    let mut ceilings: Vec<_> = policy::config::Sysctl::default().ceilings().iter().map(|(path, _)| *path).collect();
    rows.sort_unstable();
    ceilings.sort_unstable();
    assert_eq!(rows, ceilings);
}

/// What the kernel lets a namespace's root write, and what must not seem to be written, has no row.
#[test]
fn the_kernels_own_have_no_row() {
    for node in nodes() {
        for own in [
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/domainname",
            "/proc/sys/kernel/shm",
            "/proc/sys/kernel/msg",
            "/proc/sys/kernel/sem",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/kernel/hotplug",
            "/proc/sys/kernel/poweroff_cmd",
            "/proc/sys/kernel/modules_disabled",
            "/proc/sys/kernel/random/uuid",
            "/proc/sys/fs/mqueue",
            "/proc/sys/fs/binfmt_misc",
            "/proc/sys/user",
            "/proc/sysrq-trigger",
            "/proc/sys/vm/drop_caches",
        ] {
            assert!(!node.path.starts_with(own), "{}", node.path);
        }
    }
}

/// What this kernel shows is in the range that the row has, and shown as the row shows it.
#[test]
fn the_hosts_values_are_taken_as_they_are() {
    let mut seen = 0;
    for node in nodes() {
        let Kind::Kept(kept) = node.kind else { continue };
        let Ok(text) = std::fs::read(node.path) else { continue };
        let zeroed = matches!(kept.tie, Tie::Zeroes(_) | Tie::ChangeZeroes(_)) && text == b"0\n";
        let mut after = text.clone();
        if !zeroed {
            assert_eq!(kept.check.write(&mut after, &text), Ok(()), "{}", node.path);
        }
        assert_eq!(after, text, "{}", node.path);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_container_has_a_boot_id_for_its_life() {
    let boot = |emulation: &Emulation| String::from_utf8(boot_id(emulation).expect("an id")).expect("an id");
    let here = Path::new("/sys");
    let (first, second) = (emulation(here, here), emulation(here, here));
    let id = boot(&first);
    assert_eq!(id.len(), 37, "{id}");
    assert_eq!(boot(&first), id);
    assert_ne!(boot(&second), id);
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the host's"), id);
}
