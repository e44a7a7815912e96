//! Tests of [`super`]: tables, and properties over any text and any set of ranges.

use proptest::prelude::*;

use super::{HostIds, Pool, Spans, SubIds, parse_accounts, parse_subids};
use crate::config::Ranges;
use crate::idmap::{IdMap, RANGE_SIZE};
use crate::mapped::Mapped;

fn range(host: u32) -> IdMap {
    IdMap { host, size: RANGE_SIZE }
}

fn pool(config: Ranges, subids: &str, passwd: &str) -> Pool {
    let host = HostIds { subuid: subids.into(), subgid: subids.into(), passwd: passwd.into(), ..HostIds::default() };
    Pool::new(&config, &host).expect("a pool")
}

#[test]
fn subordinate_ids_are_read_and_junk_is_skipped() {
    let text =
        "alice:100000:65536\n#bob:1:1\n\n:5:5\nbob:x:1\nbob:1\nbob:1:2:3\n1000:200000:5\nbob:7:0\nmax:4294967290:99\n";
    let expected = [("alice", 100_000, 65536), ("1000", 200_000, 5), ("max", 4_294_967_290, 5)];
    let expected = expected.map(|(owner, start, count)| SubIds { owner, start, count });
    assert_eq!(parse_subids(text).collect::<Vec<_>>(), expected);
}

#[test]
fn accounts_are_read_and_junk_is_skipped() {
    let text = "root:x:0:0:root:/root:/bin/sh\n+::::::\n# a:x:5:\nnobody:x:65534:\nbig:x:99999999999:\nshort\nlast:x:100001:1::/:/";
    assert_eq!(parse_accounts(text).collect::<Vec<_>>(), [0, 65534, 100_001]);
}

#[test]
fn the_default_pool_starts_at_100000() {
    let pool = pool(Ranges::default(), "", "");
    let ranges: Vec<_> = pool.ranges().collect();
    assert_eq!((ranges[0], ranges[1], ranges.len()), (range(100_000), range(165_536), 4096));
    assert_eq!(pool.lowest_free(&Spans::default()), Some(range(100_000)));
}

#[test]
fn the_config_decides_the_pool() {
    let config = Ranges { first: Some(1_000_000), count: Some(2) };
    let pool = pool(config, "eci:100000:655360", "");
    assert_eq!(pool.ranges().collect::<Vec<_>>(), [range(1_000_000), range(1_065_536)]);
    assert_eq!(pool.setting(), "ranges.count in /etc/eci/config.toml");
}

#[test]
fn lines_of_eci_are_the_pool() {
    let pool = pool(Ranges::default(), "eci:500000:131072\nbob:100000:65536\neci:300000:70000\n", "");
    assert_eq!(pool.ranges().collect::<Vec<_>>(), [range(300_000), range(500_000), range(565_536)]);
    assert_eq!(pool.lowest_free(&Spans::default()), Some(range(300_000)));
}

#[test]
fn lines_of_eci_that_no_range_can_come_from_are_refused() {
    let build = |subuid: &str, subgid: &str| {
        let host = HostIds { subuid: subuid.into(), subgid: subgid.into(), ..HostIds::default() };
        Pool::new(&Ranges::default(), &host).map(|pool| pool.ranges().count()).map_err(|refusal| refusal.to_string())
    };
    let differ = "/etc/subuid: its lines of \"eci\" must be those of /etc/subgid: uid and gid maps are the same";
    assert_eq!(build("eci:100000:65536", ""), Err(differ.into()));
    let low = "/etc/subuid: \"eci\": a range must not begin below id 65536";
    assert_eq!(build("eci:1000:65536", "eci:1000:65536"), Err(low.into()));
    let small = "/etc/subuid: \"eci\": a range of 65536 ids does not fit";
    assert_eq!(build("eci:100000:65535", "eci:100000:65535"), Err(small.into()));
    assert_eq!(build("eci:100000:65536", "eci:100000:65536"), Ok(1));
}

#[test]
fn only_ranges_that_are_mapped_are_given() {
    let within = |size: u32| {
        let map = format!("0 1000000 {size}\n");
        let host = HostIds { mapped: Mapped::of(&map, &map), ..HostIds::default() };
        Pool::new(&Ranges::default(), &host).expect("a pool")
    };
    let (large, exact, small) = (within(300_000), within(165_536), within(165_535));
    assert_eq!(large.ranges().map(|range| range.host).collect::<Vec<_>>(), [100_000, 165_536, 231_072]);
    assert_eq!(large.setting(), "the size of the map of the user namespace that eci runs in");
    assert_eq!((exact.lowest_free(&Spans::default()), exact.unmapped()), (Some(range(100_000)), None));
    assert_eq!((small.lowest_free(&Spans::default()), small.unmapped()), (None, Some(range(100_000))));
    assert_eq!(small.mapped().to_string(), "0-165534");
}

#[test]
fn other_owners_and_accounts_are_avoided() {
    let none = Spans::default();
    let others = pool(Ranges::default(), "alice:100000:65536\nbob:165537:1\n", "");
    assert_eq!(others.lowest_free(&none), Some(range(231_072)));
    let account = pool(Ranges::default(), "", "carol:x:165535:1::/:/bin/sh\n");
    assert_eq!(account.lowest_free(&none), Some(range(165_536)));
    assert!(account.is_foreign(range(100_000)) && !account.is_foreign(range(165_536)));
}

#[test]
fn subgids_and_groups_are_avoided_too() {
    let host = HostIds { subgid: "alice:100000:1".into(), group: "g:x:165536:\n".into(), ..HostIds::default() };
    let pool = Pool::new(&Ranges::default(), &host).expect("a pool");
    assert_eq!(pool.lowest_free(&Spans::default()), Some(range(231_072)));
}

#[test]
fn a_full_pool_has_no_free_range() {
    let pool = pool(Ranges { first: Some(65536), count: Some(2) }, "", "");
    let taken: Spans = pool.ranges().collect();
    assert_eq!(pool.lowest_free(&taken), None);
}

fn id_map() -> impl Strategy<Value = IdMap> {
    (0..u32::MAX, 0..2_000_000_u32).prop_map(|(host, size)| IdMap { host, size: size.min(u32::MAX - host) })
}

fn near_map() -> impl Strategy<Value = IdMap> {
    (0..2_000_000_u32, 1..200_000_u32).prop_map(|(host, size)| IdMap { host, size })
}

proptest! {
    #[test]
    fn a_set_overlaps_what_one_of_its_maps_overlaps(maps in prop::collection::vec(id_map(), 0..20), probe in id_map()) {
        prop_assume!(probe.size > 0);
        let spans: Spans = maps.iter().copied().collect();
        let expected = maps.iter().any(|map| map.size > 0 && map.overlaps(probe));
        prop_assert_eq!(spans.overlaps(probe), expected);
    }

    #[test]
    fn the_range_given_is_the_lowest_that_touches_nobody(
        taken in prop::collection::vec(near_map(), 0..12),
        others in prop::collection::vec(near_map(), 0..12),
        account in 0..2_000_000_u32,
    ) {
        let lines: String = others.iter().map(|map| format!("bob:{}:{}\n", map.host, map.size)).collect();
        let pool = pool(Ranges { first: None, count: Some(20) }, &lines, &format!("a:x:{account}:"));
        let free = |range: &IdMap| {
            let mut all = taken.iter().chain(&others);
            all.all(|map| !map.overlaps(*range)) && range.to_container(account).is_none()
        };
        let spans: Spans = taken.iter().copied().collect();
        prop_assert_eq!(pool.lowest_free(&spans), pool.ranges().find(free));
    }

    #[test]
    fn no_text_confuses_the_parsers(text in "[a-z0-9:#+\\-\n\r\t \u{0}é]{0,200}", any in "\\PC*") {
        for text in [text, any] {
            for line in parse_subids(&text) {
                prop_assert!(line.count > 0 && line.start.checked_add(line.count).is_some() && !line.owner.is_empty());
            }
            let _ = parse_accounts(&text).count();
        }
    }

    #[test]
    fn a_well_formed_line_is_read_as_it_is_written(owner in "[a-z_][a-z0-9_-]{0,31}", start in 0..u32::MAX, count in 1..=u32::MAX) {
        let text = format!("junk\n{owner}:{start}:{count}\n");
        let expected = SubIds { owner: &owner, start, count: count.min(u32::MAX - start) };
        prop_assert_eq!(parse_subids(&text).collect::<Vec<_>>(), [expected]);
    }
}
