//! Which host ids a container gets: those of a user namespace that it joins, those that its spec brings, or a range of
//! the pool.

use std::path::Path;

use policy::config::Config;
use policy::plan::Plan;
use userns::lease::{self, LayerId, Lease, LeaseError, Leases};

use super::create::Request;
use super::error::Error;
use super::namespaces::Joined;

/// The leases of this host.
///
/// # Errors
/// When their directory cannot be used.
pub(super) fn leases() -> Result<Leases, Error> {
    Leases::open(lease::STATE_DIR).map_err(of_lease)
}

/// Leases the ids of a container.
///
/// # Errors
/// A refusal of the map that its spec brings, or why there is no range.
pub(super) fn take(
    request: &Request,
    namespace: &str,
    plan: &Plan,
    joined: &Joined,
    leases: &Leases,
    config: &Config,
) -> Result<Lease, Error> {
    let layer = userns::rootfs::writable_layer(&request.rootfs, &plan.root.path);
    let layer = layer.map_err(|error| Error::Failed(error.to_string()))?;
    let layer = layer.map(|layer| LayerId::of(&layer.path)).transpose();
    let wish = lease::Request {
        container: request.id.clone(),
        namespace: namespace.to_owned(),
        layer: layer.map_err(|error| Error::Failed(format!("look at the writable layer: {error}")))?,
        cgroups: Vec::new(),
    };
    let lease = match (joined.user(), plan.id_map) {
        (Some(user), None) => leases.join(&wish, user),
        (Some(user), Some(map)) => match leases.join(&wish, user) {
            Ok(lease) if lease.id_map() != map => {
                let reason = "are not those of the user namespace that is joined";
                return Err(policy::Refusal::new("linux.uidMappings", reason).into());
            }
            // The engine has made it for the pod, whose first container this is.
            Err(LeaseError::NoSuchUserns { .. }) => leases.acquire_map(&wish, map),
            joined => joined,
        },
        (None, Some(map)) => leases.acquire_map(&wish, map),
        (None, None) => {
            let pool = lease::read_pool(&config.ranges, Path::new("/etc")).map_err(of_lease)?;
            leases.acquire(&wish, &pool)
        }
    };
    lease.map_err(of_lease)
}

/// As an error of the container.
pub(super) fn of_lease(error: LeaseError) -> Error {
    Error::Failed(error.to_string())
}
