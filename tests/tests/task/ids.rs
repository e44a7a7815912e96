//! Which host ids a container gets: from the pool, from its spec; and how long they are its own.

use serde_json::{Value, json};
use tests::room::{Room, remove_layer};
use tests::{Bundle, Container};

/// A bundle whose spec brings this map, for uids and gids.
fn mapped(lines: Lines<'_>) -> Bundle {
    let map = map(lines);
    Bundle::new().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

fn map(lines: Lines<'_>) -> Value {
    lines.iter().map(|(inside, host, size)| json!({ "containerID": inside, "hostID": host, "size": size })).collect()
}

#[tokio::test]
async fn ranges_are_given_from_the_lowest_free_one_on_and_kept_until_the_layer_is_removed() {
    let room = Room::new();
    let first = room.sleeping(Bundle::new()).await;
    let second = room.sleeping(Bundle::new()).await;
    assert_eq!((first.host_base(), second.host_base()), (100_000, 165_536));

    // It has stopped and may be started again: its files have its ids.
    first.end().await;
    let third = room.sleeping(Bundle::new()).await;
    assert_eq!(third.host_base(), 231_072);
    let rows = room.ranges();
    let row = |range: &str, container: &Container, status: &str| [range.into(), container.id(), status.into()];
    assert_eq!(
        rows,
        [
            row("100000-165535", &first, "stopped"),
            row("165536-231071", &second, "running"),
            row("231072-296607", &third, "running"),
        ]
    );
    let again = room.sleeping(first.bundle.clone()).await;
    assert_eq!(again.host_base(), 100_000, "a container that starts again has its range");
    again.end().await;

    remove_layer(&first.bundle);
    let fourth = room.sleeping(Bundle::new()).await;
    assert_eq!(fourth.host_base(), 100_000);
    for container in [second, third, fourth] {
        container.end().await;
        remove_layer(&container.bundle);
    }
    assert_eq!(room.ranges(), [[""; 3]; 0]);
}

#[tokio::test]
async fn the_operator_chooses_the_pool() {
    let room = Room::new();
    room.configure("[ranges]\nfirst = 1000000\ncount = 1\n");
    let first = room.sleeping(Bundle::new()).await;
    assert_eq!(first.host_base(), 1_000_000);
    let refusal = room.refused(Bundle::new()).await;
    let reason = "all 1 ranges of the pool are in use (1 by containers, 0 by other owners or accounts of the host); raise \
                  ranges.count in /etc/eci/config.toml";
    assert!(refusal.ends_with(&format!("no free id range: {reason}")), "{refusal}");

    // What has stopped makes place for what wants to run, and the log says so.
    first.end().await;
    let second = room.sleeping(Bundle::new()).await;
    assert_eq!(second.host_base(), 1_000_000);
    let note = format!("id range 1000000-1065535 was taken from the stopped container {:?}", first.id());
    second.shim.logged("was taken from the stopped").await;
    assert!(second.shim.log().contains("the pool is used up"), "{note}\n{}", second.shim.log());
    second.end().await;
}

#[tokio::test]
async fn a_config_file_that_is_not_understood_is_refused_by_line_and_key() {
    let room = Room::new();
    for (text, reason) in [
        (
            "\n[ranges]\nfrist = 1\n",
            "/etc/eci/config.toml:3: ranges.frist: there is no such key, the nearest is ranges.first",
        ),
        ("[ranges]\nfirst = 1000\n", "/etc/eci/config.toml:2: ranges.first: must be from 65536 to 4294967295"),
    ] {
        room.configure(text);
        let refusal = room.refused(Bundle::new()).await;
        assert_eq!(refusal, format!("OCI runtime create failed: {reason}"));
    }
    room.configure("");
    room.sleeping(Bundle::new()).await.end().await;
}

#[tokio::test]
async fn ids_of_other_owners_are_never_given() {
    let room = Room::new();
    room.subordinate("alice:100000:65536\nbob:200000:10\n");
    let container = room.sleeping(Bundle::new()).await;
    // alice has the first range whole, bob ten ids of the second.
    assert_eq!(container.host_base(), 231_072);
    container.end().await;
    room.subordinate("alice:100000:65536\neci:2000000:131072\n");
    let container = room.sleeping(Bundle::new()).await;
    assert_eq!(container.host_base(), 2_000_000);
    container.end().await;
}

/// Lines of an id map: first id inside, first on the host, how many.
type Lines<'a> = &'a [(u32, u32, u32)];

#[tokio::test]
async fn maps_of_a_spec_are_held_against_the_rules() {
    let breaks = "(host IDs below 65536 belong to the host); this breaks container isolation";
    let least = "uid mapping range must specify a container with at least 65536 uids starting at uid 0; found";
    let cases: [(Lines<'_>, String); 7] = [
        (&[(0, 0, 65536)], format!("detected user-ns uid mapping to host ID 0 {breaks}")),
        (&[(0, 65535, 65536)], format!("detected user-ns uid mapping to host ID 65535 {breaks}")),
        (&[(0, 7_000_000, 65535)], format!("{least} {{0 7000000 65535}}")),
        (&[(1, 7_000_000, 65536)], format!("{least} {{1 7000000 65536}}")),
        (&[(0, 7_000_000, 10), (11, 7_000_010, 65536)], "container ID mappings are non-contiguous".into()),
        (&[(0, 7_000_000, 10), (10, 7_000_011, 65536)], "host ID mappings are non-contiguous".into()),
        (&[(0, 4_294_901_760, 65536)], "host IDs from 4294901760 on are not 65536 many".into()),
    ];
    for (lines, reason) in cases {
        let refusal = mapped(lines).refused().await;
        assert!(refusal.ends_with(&format!("linux.uidMappings: {reason}")), "{refusal}");
    }
    let one_side = Bundle::new().set("/linux/uidMappings", map(&[(0, 7_000_000, 65536)]));
    let refusal = one_side.clone().refused().await;
    assert!(refusal.ends_with("linux.gidMappings: detected missing user-ns UID and/or GID mappings"), "{refusal}");
    let differ = one_side.set("/linux/gidMappings", map(&[(0, 8_000_000, 65536)]));
    let refusal = differ.refused().await;
    assert!(
        refusal.contains("linux.gidMappings: detecting non-matching uid & gid mappings; found uid = "),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_map_of_a_spec_is_the_containers() {
    let room = Room::new();
    for lines in [&[(0, 65536, 65536)][..], &[(0, 7_000_000, 1), (1, 7_000_001, 99_999)][..]] {
        let container = room.sleeping(mapped(lines)).await;
        assert_eq!(container.host_base(), lines[0].1);
        container.sh("chown 65535:65535 /tmp").await.ok();
        let beyond = container.sh("chown 65536 /tmp").await;
        assert_eq!(beyond.status == 0, lines.len() == 2, "{beyond:?}");
        container.end().await;
    }
}

#[tokio::test]
async fn containers_whose_specs_bring_one_map_share_it() {
    let room = Room::new();
    let lines = [(0, 7_000_000, 65536)];
    let first = room.sleeping(mapped(&lines)).await;
    let second = room.sleeping(mapped(&lines)).await;
    assert_eq!((first.host_base(), second.host_base()), (7_000_000, 7_000_000));
    let line = second.shim.logged("is shared, as the specs ask, with").await;
    assert!(line.contains("7000000-7065535") && line.contains(&first.id()), "{line}");
    assert!(!first.shim.log().contains("is shared"));
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn a_map_that_overlaps_a_living_containers_is_refused_by_name() {
    let room = Room::new();
    let pooled = room.sleeping(Bundle::new()).await;
    let mapped_one = room.sleeping(mapped(&[(0, 7_000_000, 65536)])).await;
    for (lines, ids, of) in [
        ([(0, 100_000, 65536)], "100000-165535 overlap ids 100000-165535", &pooled),
        ([(0, 165_535, 65536)], "165535-231070 overlap ids 100000-165535", &pooled),
        ([(0, 6_934_465, 65536)], "6934465-7000000 overlap ids 7000000-7065535", &mapped_one),
    ] {
        let refusal = room.refused(mapped(&lines)).await;
        assert!(refusal.contains(&format!("linux.uidMappings: host ids {ids} of ")), "{refusal}");
        assert!(refusal.contains(&of.id()) && refusal.ends_with("which is not stopped"), "{refusal}");
    }
    // Beside them is free; and what a spec has taken is no more given from the pool.
    let beside = room.sleeping(mapped(&[(0, 165_536, 65536)])).await;
    let next = room.sleeping(Bundle::new()).await;
    assert_eq!(next.host_base(), 231_072);
    for container in [pooled, mapped_one, beside, next] {
        container.end().await;
    }
}

#[tokio::test]
async fn the_user_namespace_of_a_container_is_joined_with_its_very_map_only() {
    let room = Room::new();
    let first = room.sleeping(mapped(&[(0, 7_000_000, 65536)])).await;
    let user = format!("/proc/{}/ns/user", first.pid);
    let refusal = room.refused(mapped(&[(0, 8_000_000, 65536)]).namespace("user", Some(&user))).await;
    assert!(refusal.ends_with("linux.uidMappings: are not those of the user namespace that is joined"), "{refusal}");
    let second = room.sleeping(mapped(&[(0, 7_000_000, 65536)]).namespace("user", Some(&user))).await;
    let link = |container: &Container| std::fs::read_link(format!("/proc/{}/ns/user", container.pid)).unwrap();
    assert_eq!(link(&first), link(&second));
    second.end().await;
    first.end().await;
}
