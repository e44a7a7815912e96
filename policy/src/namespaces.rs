//! Which namespaces a container joins, and whose user namespace it lives in.
//!
//! A container joins a namespace only when the user namespace that owns it is the container's own: otherwise its root
//! would have no power over it, or another container's root would have power over this one. The one exception is the
//! network namespace that CNI has made for a pod, which the host owns.
//!
//! runtime-spec: a namespace that the spec leaves out is the runtime's own, that is to say the host's. That is how engines
//! ask for it (`--pid=host`, `--net-host`), so it is refused for the kinds for which users ask so ([`SHARED_BY_SILENCE`]),
//! unless the operator's config says otherwise. The other kinds are private whatever the engine says or leaves out.
//!
//! * [`Fact`]: what the caller has found out about a path, on the descriptor that is then joined.
//! * [`decide`]: the [`Joins`], or a refusal.
//!
//! Invariant: no namespace of the host itself is ever joined.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Missing;
use crate::plan::{NamespaceKind, NamespaceWish};
use crate::{Refusal, Rule};

/// The kinds that are the host's where a spec leaves them out.
pub const SHARED_BY_SILENCE: [NamespaceKind; 4] =
    [NamespaceKind::Pid, NamespaceKind::Ipc, NamespaceKind::Uts, NamespaceKind::Network];

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

/// Decides what is joined. `facts` has one entry for each wish with a path; `missing` is what the operator says of
/// wishes that the spec does not name.
///
/// # Errors
/// When a namespace of the host is asked for, or when a path has no fact or is owned by another user namespace than the
/// container's.
pub fn decide(wishes: &[NamespaceWish], facts: &[Fact], missing: Missing) -> Result<Joins, Refusal> {
    let mut known = Vec::new();
    for wish in wishes {
        let Some(path) = &wish.path else { continue };
        match facts.iter().find(|fact| fact.kind == wish.kind && fact.path == *path) {
            Some(fact) => known.push(fact),
            None => return Err(refusal(wish.kind, path, "has not been looked at")),
        }
    }
    refuse_the_hosts(wishes, &known, missing)?;
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
            let reason = "is owned by the host's user namespace: it is the host's, or that of a container of another \
                          runtime, such as runc; run both containers with this runtime";
            return Err(refusal(fact.kind, &fact.path, reason));
        }
        (Owner::Other, _) => {
            let reason = "is owned by a user namespace that is not that of a running eci container";
            return Err(refusal(fact.kind, &fact.path, reason));
        }
    }
    joins.joined.push(fact.kind);
    Ok(())
}

/// Sysbox's two texts (with another name in them), which Docker's documentation quotes and people search for: for the
/// network alone, and for any others.
fn refuse_the_hosts(wishes: &[NamespaceWish], known: &[&Fact], missing: Missing) -> Result<(), Refusal> {
    let left_out =
        |wish: &&NamespaceWish| missing == Missing::Refuse && !wish.named && SHARED_BY_SILENCE.contains(&wish.kind);
    // The kind, and as what it was asked for.
    let paths = known.iter().filter(|fact| fact.is_host);
    let mut asked: Vec<_> = paths.map(|fact| (fact.kind.to_string(), object(fact.kind, &fact.path))).collect();
    asked.extend(wishes.iter().filter(left_out).map(|wish| (wish.kind.to_string(), wish.kind.to_string())));
    asked.sort_unstable();
    let (kinds, objects): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let what = match kinds.as_slice() {
        [] => return Ok(()),
        [network] if network == "network" => "a network namespace".to_owned(),
        kinds => format!("namespaces [{}]", kinds.join(" ")),
    };
    let line = format!(
        "invalid or unsupported container spec: eci containers can't share {what} with the host (because they use the \
         linux user-namespace for isolation)"
    );
    Err(Refusal::new("", line).by(Rule::Namespaces, objects.join(" ")))
}

fn refusal(kind: NamespaceKind, path: &Path, reason: &str) -> Refusal {
    Refusal::new("linux.namespaces", format!("the {kind} namespace {path:?} {reason}"))
        .by(Rule::Namespaces, object(kind, path))
}

/// As `ctr --with-ns` writes it.
fn object(kind: NamespaceKind, path: &Path) -> String {
    format!("{kind}:{}", path.display())
}

#[cfg(test)]
#[path = "namespaces_tests.rs"]
mod tests;
