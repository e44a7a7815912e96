//! Which host ids a container gets: those of a user namespace that it joins, those that its spec brings, or a range of
//! the pool.

use std::fs;
use std::path::Path;

use policy::config::{CONFIG_PATH, Config};
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
            let config = read_config()?;
            let pool = lease::read_pool(&config.ranges, Path::new("/etc")).map_err(of_lease)?;
            leases.acquire(&wish, &pool)
        }
    };
    lease.map_err(of_lease)
}

/// The operator's file; where there is none, the defaults.
fn read_config() -> Result<Config, Error> {
    match fs::read_to_string(CONFIG_PATH) {
        Ok(text) => Ok(Config::parse(&text, CONFIG_PATH)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(Error::Failed(format!("read {CONFIG_PATH}: {error}"))),
    }
}

/// As an error of the container.
pub(super) fn of_lease(error: LeaseError) -> Error {
    Error::Failed(error.to_string())
}
