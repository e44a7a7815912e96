use std::path::Path;

use super::*;
use crate::fixture::{emulation, groups, write};

/// A container with a group of 2 processors and 64 MiB in another of 128 MiB, on a unified hierarchy, and the directories of
/// its values and groups.
fn container() -> (Emulation, tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let own = groups(directory.path(), "hierarchy/own");
    let inner = groups(&own, "docker/inner");
    for (group, megabytes, cpus) in [(own.as_path(), 128_u64, "0-3"), (inner.as_path(), 64, "1")] {
        write(group, "memory.max", &format!("{}\n", megabytes << 20));
        write(group, "memory.current", "4096\n");
        write(group, "cpuset.cpus.effective", cpus);
    }
    (emulation(directory.path(), &own), directory, own)
}

fn unified(dir: &Path) -> Groups {
    vec![(vec![], dir.to_owned())]
}

fn total(emulation: &Emulation) -> u64 {
    emulation.machine().unwrap().total_ram >> 20
}

#[test]
fn a_view_shows_the_least_of_all_groups_from_the_lower_one_upwards() {
    let (emulation, _directory, own) = container();
    let Seen::View(number) = emulation.seen_from(&unified(&own.join("docker/inner"))) else { panic!("none") };
    let view = emulation.view(number).unwrap();
    assert_eq!((total(&view), total(&emulation)), (64, 128));
    assert_eq!(crate::cpuset::cpus(&view).unwrap().into_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(crate::cpuset::cpus(&emulation).unwrap().len(), 4);
    // What a group above has less of.
    write(&own, "memory.max", &format!("{}\n", 32 << 20));
    assert_eq!((total(&view), total(&emulation)), (32, 32));
    assert_eq!(emulation.seen_from(&unified(&own.join("docker/inner"))), Seen::View(number), "the same");
    assert_eq!(emulation.view(number + 1).map(|_| ()), None);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
fn a_group_that_is_gone_is_that_above_it() {
    let (emulation, _directory, own) = container();
    let Seen::View(number) = emulation.seen_from(&unified(&own.join("docker/inner"))) else { panic!("none") };
    let view = emulation.view(number).unwrap();
    write(&own.join("docker"), "memory.max", &format!("{}\n", 96 << 20));
    std::fs::remove_dir_all(own.join("docker/inner")).unwrap();
    assert_eq!(total(&view), 96);
    std::fs::remove_dir_all(own.join("docker")).unwrap();
    assert_eq!(total(&view), 128);
}

/// A container makes groups as deep as it likes, and [`MOST`] views of them.
#[test]
fn of_a_deep_group_no_more_is_kept_than_of_another() {
    let (emulation, _directory, own) = container();
    for path in ["a", &"a/".repeat(1000)] {
        let Seen::View(number) = emulation.seen_from(&unified(&own.join(path))) else { panic!("none") };
        let view = emulation.view(number).unwrap();
        assert_eq!(view.facts.cgroups.len(), 2);
        assert!(Arc::ptr_eq(&view.facts.values, &emulation.facts.values), "and no descriptor");
    }
}

#[test]
fn groups_that_are_not_below_the_containers_are_its_own() {
    let (emulation, _directory, own) = container();
    let above = own.parent().unwrap();
    for dir in [own.clone(), above.to_owned(), above.join("own-too"), own.join("../other"), PathBuf::from("/")] {
        assert_eq!(emulation.seen_from(&unified(&dir)), Seen::Own, "{}", dir.display());
    }
    assert_eq!(emulation.seen_from(&Groups::new()), Seen::Own);
    let named = vec![(vec!["name=systemd".to_owned()], own.join("docker"))];
    assert_eq!(emulation.seen_from(&named), Seen::Own, "another hierarchy");
    let lower = |controller: &str| {
        let own = vec![(vec![controller.to_owned()], own.clone())];
        super::lower(&own, &vec![(vec![controller.to_owned()], own[0].1.join("docker/inner"))]).len()
    };
    assert_eq!((lower("memory"), lower("devices")), (1, 0), "no file tells of devices");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
fn there_are_so_many_views_until_their_groups_are_gone() {
    let (emulation, _directory, own) = container();
    let seen = |number: usize| emulation.seen_from(&unified(&groups(&own, &format!("n/{number}"))));
    let views: Vec<Seen> = (0..MOST).map(seen).collect();
    assert!(views.iter().all(|seen| matches!(seen, Seen::View(_))));
    assert_eq!(seen(MOST), Seen::TooMany);
    assert_eq!(seen(7), views[7], "those that are there stay");
    let Seen::View(gone) = views[7] else { panic!("none") };
    std::fs::remove_dir_all(own.join("n/7")).unwrap();
    // The group above is still there, but not one of its own.
    assert!(matches!(seen(MOST), Seen::View(_)));
    assert!(emulation.view(gone).is_none());
    assert_eq!(seen(MOST + 1), Seen::TooMany);
}
