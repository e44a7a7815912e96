//! What may be bound into a container: policy's rules, with what this shim knows of the engine.

use policy::binds::{Ids, Request as Asked, Rules};
use policy::config::Mounts;
use policy::plan::{NamespaceKind, Plan};

use super::create::Request;
use super::namespaces::Joined;
use super::pod::Shared;

/// The rules of one container.
pub(super) fn rules(request: &Request, shared: &Shared, config: &Mounts, (plan, joined): (&Plan, &Joined)) -> Rules {
    let asked =
        Asked { bundle: &request.bundle, root: &plan.root.path, rootfs: &request.rootfs, sockets: &shared.sockets };
    // In a pod it is the sandbox whose files it is given, and that is who the shim is of.
    let alone = shared.group == request.id;
    let joins = &joined.joins;
    let network = joins.is_joined(NamespaceKind::Network) && !joins.network_is_host_owned;
    let shares = alone && (network || joins.is_joined(NamespaceKind::Ipc));
    Rules::new(config, &asked, Ids { own: vec![request.id.clone(), shared.group.clone()], shares })
}
