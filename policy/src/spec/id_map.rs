//! `linux.uidMappings` and `linux.gidMappings`, merged into the one map that a container has.

use oci_spec::runtime::LinuxIdMapping;

use crate::Refusal;
use crate::idmap::{IdMap, RANGE_SIZE};

/// Host ids below this are the host's own accounts; a container's root that has one of them is not isolated.
const LOWEST_HOST_ID: u32 = 65536;

/// The map that the spec brings, or none when it brings none.
pub(super) fn id_map(uid: Option<&[LinuxIdMapping]>, gid: Option<&[LinuxIdMapping]>) -> Result<Option<IdMap>, Refusal> {
    let (uid, gid) = (uid.unwrap_or_default(), gid.unwrap_or_default());
    match (uid.is_empty(), gid.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => {}
        (true, false) => return refuse("uid", "detected missing user-ns UID and/or GID mappings"),
        (false, true) => return refuse("gid", "detected missing user-ns UID and/or GID mappings"),
    }
    let (uid, gid) = (merged("uid", uid)?, merged("gid", gid)?);
    if uid != gid {
        let reason = format!("detecting non-matching uid & gid mappings; found uid = {uid:?}, gid = {gid:?}");
        return refuse("gid", reason);
    }
    for (kind, map) in [("uid", uid), ("gid", gid)] {
        if map.host < LOWEST_HOST_ID {
            return refuse(
                kind,
                format!(
                    "detected user-ns {kind} mapping to host ID {} (host IDs below {LOWEST_HOST_ID} belong to the host); \
                     this breaks container isolation",
                    map.host
                ),
            );
        }
        // The last id is (uid_t)-1, "no change" to chown(2), which the kernel maps for nobody.
        if map.host.checked_add(map.size).is_none() {
            return refuse(kind, format!("host IDs from {} on are not {} many", map.host, map.size));
        }
    }
    Ok(Some(uid))
}

/// Entries merged into one run that starts at 0.
fn merged(kind: &str, entries: &[LinuxIdMapping]) -> Result<IdMap, Refusal> {
    let mut entries: Vec<_> = entries.iter().filter(|entry| entry.size() > 0).collect();
    entries.sort_by_key(|entry| entry.container_id());
    let first = entries.first().map(|first| (first.container_id(), first.host_id())).unwrap_or_default();
    let mut size: u32 = 0;
    for entry in entries {
        if first.0.checked_add(size) != Some(entry.container_id()) {
            return refuse(kind, "container ID mappings are non-contiguous");
        }
        if first.1.checked_add(size) != Some(entry.host_id()) {
            return refuse(kind, "host ID mappings are non-contiguous");
        }
        let Some(sum) = size.checked_add(entry.size()) else {
            return refuse(kind, "more IDs than there are");
        };
        size = sum;
    }
    if first.0 != 0 || size < RANGE_SIZE {
        return refuse(
            kind,
            format!(
                "{kind} mapping range must specify a container with at least {RANGE_SIZE} {kind}s starting at {kind} 0; \
                 found {{{} {} {size}}}",
                first.0, first.1
            ),
        );
    }
    Ok(IdMap { host: first.1, size })
}

fn refuse<T>(kind: &str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(format!("linux.{kind}Mappings"), reason))
}

/// Refuses an id that the map does not cover. It is never wrapped and never falls to 0 (CVE-2024-40635).
pub(super) fn covered(field: impl Into<String>, id: u32, map: IdMap) -> Result<(), Refusal> {
    match map.to_host(id) {
        Some(_) => Ok(()),
        None => {
            let last = map.size.saturating_sub(1);
            Err(Refusal::new(field, format!("{id} is outside the container's ids, which are 0 to {last}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(lines: Lines<'_>) -> Vec<LinuxIdMapping> {
        let entry = |(container, host, size): &(u32, u32, u32)| {
            let json = serde_json::json!({"containerID": container, "hostID": host, "size": size});
            serde_json::from_value(json).expect("a mapping")
        };
        lines.iter().map(entry).collect()
    }

    type Lines<'a> = &'a [(u32, u32, u32)];

    fn same(lines: Lines<'_>) -> Result<Option<IdMap>, String> {
        id_map(Some(&entries(lines)), Some(&entries(lines))).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn entries_in_any_order_become_one_map() {
        assert_eq!(same(&[(0, 100_000, 65536)]), Ok(Some(IdMap { host: 100_000, size: 65536 })));
        let parts = [(1000, 101_000, 64536), (0, 100_000, 1), (1, 100_001, 999)];
        assert_eq!(same(&parts), Ok(Some(IdMap { host: 100_000, size: 65536 })));
        assert_eq!(same(&[(0, 65536, 131_072)]), Ok(Some(IdMap { host: 65536, size: 131_072 })));
        assert_eq!(id_map(None, None), Ok(None));
        assert_eq!(id_map(Some(&[]), None), Ok(None));
    }

    #[test]
    fn maps_that_are_not_a_container_of_ours_are_refused() {
        let cases: [(Lines<'_>, &str); 9] = [
            (
                &[(0, 100_000, 65535)],
                "linux.uidMappings: uid mapping range must specify a container with at least 65536 uids starting at uid 0; found {0 100000 65535}",
            ),
            (
                &[(1, 100_000, 65536)],
                "linux.uidMappings: uid mapping range must specify a container with at least 65536 uids starting at uid 0; found {1 100000 65536}",
            ),
            (
                &[(0, 100_000, 0)],
                "linux.uidMappings: uid mapping range must specify a container with at least 65536 uids starting at uid 0; found {0 0 0}",
            ),
            (&[(0, 100_000, 10), (11, 100_010, 65536)], "linux.uidMappings: container ID mappings are non-contiguous"),
            (&[(0, 100_000, 10), (10, 100_011, 65536)], "linux.uidMappings: host ID mappings are non-contiguous"),
            (&[(0, 100_000, 10), (5, 100_010, 65536)], "linux.uidMappings: container ID mappings are non-contiguous"),
            (
                &[(0, 0, 65536)],
                "linux.uidMappings: detected user-ns uid mapping to host ID 0 (host IDs below 65536 belong to the host); this breaks container isolation",
            ),
            (
                &[(0, 65535, 65536)],
                "linux.uidMappings: detected user-ns uid mapping to host ID 65535 (host IDs below 65536 belong to the host); this breaks container isolation",
            ),
            (&[(0, 4_294_901_760, 65536)], "linux.uidMappings: host IDs from 4294901760 on are not 65536 many"),
        ];
        for (lines, message) in cases {
            assert_eq!(same(lines), Err(message.to_owned()));
        }
    }

    #[test]
    fn one_side_alone_and_sides_that_differ_are_refused() {
        let (a, b) = (entries(&[(0, 100_000, 65536)]), entries(&[(0, 200_000, 65536)]));
        let message = |result: Result<Option<IdMap>, Refusal>| result.expect_err("refused").to_string();
        let missing = "detected missing user-ns UID and/or GID mappings";
        assert_eq!(message(id_map(Some(&a), None)), format!("linux.gidMappings: {missing}"));
        assert_eq!(message(id_map(None, Some(&a))), format!("linux.uidMappings: {missing}"));
        assert!(message(id_map(Some(&a), Some(&b))).starts_with("linux.gidMappings: detecting non-matching uid & gid"));
    }

    #[test]
    fn ids_outside_a_map_are_refused_and_never_wrapped() {
        let map = IdMap { host: 100_000, size: 65536 };
        assert_eq!(covered("process.user.uid", 65535, map), Ok(()));
        let refusal = covered("process.user.uid", 65536, map).expect_err("refused");
        assert_eq!(refusal.to_string(), "process.user.uid: 65536 is outside the container's ids, which are 0 to 65535");
        assert!(covered("process.user.uid", u32::MAX, map).is_err());
    }
}
