//! Properties of what comes from outside: whatever it is, nothing panics, every refusal is one line, and nothing is
//! wider than it was asked for.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Missing;
use crate::namespaces::{Fact, Owner, UserNamespace, decide};
use crate::plan::{CgroupPath, ContainerPath, NamespaceWish, Propagation};

const ATIME: u64 = 0x70;

const MAP: IdMap = IdMap { host: 100_000, size: RANGE_SIZE };

/// Text with the characters that matter to somebody.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9./:=, _~%-]{0,24}", r"(/|\.|\.\.|a|//|:|\.slice|net|kernel|proc|[0-9]){0,8}", any::<String>(),]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every place in a document, as a JSON pointer.
fn places(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| places(member, format!("{at}/{name}"), all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, format!("{at}/{index}"), all));
        }
        _ => {}
    }
    all.push(at);
}

fn planned(bytes: &[u8]) -> Result<Plan, Refusal> {
    let loaded = load(bytes)?;
    plan(&loaded.value, &Request { id: "c", bundle: Path::new("/b"), terminal: false })
}

fn is_one_line(refusal: &Refusal) -> bool {
    let line = refusal.to_string();
    !line.contains(['\n', '\r', '\0']) && !refusal.field.is_empty() && !refusal.reason.is_empty()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(refusal) = planned(&bytes) {
            prop_assert!(is_one_line(&refusal), "{refusal}");
        }
    }

    #[test]
    fn a_spec_with_anything_anywhere_is_planned_or_refused(place in any::<prop::sample::Index>(), value in json_value()) {
        let mut document = tests::docker();
        let mut all = Vec::new();
        places(&document, String::new(), &mut all);
        *document.pointer_mut(place.get::<String>(&all)).expect("a place") = value;
        match planned(document.to_string().as_bytes()) {
            Ok(plan) => prop_assert_eq!(check_ids(&plan, MAP), Ok(())),
            Err(refusal) => prop_assert!(is_one_line(&refusal), "{refusal}"),
        }
    }

    #[test]
    fn options_never_widen(options in prop::collection::vec(
        prop_oneof![
            prop::sample::select(vec!["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime",
                "strictatime", "rro", "rrw", "rnosuid", "rshared", "shared", "rslave", "rprivate", "rbind", "bind", "sync"])
                .prop_map(str::to_owned),
            text(),
        ], 0..12))
    {
        let mount = json!({"destination": "/x", "type": "bind", "source": "/s", "options": options});
        let mount = serde_json::from_value(mount).expect("a mount");
        let Ok(mounts) = mounts::mounts(&[mount], Path::new("/b")) else { return Ok(()) };
        let mount = &mounts[0];
        // What the source's mount forbids stays forbidden: only how access times are kept is ever cleared.
        prop_assert_eq!(mount.flags.clear & !ATIME, 0);
        let is_shared = matches!(mount.propagation, Some((Propagation::Shared, _)));
        prop_assert!(!is_shared);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let last = |of: [&str; 2]| options.iter().rev().find(|option| of.contains(option)).copied();
        for (sets, unsets, bit) in [("ro", "rw", 1), ("nosuid", "suid", 2), ("nodev", "dev", 4), ("noexec", "exec", 8)] {
            prop_assert_eq!(mount.flags.set & bit != 0, last([sets, unsets]) == Some(sets), "{}", sets);
        }
        // `ro` of an `rbind` is meant for the whole tree, unless `rrw` says otherwise of what is mounted below.
        let whole = match last(["rro", "rrw"]) {
            None => last(["bind", "rbind"]) == Some("rbind") && last(["ro", "rw"]) == Some("ro"),
            said => said == Some("rro"),
        };
        prop_assert_eq!(mount.recursive_flags.set & 1 != 0, whole);
    }

    #[test]
    fn paths_stay_inside(path in text()) {
        if let Ok(parsed) = ContainerPath::parse(&path) {
            prop_assert!(parsed.as_str().starts_with('/') && parsed.components().all(|part| !["", ".", ".."].contains(&part)));
            prop_assert_eq!(ContainerPath::parse(parsed.as_str()), Ok(parsed.clone()));
        }
    }

    #[test]
    fn maps_say_what_their_entries_said(
        entries in prop::collection::vec((0u32..200_000, any::<u32>(), 0u32..200_000), 0..4),
        first in 60_000u32..70_000, cuts in prop::collection::vec(1u32..65536, 0..4),
    ) {
        // Entries at random, which are refused nearly always, and cuts of one run, which mostly are not.
        let mut run: Vec<(u32, u32, u32)> = Vec::new();
        let mut at = 0;
        for size in cuts.iter().copied().chain([65536]) {
            run.push((at, first + at, size));
            at += size;
        }
        run.reverse();
        for lines in [entries, run] {
            let json: Vec<_> = lines.iter().map(|(c, h, s)| json!({"containerID": c, "hostID": h, "size": s})).collect();
            let spec: Vec<_> = serde_json::from_value(Value::from(json)).expect("mappings");
            match id_map::id_map(Some(&spec), Some(&spec)) {
                Ok(None) => prop_assert!(lines.is_empty()),
                Ok(Some(map)) => {
                    prop_assert!(map.host >= 65536 && map.size >= RANGE_SIZE && map.host.checked_add(map.size).is_some());
                    for (container, host, size) in lines.iter().filter(|(_, _, size)| *size > 0) {
                        prop_assert_eq!(map.to_host(*container), Some(*host));
                        prop_assert_eq!(map.to_host(container + size - 1), Some(host + size - 1));
                    }
                    prop_assert_eq!(u64::from(map.size), lines.iter().map(|(_, _, size)| u64::from(*size)).sum::<u64>());
                }
                Err(refusal) => prop_assert!(is_one_line(&refusal), "{refusal}"),
            }
        }
    }

    #[test]
    fn a_user_is_the_one_that_was_written(uid in prop_oneof![any::<u32>().prop_map(Value::from), json_value()]) {
        let process = json!({"args": ["x"], "cwd": "/", "user": {"uid": uid}});
        let spec = json!({"process": process, "root": {"path": "r"}});
        match planned(spec.to_string().as_bytes()) {
            Ok(plan) => {
                prop_assert!(plan.process.uid < RANGE_SIZE);
                prop_assert!(uid.is_null() || uid.as_u64() == Some(u64::from(plan.process.uid)), "{uid}");
            }
            Err(refusal) => prop_assert!(is_one_line(&refusal) && refusal.field == "process.user.uid", "{refusal}"),
        }
    }

    #[test]
    fn sysctls_stay_in_their_namespaces(name in prop_oneof![text(), r"(net|kernel|fs|mqueue|\.|/|\.\.|shmmax|ipv4|[a-z]){1,8}"]) {
        if let Ok(all) = sysctl::sysctl(&HashMap::from([(name, "1".to_owned())]), &[]) {
            // As the name becomes a path.
            let path: String = all[0].0.chars().map(|c| match c { '.' => '/', '/' => '.', c => c }).collect();
            prop_assert!(["net/", "fs/mqueue/", "kernel/msg", "kernel/sem", "kernel/shm"].iter().any(|start| path.starts_with(start)));
            prop_assert!(path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{path}");
        }
    }

    #[test]
    fn cgroups_do_not_climb(path in text()) {
        let spec = json!({"process": {"args": ["x"], "cwd": "/"}, "root": {"path": "r"}, "linux": {"cgroupsPath": path}});
        let Ok(plan) = planned(spec.to_string().as_bytes()) else { return Ok(()) };
        match plan.cgroup.path {
            None => prop_assert!(path.is_empty()),
            Some(CgroupPath::Cgroupfs(path)) => {
                let mut parts = path.strip_prefix('/').unwrap_or(&path).split('/');
                prop_assert!(parts.all(|part| !["", ".", ".."].contains(&part)), "{path}");
            }
            Some(CgroupPath::Systemd { slice, prefix, name }) => {
                prop_assert!([slice, prefix, name].iter().all(|part| !part.contains(['/', ':'])));
            }
        }
    }

    #[test]
    fn nothing_of_the_host_or_of_two_owners_is_joined(mut facts in prop::collection::vec(fact(), 0..6)) {
        // A plan has each kind once.
        facts.sort_by_key(|fact| fact.kind);
        facts.dedup_by_key(|fact| fact.kind);
        let wish = |fact: &Fact| NamespaceWish { kind: fact.kind, path: Some(fact.path.clone()), named: true };
        let wishes: Vec<_> = facts.iter().map(wish).collect();
        let Ok(joins) = decide(&wishes, &facts, Missing::Private) else { return Ok(()) };
        prop_assert!(facts.iter().all(|fact| !fact.is_host));
        for fact in &facts {
            match &fact.owner {
                Owner::Lease(key) => prop_assert_eq!(&joins.user, &UserNamespace::Lease(key.clone())),
                Owner::Host => {
                    prop_assert!(joins.network_is_host_owned && fact.kind == NamespaceKind::Network);
                    prop_assert!(fact.under_netns_dir || fact.is_pod_network);
                }
                Owner::Other => prop_assert!(false, "joined {:?}", fact),
            }
        }
    }
}

fn fact() -> impl Strategy<Value = Fact> {
    let kinds = vec![NamespaceKind::User, NamespaceKind::Network, NamespaceKind::Ipc, NamespaceKind::Uts];
    let lease = |key: &str| Just(Owner::Lease(key.to_owned()));
    let owner = prop_oneof![4 => lease("a"), 1 => lease("b"), 2 => Just(Owner::Host), 1 => Just(Owner::Other)];
    (prop::sample::select(kinds), prop::bool::weighted(0.1), owner, any::<(bool, bool, u32)>()).prop_map(
        |(kind, is_host, owner, (under_netns_dir, is_pod_network, number))| Fact {
            kind,
            path: format!("/proc/{number}/ns/{kind}").into(),
            is_host,
            owner,
            under_netns_dir,
            is_pod_network,
        },
    )
}
