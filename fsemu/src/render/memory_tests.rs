use super::*;
use crate::render::groups::tests::{groups, levels};

#[test]
fn v2_has_a_level_for_each_limit() {
    let own = [
        ("memory.max", "max\n"),
        ("memory.current", "500\n"),
        ("memory.swap.max", "0\n"),
        ("memory.swap.current", "7\n"),
        ("memory.stat", "anon 1\nfile 2\ninactive_file 3\n"),
    ];
    let stat = "inactive_file 30\nactive_file 40\nslab_reclaimable 5\n";
    let root = levels(&own, &[("memory.max", "4096\n"), ("memory.current", "1000\n"), ("memory.stat", stat)]);
    let memory = Memory::of(&groups(root.path(), true));
    assert_eq!(memory.memory, [Level { limit: 4096, usage: 1000, reclaimable: 75 }]);
    assert_eq!(memory.swap, [Level { limit: 0, usage: 7, reclaimable: 0 }]);
    assert_eq!((memory.stat("anon"), memory.stat("none"), memory.swapped), (1, 0, 7));
}

#[test]
fn v1_has_the_same_by_other_names() {
    let stat = "rss 9\ntotal_rss 1\ntotal_cache 2\ntotal_inactive_file 3\ntotal_active_file 4\ntotal_swap 5\n";
    let own = [
        ("memory.limit_in_bytes", "4096\n"),
        ("memory.usage_in_bytes", "1000\n"),
        ("memory.memsw.limit_in_bytes", "5000\n"),
        ("memory.kmem.usage_in_bytes", "6\n"),
        ("memory.stat", stat),
    ];
    let unlimited =
        [("memory.limit_in_bytes", "9223372036854771712\n"), ("memory.memsw.limit_in_bytes", "9223372036854771712\n")];
    let root = levels(&own, &unlimited);
    let memory = Memory::of(&groups(root.path(), false));
    assert_eq!(memory.memory, [Level { limit: 4096, usage: 1000, reclaimable: 7 }]);
    assert_eq!(memory.swap, [Level { limit: 904, usage: 5, reclaimable: 0 }]);
    assert_eq!(["anon", "file", "slab_unreclaimable"].map(|key| memory.stat(key)), [1, 2, 6]);
    assert_eq!(memory.swapped, 5);
    let own = root.path().to_owned();
    drop(root);
    assert_eq!(Memory::of(&groups(&own, false)).memory, [], "of a group that is gone");
}

#[test]
fn the_least_of_all_levels_and_the_host_is_what_there_is() {
    let level = |limit, usage| Level { limit, usage, reclaimable: 0 };
    assert_eq!(least(&[], 100, 50), (100, 50));
    assert_eq!(least(&[level(80, 10), level(90, 85)], 100, 50), (80, 5));
    assert_eq!(least(&[level(80, 90)], 100, 50), (80, 0));
    assert_eq!(least(&[level(20, 0)], 100, 50), (20, 20));
    assert_eq!(least(&[level(200, 0)], 100, 50), (100, 50));
}
