//! Which namespaces a container joins, and whose user namespace it lives in.
//!
//! A container joins a namespace only when the user namespace that owns it is the container's own: otherwise its root
//! would have no power over it, or another container's root would have power over this one. The one exception is the
//! network namespace that CNI has made for a pod, which the host owns.
//!
//! * [`Fact`]: what the caller has found out about a path, on the descriptor that is then joined.
//! * [`decide`]: the [`Joins`], or a refusal.
//!
//! Invariant: no namespace of the host itself is ever joined.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::plan::{NamespaceKind, NamespaceWish};

/// Who owns a namespace: the user namespace that NS_GET_USERNS of ioctl_ns(2) gives. For a user namespace, the user
/// namespace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The host's own user namespace.
    Host,
    /// A user namespace for whose map a lease is held, by the key of the lease: that of a living eci container, or one
    /// that the engine made for this pod and gave with its map (containerd's CRI pins one from 2.1 on).
    Lease(String),
    /// Any other.
    Other,
}

/// What is known about the path of one wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The wish that it is about.
    pub kind: NamespaceKind,
    /// The path of the wish, as the spec gives it.
    pub path: PathBuf,
    /// Whether it is the host's own namespace (the same inode).
    pub is_host: bool,
    /// Who owns it.
    pub owner: Owner,
    /// Whether the path lies below /run/netns or /var/run/netns once it is normalised.
    pub under_netns_dir: bool,
    /// Whether it is the very network namespace that the sandbox of this pod uses, which the same shim runs.
    pub is_pod_network: bool,
}

/// The user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// A new one.
    New,
    /// One that is there, by the key of its lease. Where the spec brings a map too, the caller sees to it that the
    /// namespace has that very map.
    Lease(String),
}

/// What is joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joins {
    /// The user namespace. It is joined also where the spec does not say so but joins another of its namespaces.
    pub user: UserNamespace,
    /// The kinds that are joined by their paths, without the user namespace, in the order of the wishes. All others are
    /// new.
    pub joined: Vec<NamespaceKind>,
    /// Whether the joined network namespace is the host's to own: the container's root has no power over it.
    pub network_is_host_owned: bool,
}

impl Joins {
    /// Whether this kind is joined rather than made new.
    pub fn is_joined(&self, kind: NamespaceKind) -> bool {
        match kind {
            NamespaceKind::User => self.user != UserNamespace::New,
            kind => self.joined.contains(&kind),
        }
    }
}

/// Decides what is joined. `facts` has one entry for each wish with a path.
///
/// # Errors
/// When a path is a namespace of the host, has no fact, or is owned by another user namespace than the container's.
pub fn decide(wishes: &[NamespaceWish], facts: &[Fact]) -> Result<Joins, Refusal> {
    let mut known = Vec::new();
    for wish in wishes {
        let Some(path) = &wish.path else { continue };
        match facts.iter().find(|fact| fact.kind == wish.kind && fact.path == *path) {
            Some(fact) => known.push(fact),
            None => return Err(refusal(wish.kind, path, "has not been looked at")),
        }
    }
    refuse_the_hosts(&known)?;
    let mut joins = Joins { user: UserNamespace::New, joined: Vec::new(), network_is_host_owned: false };
    if let Some(user) = known.iter().find(|fact| fact.kind == NamespaceKind::User) {
        let Owner::Lease(key) = &user.owner else {
            return Err(refusal(
                user.kind,
                &user.path,
                "is neither the user namespace of a running eci container nor one that a lease covers",
            ));
        };
        joins.user = UserNamespace::Lease(key.clone());
    }
    for fact in known.iter().filter(|fact| fact.kind != NamespaceKind::User) {
        join(&mut joins, fact)?;
    }
    Ok(joins)
}

fn join(joins: &mut Joins, fact: &Fact) -> Result<(), Refusal> {
    let pod_network = fact.kind == NamespaceKind::Network && (fact.under_netns_dir || fact.is_pod_network);
    match (&fact.owner, &joins.user) {
        (Owner::Lease(key), UserNamespace::New) => joins.user = UserNamespace::Lease(key.clone()),
        (Owner::Lease(key), UserNamespace::Lease(user)) if key == user => {}
        (Owner::Lease(_), UserNamespace::Lease(_)) => {
            let reason = "belongs to another eci container than the user namespace that the other paths lead to";
            return Err(refusal(fact.kind, &fact.path, reason));
        }
        (Owner::Host, _) if pod_network => joins.network_is_host_owned = true,
        (Owner::Host, _) => {
            let reason = "is owned by the host's user namespace, not by the container's";
            return Err(refusal(fact.kind, &fact.path, reason));
        }
        (Owner::Other, _) => {
            let reason = "is owned by a user namespace that is not the container's";
            return Err(refusal(fact.kind, &fact.path, reason));
        }
    }
    joins.joined.push(fact.kind);
    Ok(())
}

/// Sysbox's two texts (with another name in them), which Docker's documentation quotes and people search for.
fn refuse_the_hosts(known: &[&Fact]) -> Result<(), Refusal> {
    const BECAUSE: &str = "(because they use the linux user-namespace for isolation)";
    let mut kinds: Vec<_> = known.iter().filter(|fact| fact.is_host).map(|fact| fact.kind.to_string()).collect();
    kinds.sort_unstable();
    let reason = match kinds.as_slice() {
        [] => return Ok(()),
        [network] if network == "network" => {
            format!("eci containers can't share a network namespace with the host {BECAUSE}")
        }
        kinds => format!("eci containers can't share namespaces [{}] with the host {BECAUSE}", kinds.join(" ")),
    };
    Err(Refusal::new("linux.namespaces", reason))
}

fn refusal(kind: NamespaceKind, path: &std::path::Path, reason: &str) -> Refusal {
    Refusal::new("linux.namespaces", format!("the {kind} namespace {path:?} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn decided(facts: &[Fact]) -> Result<Joins, String> {
        let mut wishes: Vec<_> = facts.iter().map(|fact| wish(fact.kind)).collect();
        wishes.push(NamespaceWish { kind: NamespaceKind::Cgroup, path: None, named: false });
        decide(&wishes, facts).map_err(|refusal| refusal.to_string())
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
        let because = "with the host (because they use the linux user-namespace for isolation)";
        for (kinds, text) in [
            (vec![NamespaceKind::Pid], "namespaces [pid]"),
            (vec![NamespaceKind::Uts, NamespaceKind::Ipc], "namespaces [ipc uts]"),
            (vec![NamespaceKind::User], "namespaces [user]"),
            (vec![NamespaceKind::Network], "a network namespace"),
            (vec![NamespaceKind::Network, NamespaceKind::Pid], "namespaces [network pid]"),
        ] {
            let facts: Vec<_> = kinds.into_iter().map(host).collect();
            let expected = format!("linux.namespaces: eci containers can't share {text} {because}");
            assert_eq!(decided(&facts), Err(expected));
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
        for cni in [Fact { under_netns_dir: true, ..network.clone() }, Fact { is_pod_network: true, ..network.clone() }]
        {
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
        assert!(decide(&[wish(NamespaceKind::Ipc)], &[other]).is_err());
    }
}
