//! Which ids a container gets, and the maps that `ctr` brings.

use tests::host::Host;

on_each_suite!(
    the_first_container_gets_the_first_range_and_the_one_beside_it_the_next,
    a_map_of_the_users_own_is_taken,
    a_map_that_would_reach_the_hosts_ids_is_refused,
);

fn fields(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn the_first_container_gets_the_first_range_and_the_one_beside_it_the_next(host: &Host) {
    let map = |id: &str| fields(host.sh(&format!("$RUN --rm $IMAGE {id} cat /proc/self/uid_map")).ok());
    assert_eq!(map("alone"), "0 100000 65536");
    host.until("! containerd-shim-eci-v2 ranges | grep -q alone");
    host.sh("$RUN -d $IMAGE first sleep 1000").ok();
    assert_eq!(map("second"), "0 165536 65536");
    let first = host.sh("ctr task exec --exec-id e first cat /proc/self/uid_map /proc/self/gid_map");
    assert_eq!(fields(first.ok()), "0 100000 65536 0 100000 65536");
    let listed = host.sh("containerd-shim-eci-v2 ranges | grep ' first '");
    assert!(listed.ok().starts_with("100000-165535") && listed.ok().ends_with("running"), "{listed:#?}");
    host.sh("ctr task rm -f first && ctr c rm first").ok();
}

fn a_map_of_the_users_own_is_taken(host: &Host) {
    // containerd gives the snapshot's files to the map's root: copies of them, or with --remap-labels an id-mapped layer.
    for (base, more) in [(200_000, ""), (400_000, "--remap-labels")] {
        let script = format!(
            "$RUN --rm {more} --uidmap 0:{base}:65536 --gidmap 0:{base}:65536 $IMAGE own-{base} sh -c \
             'cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /bin/busybox; touch /made && stat -c %u:%g /made'"
        );
        let output = host.sh(&script);
        assert_eq!(fields(output.ok()), format!("0 {base} 65536 0 {base} 65536 0:0 0:0"));
    }
}

fn a_map_that_would_reach_the_hosts_ids_is_refused(host: &Host) {
    let own = |map: &str| {
        host.sh(&format!("$RUN --rm --uidmap {map} --gidmap {map} $IMAGE refused true; code=$?; ctr c rm refused 2> /dev/null; exit $code"))
    };
    for (map, reason) in [
        ("0:1000:65536", "detected user-ns uid mapping to host ID 1000"),
        ("0:400000:1000", "must specify a container with at least 65536 uids"),
    ] {
        let said = own(map).failed();
        assert!(said.contains(&format!("linux.uidMappings: {reason}")) || said.contains(reason), "{said}");
    }
    host.until("ctr snapshot rm refused 2> /dev/null; ! ctr snapshot ls | grep -q refused");
    host.sh("$RUN -d $IMAGE taken sleep 1000").ok();
    let said = own("0:120000:65536").failed();
    assert!(said.contains("host ids 120000-185535 overlap ids 100000-165535 of container \"taken\""), "{said}");
    host.sh("ctr snapshot rm refused; ctr task rm -f taken && ctr c rm taken").ok();
    assert_eq!(own("0:131072:65536").status, 0);
}
