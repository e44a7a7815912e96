//! Tests of the rules of allocation, in a directory of their own: who gets which range, and who is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use policy::config::Ranges;
use policy::idmap::{IdMap, RANGE_SIZE};
use policy::mapped::Mapped;
use policy::subid::{HostIds, Pool};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Leases, Request};
use crate::lease::held::now;
use crate::lease::lock;
use crate::lease::{LayerId, Lease, LeaseError, Status};

/// A host: leases, and layers that come and go.
struct Host {
    temp: TempDir,
    leases: Leases,
}

impl Host {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let leases = Leases::open(temp.path().join("ranges")).expect("the state directory");
        Self { temp, leases }
    }

    fn layer(&self, id: &str) -> PathBuf {
        self.temp.path().join(id)
    }

    /// A container with a writable layer.
    fn container(&self, id: &str) -> Request {
        fs::create_dir_all(self.layer(id)).expect("mkdir");
        let layer = Some(LayerId::of(self.layer(id)).expect("statx"));
        Request { layer, ..bare(id) }
    }

    fn remove(&self, id: &str) {
        fs::remove_dir_all(self.layer(id)).expect("rmdir");
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temp.path().join("ranges")).expect("readdir");
        let names = entries.map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8"));
        let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
        names.sort_unstable();
        names
    }
}

/// A container without a layer.
fn bare(id: &str) -> Request {
    Request { container: id.into(), namespace: "default".into(), ..Request::default() }
}

fn pool(count: u32) -> Pool {
    subid_pool(count, "")
}

fn subid_pool(count: u32, subids: &str) -> Pool {
    let host = HostIds { subuid: subids.into(), subgid: subids.into(), ..HostIds::default() };
    Pool::new(&Ranges { first: None, count: Some(count) }, &host).expect("a pool")
}

/// The n-th range of the pool.
fn nth(index: u32) -> IdMap {
    IdMap { host: 100_000 + index * RANGE_SIZE, size: RANGE_SIZE }
}

fn notes(lease: &Lease) -> Vec<String> {
    lease.notes().iter().map(ToString::to_string).collect()
}

/// What the kernel does for a shim that dies. (Dropping alone would leave the lock to a process that another test of
/// this binary is starting just now.)
fn kill(lease: Lease) {
    lock::give_up(&lease).expect("unlock");
}

/// Waits until the clock that orders leases has gone on.
fn tick() {
    let start = now();
    while now() == start {
        std::thread::yield_now();
    }
}

#[test]
fn the_lowest_free_range_is_given() {
    let host = Host::new();
    let pool = pool(10);
    let [a, b, c] = ["a", "b", "c"].map(|id| host.leases.acquire(&bare(id), &pool).expect("a lease"));
    assert_eq!([a.id_map(), b.id_map(), c.id_map()], [nth(0), nth(1), nth(2)]);
    b.release().expect("release");
    kill(c);
    let again = ["d", "e", "f"].map(|id| {
        let lease = host.leases.acquire(&bare(id), &pool).expect("a lease");
        let map = lease.id_map();
        kill(lease);
        map
    });
    assert_eq!(again, [nth(1); 3], "a lease without a layer is free when its shim is dead");
}

#[test]
fn a_container_without_a_layer_leaves_no_file() {
    let host = Host::new();
    let lease = host.leases.acquire(&bare("a"), &pool(1)).expect("a lease");
    assert_eq!(host.files().len(), 1);
    lease.release().expect("release");
    assert_eq!(host.files(), [""; 0]);
}

#[test]
fn a_restart_keeps_the_range_though_another_container_came_in_between() {
    let host = Host::new();
    let (pool, first) = (pool(10), host.container("a"));
    host.leases.acquire(&first, &pool).expect("a lease").release().expect("release");
    let other = host.leases.acquire(&host.container("b"), &pool).expect("a lease");
    assert_eq!(other.id_map(), nth(1), "the range of a stopped container is kept");
    let again = host.leases.acquire(&first, &pool).expect("a lease");
    assert_eq!((again.id_map(), again.notes()), (nth(0), &[][..]));
    assert_eq!(host.files().len(), 2);
}

#[test]
fn a_removed_layer_returns_the_range() {
    let host = Host::new();
    let pool = pool(10);
    for _ in 0..2 {
        let lease = host.leases.acquire(&host.container("a"), &pool).expect("a lease");
        assert_eq!(lease.id_map(), nth(0));
        lease.release().expect("release");
        host.remove("a");
    }
    assert_eq!(host.leases.list().expect("the list"), []);
    assert_eq!(host.files(), [""; 0], "listing removes what nobody needs");
}

#[test]
fn the_same_name_with_another_layer_or_namespace_is_another_container() {
    let host = Host::new();
    let pool = pool(10);
    let first = host.container("a");
    host.leases.acquire(&first, &pool).expect("a lease").release().expect("release");
    let layer = host.container("b").layer;
    let others = [Request { layer, ..first.clone() }, Request { namespace: "moby".into(), ..first.clone() }];
    for (index, other) in others.iter().enumerate() {
        let lease = host.leases.acquire(other, &pool).expect("a lease");
        assert_eq!(lease.id_map(), nth(1 + index as u32));
        lease.release().expect("release");
    }
    assert_eq!(host.leases.acquire(&first, &pool).expect("a lease").id_map(), nth(0));
}

#[test]
fn a_container_that_still_has_its_lease_is_not_given_it_twice() {
    let host = Host::new();
    let (pool, request) = (pool(10), host.container("a"));
    let first = host.leases.acquire(&request, &pool).expect("a lease");
    let second = host.leases.acquire(&request, &pool).expect("a lease");
    assert_eq!((first.id_map(), second.id_map()), (nth(0), nth(1)));
}

#[test]
fn other_owners_are_avoided_also_when_they_come_later() {
    let host = Host::new();
    let request = host.container("a");
    let before = host.leases.acquire(&request, &subid_pool(10, "alice:165536:1")).expect("a lease");
    assert_eq!(before.id_map(), nth(0));
    before.release().expect("release");
    let after = host.leases.acquire(&request, &subid_pool(10, "alice:100000:65537")).expect("a lease");
    assert_eq!(after.id_map(), nth(2), "the former range is now another owner's");
    assert_eq!(host.files().len(), 1, "and no longer kept");
}

#[test]
fn a_used_up_pool_is_refused_and_says_what_to_raise() {
    let host = Host::new();
    let pool = subid_pool(3, "alice:100000:1");
    let held = ["a", "b"].map(|id| host.leases.acquire(&bare(id), &pool).expect("a lease"));
    let error = host.leases.acquire(&bare("c"), &pool).expect_err("the pool is used up");
    let message = "no free id range: all 3 ranges of the pool are in use (2 by containers, 1 by other owners or accounts \
                   of the host); raise ranges.count in /etc/eci/config.toml";
    assert_eq!(error.to_string(), message);
    let [_, last] = held;
    last.release().expect("release");
    assert!(host.leases.acquire(&bare("c"), &pool).is_ok(), "one that is free is given");
}

#[test]
fn a_used_up_pool_takes_from_the_stopped_the_oldest_first() {
    let host = Host::new();
    let pool = pool(3);
    let requests = ["a", "b", "c"].map(|id| host.container(id));
    let [a, b, c] = requests.each_ref().map(|request| host.leases.acquire(request, &pool).expect("a lease"));
    for stopped in [b, a] {
        stopped.release().expect("release");
        tick();
    }
    let first = host.leases.acquire(&bare("d"), &pool).expect("a lease");
    let line = "id range 165536-231071 was taken from the stopped container \"b\" (namespace \"default\"): the pool is used up";
    assert_eq!((first.id_map(), notes(&first)), (nth(1), vec![line.to_owned()]));
    let second = host.leases.acquire(&bare("e"), &pool).expect("a lease");
    assert_eq!(second.id_map(), nth(0));
    let full = host.leases.acquire(&bare("f"), &pool).expect_err("only living containers are left");
    assert!(matches!(full, LeaseError::Exhausted { leased: 3, .. }), "{full}");
    [first, second, c].into_iter().for_each(kill);
    let again = host.leases.acquire(&requests[1], &pool).expect("a lease");
    assert_eq!(again.id_map(), nth(0), "a container that lost its range gets another one");
}

#[test]
fn the_same_map_of_two_specs_is_shared() {
    let host = Host::new();
    let map = IdMap { host: 300_000, size: 131_072 };
    let one = host.leases.acquire_map(&host.container("a"), map).expect("a lease");
    assert_eq!((one.id_map(), one.notes()), (map, &[][..]));
    let two = host.leases.acquire_map(&bare("b"), map).expect("the same map");
    let line = "id range 300000-431071 is shared, as the specs ask, with container \"a\" (namespace \"default\")";
    assert_eq!(notes(&two), [line]);
    let three = host.leases.acquire_map(&bare("c"), map).expect("the same map");
    assert!(notes(&three)[0].ends_with(" and 1 more"), "{:?}", notes(&three));
    [one, two].into_iter().for_each(kill);
    let over = |host| IdMap { host, size: RANGE_SIZE };
    assert!(host.leases.acquire_map(&bare("d"), over(400_000)).is_err(), "the last member still has it");
    kill(three);
    let stopped = host.leases.acquire_map(&bare("d"), over(400_000));
    assert!(stopped.is_ok(), "the map of a stopped container is no living one");
}

#[test]
fn an_overlap_with_a_living_container_is_refused_by_name() {
    let host = Host::new();
    let pool = pool(10);
    let _map = host.leases.acquire_map(&bare("m"), IdMap { host: 200_000, size: 100_000 }).expect("a lease");
    let lease = host.leases.acquire(&bare("p"), &pool).expect("a lease");
    assert_eq!(lease.id_map(), nth(0), "below the map");
    assert_eq!(host.leases.acquire(&bare("q"), &pool).expect("a lease").id_map(), nth(4), "above the map");
    let refused = |map| host.leases.acquire_map(&bare("x"), map).expect_err("an overlap").to_string();
    let message = "linux.uidMappings: host ids 299999-365534 overlap ids 200000-299999 of container \"m\" (namespace \
                   \"default\"), which is not stopped";
    assert_eq!(refused(IdMap { host: 299_999, size: RANGE_SIZE }), message);
    assert!(refused(nth(0)).contains("container \"p\""), "the very range that eci chose for another container");
    let beside = host.leases.acquire_map(&bare("x"), IdMap { host: 300_000, size: RANGE_SIZE });
    assert!(beside.is_ok_and(|lease| lease.notes().is_empty()), "a map beside it is given");
}

#[test]
fn a_map_takes_the_range_of_a_stopped_container_but_the_pool_takes_no_stopped_map() {
    let host = Host::new();
    let pool = pool(1);
    host.leases.acquire(&host.container("a"), &pool).expect("a lease").release().expect("release");
    let map = host.leases.acquire_map(&host.container("m"), nth(0)).expect("the map");
    let line = "id range 100000-165535 was taken from the stopped container \"a\" (namespace \"default\"): a spec brings a map over it";
    assert_eq!(notes(&map), [line]);
    map.release().expect("release");
    let error = host.leases.acquire(&host.container("a"), &pool).expect_err("its files carry the ids of the map");
    assert!(matches!(error, LeaseError::Exhausted { .. }), "{error}");
    host.remove("m");
    assert!(host.leases.acquire(&host.container("a"), &pool).is_ok());
}

#[test]
fn a_pool_of_which_nothing_is_mapped_is_refused_and_nothing_is_made() {
    let host = Host::new();
    let within = |size: u32| {
        let map = format!("0 1000000 {size}\n");
        let ids = HostIds { mapped: Mapped::of(&map, &map), ..HostIds::default() };
        Pool::new(&Ranges::default(), &ids).expect("a pool")
    };
    let refusal =
        host.leases.acquire(&host.container("a"), &within(65536)).expect_err("no range is mapped").to_string();
    let reason = "no id range: cannot give the container the host ids 100000-165535, as the user namespace that eci runs in \
                  maps only 0-65535; give the outer container a larger map";
    assert_eq!((refusal.as_str(), host.files()), (reason, Vec::new()));
    let lease = host.leases.acquire(&host.container("a"), &within(165_536)).expect("one range is mapped");
    assert_eq!(lease.id_map(), nth(0));
    let full = host.leases.acquire(&host.container("b"), &within(165_536)).expect_err("not two").to_string();
    assert!(
        full.contains("all 1 ranges")
            && full.ends_with("raise the size of the map of the user namespace that eci runs in")
    );
    // A range that the container had before must be mapped, too.
    lease.release().expect("release");
    let later = host.leases.acquire(&host.container("a"), &within(65536));
    assert!(matches!(later, Err(LeaseError::Unmapped { .. })));
}

#[test]
fn a_lease_that_cannot_be_read_is_never_given_away() {
    let host = Host::new();
    let pool = pool(2);
    let file = host.temp.path().join("ranges/100000-65536.0000000000000001");
    for (content, reason) in [("{\"version\":9}\n", "written by a newer eci (version 9)"), ("", "unreadable: ")] {
        fs::write(&file, content).expect("write");
        let lease = host.leases.acquire(&bare("a"), &pool).expect("a lease");
        assert_eq!(lease.id_map(), nth(1));
        assert!(matches!(host.leases.acquire(&bare("b"), &pool), Err(LeaseError::Exhausted { .. })));
        let overlap = host.leases.acquire_map(&bare("b"), nth(0)).expect_err("an overlap").to_string();
        assert!(overlap.contains(reason), "{overlap}");
        let list = host.leases.list().expect("the list");
        assert!(matches!(&list[0].status, Status::Unreadable(why) if why.starts_with(reason)), "{list:?}");
    }
}

#[test]
fn what_a_killed_allocation_left_is_removed() {
    let host = Host::new();
    let new = host.temp.path().join("ranges/new");
    fs::write(&new, "half a li").expect("write");
    let lease = host.leases.acquire(&bare("a"), &pool(1)).expect("a lease");
    assert!(!new.exists() && lease.id_map() == nth(0));
}

#[test]
fn the_state_directory_is_private() {
    let host = Host::new();
    let path = host.temp.path().join("ranges");
    let mode = |path: &PathBuf| fs::metadata(path).expect("stat").permissions().mode() & 0o7777;
    let _lease = host.leases.acquire(&bare("a"), &pool(1)).expect("a lease");
    assert_eq!((mode(&path), mode(&path.join(&host.files()[0]))), (0o700, 0o600));
    for (bits, trusted) in [(0o755, true), (0o770, false), (0o702, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("chmod");
        let opened = Leases::open(&path).map_err(|error| error.to_string());
        let message = format!(
            "id range leases: {}: must be a directory that only its owner, the shim's user, can write",
            path.display()
        );
        assert_eq!(opened.map(drop), if trusted { Ok(()) } else { Err(message) }, "{bits:o}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Start(u8),
    StartWithMap(u8, u32),
    Kill(u8),
    Delete(u8),
    RemoveLayer(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..8_u8).prop_map(Step::Start),
        1 => (0..8_u8, 0..6_u32).prop_map(|(id, at)| Step::StartWithMap(id, 100_000 + at * 40_000)),
        1 => (0..8_u8).prop_map(Step::Kill),
        2 => (0..8_u8).prop_map(Step::Delete),
        1 => (0..8_u8).prop_map(Step::RemoveLayer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, two living containers have ids in common only when their specs brought the very same map, and
    /// with everything gone no file is left.
    #[test]
    fn no_history_gives_one_range_to_two_living_containers(steps in prop::collection::vec(step(), 0..40)) {
        let host = Host::new();
        let pool = pool(5);
        let mut living: Vec<(u8, bool, Lease)> = Vec::new();
        for step in steps {
            match step {
                Step::Start(id) | Step::StartWithMap(id, _) => {
                    if living.iter().any(|one| one.0 == id) {
                        continue;
                    }
                    let request = host.container(&id.to_string());
                    let (by_map, result) = match step {
                        Step::StartWithMap(_, first) => {
                            let map = IdMap { host: first, size: RANGE_SIZE };
                            (true, host.leases.acquire_map(&request, map))
                        }
                        _ => (false, host.leases.acquire(&request, &pool)),
                    };
                    let Ok(lease) = result else { continue };
                    for (other, other_by_map, held) in &living {
                        let same = by_map && *other_by_map && held.id_map() == lease.id_map();
                        let apart = !held.id_map().overlaps(lease.id_map());
                        prop_assert!(same || apart, "{} and {}: {:?}", id, other, lease.id_map());
                    }
                    living.push((id, by_map, lease));
                }
                Step::Kill(id) => {
                    if let Some(at) = living.iter().position(|one| one.0 == id) {
                        kill(living.remove(at).2);
                    }
                }
                Step::Delete(id) => {
                    if let Some(at) = living.iter().position(|one| one.0 == id) {
                        living.remove(at).2.release().expect("release");
                    }
                }
                Step::RemoveLayer(id) => {
                    let _ = fs::remove_dir_all(host.layer(&id.to_string()));
                }
            }
        }
        living.into_iter().for_each(|one| kill(one.2));
        for id in 0..8 {
            let _ = fs::remove_dir_all(host.layer(&id.to_string()));
        }
        prop_assert_eq!(host.leases.list().expect("the list"), []);
        prop_assert_eq!(host.files(), [""; 0]);
    }
}
