//! Tests of [`super`]: tables. Properties are beside those of the spec.

use super::*;
use crate::Denial;

fn wish(kind: NamespaceKind) -> NamespaceWish {
    NamespaceWish { kind, path: Some(format!("/proc/7/ns/{kind}").into()), named: true }
}

fn fact(kind: NamespaceKind, owner: Owner) -> Fact {
    let path = format!("/proc/7/ns/{kind}").into();
    Fact { kind, path, is_host: false, owner, under_netns_dir: false, is_pod_network: false }
}

fn lease(key: &str) -> Owner {
    Owner::Lease(key.to_owned())
}

/// Of a spec that names every kind.
fn decided(facts: &[Fact]) -> Result<Joins, String> {
    let rest = NamespaceKind::ALL.into_iter().filter(|kind| !facts.iter().any(|fact| fact.kind == *kind));
    let rest = rest.map(|kind| NamespaceWish { kind, path: None, named: true });
    let wishes: Vec<_> = facts.iter().map(|fact| wish(fact.kind)).chain(rest).collect();
    decide(&wishes, facts, Missing::Refuse).map_err(|refusal| refusal.to_string())
}

/// Wishes of a spec that leaves these kinds out and names no path.
fn without(kinds: &[NamespaceKind]) -> Vec<NamespaceWish> {
    NamespaceKind::ALL.map(|kind| NamespaceWish { kind, path: None, named: !kinds.contains(&kind) }).into()
}

fn shared(what: &str) -> String {
    format!(
        "invalid or unsupported container spec: eci containers can't share {what} with the host (because they use the \
         linux user-namespace for isolation)"
    )
}

#[test]
fn without_paths_everything_is_new() {
    let joins = decided(&[]).expect("new");
    assert_eq!(joins, Joins { user: UserNamespace::New, joined: vec![], network_is_host_owned: false });
    assert!(!joins.is_joined(NamespaceKind::User) && !joins.is_joined(NamespaceKind::Cgroup));
}

#[test]
fn the_hosts_own_are_refused_with_the_known_texts() {
    let host = |kind| Fact { is_host: true, under_netns_dir: true, ..fact(kind, Owner::Host) };
    for (kinds, text) in [
        (vec![NamespaceKind::Pid], "namespaces [pid]"),
        (vec![NamespaceKind::Uts, NamespaceKind::Ipc], "namespaces [ipc uts]"),
        (vec![NamespaceKind::User], "namespaces [user]"),
        (vec![NamespaceKind::Network], "a network namespace"),
        (vec![NamespaceKind::Network, NamespaceKind::Pid], "namespaces [network pid]"),
    ] {
        let facts: Vec<_> = kinds.into_iter().map(host).collect();
        assert_eq!(decided(&facts), Err(shared(text)));
    }
}

#[test]
fn the_user_namespace_follows_from_what_is_joined() {
    let pod = [fact(NamespaceKind::Ipc, lease("pod")), fact(NamespaceKind::Network, lease("pod"))];
    let joins = decided(&pod).expect("a pod");
    assert_eq!(joins.user, UserNamespace::Lease("pod".into()));
    assert_eq!(joins.joined, [NamespaceKind::Ipc, NamespaceKind::Network]);
    assert!(!joins.network_is_host_owned && joins.is_joined(NamespaceKind::User));
    let explicit = [fact(NamespaceKind::User, lease("pod")), fact(NamespaceKind::Uts, lease("pod"))];
    assert_eq!(decided(&explicit).expect("a pod").joined, [NamespaceKind::Uts]);
}

#[test]
fn owners_must_be_one_and_the_same() {
    let two = [fact(NamespaceKind::Ipc, lease("a")), fact(NamespaceKind::Uts, lease("b"))];
    let message = "linux.namespaces: the uts namespace \"/proc/7/ns/uts\" belongs to another eci container than the \
                   user namespace that the other paths lead to";
    assert_eq!(decided(&two), Err(message.into()));
    // The explicit path holds wherever it stands in the list.
    let late = [fact(NamespaceKind::Ipc, lease("a")), fact(NamespaceKind::User, lease("b"))];
    assert!(decided(&late).expect_err("refused").contains("the ipc namespace"));
    for owner in [Owner::Host, Owner::Other] {
        let foreign = decided(&[fact(NamespaceKind::Ipc, owner.clone())]).expect_err("refused");
        assert!(foreign.starts_with("linux.namespaces: the ipc namespace \"/proc/7/ns/ipc\" is owned by"));
        assert!(decided(&[fact(NamespaceKind::Network, owner.clone())]).is_err());
        assert!(decided(&[fact(NamespaceKind::User, owner)]).is_err());
    }
}

#[test]
fn a_network_namespace_of_cni_may_be_the_hosts_to_own() {
    let network = fact(NamespaceKind::Network, Owner::Host);
    for cni in [Fact { under_netns_dir: true, ..network.clone() }, Fact { is_pod_network: true, ..network.clone() }] {
        let alone = decided(std::slice::from_ref(&cni)).expect("CNI's");
        assert!(alone.network_is_host_owned && alone.user == UserNamespace::New);
        let pod = decided(&[fact(NamespaceKind::Ipc, lease("pod")), cni.clone()]).expect("a pod's");
        assert!(pod.network_is_host_owned && pod.user == UserNamespace::Lease("pod".into()));
        // The exception is for what the host owns, and for networks alone.
        assert!(decided(&[Fact { owner: Owner::Other, ..cni.clone() }]).is_err());
        let ipc = Fact { kind: NamespaceKind::Ipc, path: "/proc/7/ns/ipc".into(), ..cni };
        assert!(decided(&[ipc]).is_err());
    }
}

#[test]
fn a_path_without_its_fact_is_refused() {
    let other = Fact { path: "/proc/8/ns/ipc".into(), ..fact(NamespaceKind::Ipc, lease("a")) };
    assert!(decide(&[wish(NamespaceKind::Ipc)], &[other], Missing::Private).is_err());
}

#[test]
fn what_a_spec_leaves_out_is_the_hosts_unless_the_operator_says_otherwise() {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
    for (kinds, text, object) in [
        (vec![Pid], "namespaces [pid]", "pid"),
        (vec![Ipc], "namespaces [ipc]", "ipc"),
        (vec![Uts], "namespaces [uts]", "uts"),
        (vec![Network], "a network namespace", "network"),
        (vec![Pid, Ipc], "namespaces [ipc pid]", "ipc pid"),
        (vec![Network, Uts], "namespaces [network uts]", "network uts"),
        (NamespaceKind::ALL.to_vec(), "namespaces [ipc network pid uts]", "ipc network pid uts"),
    ] {
        let refusal = decide(&without(&kinds), &[], Missing::Refuse).expect_err("refused");
        assert_eq!(refusal.to_string(), shared(text));
        assert_eq!(refusal.denial, Some(Denial { rule: Rule::Namespaces, object: object.to_owned() }));
        let joins = decide(&without(&kinds), &[], Missing::Private).expect("private");
        assert_eq!(joins, Joins { user: UserNamespace::New, joined: vec![], network_is_host_owned: false });
    }
    // `--userns=host`, `--cgroupns=host`: they are private whoever leaves them out.
    decide(&without(&[User, Mount, Cgroup, Time]), &[], Missing::Refuse).expect("private");
}

#[test]
fn what_is_left_out_and_what_is_named_by_a_path_of_the_hosts_are_told_together() {
    let mut wishes = without(&[NamespaceKind::Uts]);
    wishes.retain(|wish| wish.kind != NamespaceKind::Network);
    wishes.push(wish(NamespaceKind::Network));
    let host = Fact { is_host: true, ..fact(NamespaceKind::Network, Owner::Host) };
    let refusal = decide(&wishes, std::slice::from_ref(&host), Missing::Refuse).expect_err("refused");
    assert_eq!(refusal.to_string(), shared("namespaces [network uts]"));
    assert_eq!(refusal.denial.expect("a denial").object, "network:/proc/7/ns/network uts");
    // A path is a path whatever the config says.
    let refusal = decide(&wishes, &[host], Missing::Private).expect_err("refused");
    assert_eq!(refusal.to_string(), shared("a network namespace"));
}

#[test]
fn what_belongs_to_others_is_a_denial_with_its_path() {
    let refusal = decide(&[wish(NamespaceKind::Ipc)], &[fact(NamespaceKind::Ipc, Owner::Host)], Missing::Private);
    let denial = refusal.expect_err("refused").denial;
    assert_eq!(denial, Some(Denial { rule: Rule::Namespaces, object: "ipc:/proc/7/ns/ipc".to_owned() }));
}
