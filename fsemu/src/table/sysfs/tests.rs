use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::fixture::{emulation, groups, write};
use crate::mirror::MirrorNode;
use crate::table::nodes;

/// A container that has only these CPUs and memory nodes, and the mirror of `path`.
fn mirror(path: &str, cpus: &str, mems: &str) -> (TempDir, MirrorNode, Emulation) {
    let cgroup = tempfile::tempdir().expect("a directory");
    groups(cgroup.path(), "");
    write(cgroup.path(), "cpuset.cpus.effective", cpus);
    write(cgroup.path(), "cpuset.mems.effective", mems);
    let node = nodes().find(|node| node.path == path).expect(path);
    let Kind::Mirror(mirror) = node.kind else { panic!("{path} is no mirror") };
    let emulation = emulation(cgroup.path(), cgroup.path());
    (cgroup, MirrorNode::open(Path::new(path), mirror).expect(path), emulation)
}

#[test]
fn only_the_containers_cpus_show() {
    let (_cgroup, node, emulation) = mirror("/sys/devices/system/cpu", "0\n", "0\n");
    let entries = node.list(&emulation, Path::new("")).expect("the directory");
    let names: Vec<_> = entries.iter().filter_map(|entry| entry.name.to_str()).collect();
    assert!(names.contains(&"cpu0") && names.contains(&"online"), "{names:?}");
    assert!(!names.iter().any(|name| number(name, "cpu").is_some_and(|cpu| cpu != 0)), "{names:?}");
    let read = |path: &str| String::from_utf8(node.read(&emulation, Path::new(path)).expect(path)).expect(path);
    for path in ["online", "possible", "present", "cpu0/topology/core_siblings_list"] {
        assert_eq!(read(path), "0\n", "{path}");
    }
    assert_eq!(read("offline"), "\n");
    let siblings = read("cpu0/topology/core_siblings");
    assert_eq!(u64::from_str_radix(&siblings.trim().replace(',', ""), 16), Ok(1), "{siblings}");
    assert_eq!(read("kernel_max"), std::fs::read_to_string("/sys/devices/system/cpu/kernel_max").expect("kernel_max"));
    assert!(node.read(&emulation, Path::new("cpu1/topology/core_id")).is_err());
}

#[test]
fn only_the_containers_memory_nodes_show() {
    let place = "/sys/devices/system/node";
    let (_cgroup, node, emulation) = mirror(place, "0\n", "0\n");
    let read = |path: &str| String::from_utf8(node.read(&emulation, Path::new(path)).expect(path)).expect(path);
    assert_eq!((read("online"), read("node0/cpulist")), ("0\n".into(), "0\n".into()));
    let entries = node.list(&emulation, Path::new("node0")).expect("the directory");
    let cpus: Vec<_> = entries.iter().filter_map(|entry| number(entry.name.to_str()?, "cpu")).collect();
    assert_eq!(cpus, [0]);
    let (_cgroup, node, emulation) = mirror(place, "0\n", "1\n");
    assert!(node.lookup(&emulation, Path::new(""), "node0".as_ref()).expect("a lookup").is_none());
}

/// A cgroup without the controller is bound by its parent; a container without a cgroup has what the host has.
#[test]
fn the_set_is_that_of_the_nearest_cgroup() {
    let cgroup = tempfile::tempdir().expect("a directory");
    write(cgroup.path(), "cpuset.cpus.effective", "3,5-6\n");
    write(cgroup.path(), "cpuset.mems.effective", "1\n");
    let below = groups(cgroup.path(), "a/b");
    let inherited = emulation(cgroup.path(), &below);
    assert_eq!(cpus(&inherited).expect("a set"), [3, 5, 6].into());
    assert_eq!(mems(&inherited).expect("a set"), [1].into());
    // On a hybrid host the unified hierarchy has no cpuset.
    let v1 = groups(cgroup.path(), "v1");
    write(&v1, "cpuset.effective_cpus", "1\n");
    let mut hybrid = emulation(cgroup.path(), &below);
    hybrid.facts.cgroups.push((vec!["cpu".to_owned()], below.clone()));
    hybrid.facts.cgroups.push((vec!["cpuset".to_owned()], v1));
    assert_eq!(cpus(&hybrid).expect("a set"), [1].into());
    let none = emulation(cgroup.path(), Path::new("/none"));
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("the host's");
    assert_eq!(crate::cpuset::to_list(&cpus(&none).expect("a set")), online);
    write(cgroup.path(), "cpuset.mems.effective", "x\n");
    assert!(mems(&inherited).is_err());
    assert!(!shows(&inherited, "node0") && shows(&inherited, "online"));
}

#[test]
fn numbers_of_names() {
    for (name, expected) in
        [("cpu0", Some(0)), ("cpu12", Some(12)), ("cpu", None), ("cpufreq", None), ("cpu1x", None), ("node1", None)]
    {
        assert_eq!(number(name, "cpu"), expected, "{name}");
    }
}

#[test]
fn each_container_is_a_product_of_its_own() {
    let host = "03000200-0400-0500-0006-000700080009\n";
    let own = uuid(host, "c1");
    assert!(own.starts_with("03000200-0400-0500-0006-") && own.len() == host.len(), "{own}");
    assert_eq!(own, uuid(host, "c1"));
    assert_ne!(own, uuid(host, "c2"));
    for none in ["", "Not Settable\n", "ü3000200-0400-0500-0006-000700080009"] {
        assert!(uuid(none, "c1").starts_with("00000000-0000-0000-0000-"), "{none}");
    }
}
