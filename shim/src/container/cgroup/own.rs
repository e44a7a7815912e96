//! The group of the shim itself, where an engine names one (`ShimCgroup` of runc's options).

use std::os::fd::AsFd;

use policy::Refusal;

use super::error::{Error, refused};
use super::{Layout, tree};

const OPTION: &str = "runtime option ShimCgroup";

/// Moves this process into the group at `path` below every hierarchy's root where it exists. It is the engine that makes it.
///
/// # Errors
/// When the path is not absolute or climbs, when no hierarchy has the group, or when the kernel refuses.
pub(crate) fn enter(path: &str) -> Result<(), Error> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Refusal::new(OPTION, format!("{path:?} is not an absolute path without ..")).into());
    }
    let mut entered = false;
    for hierarchy in &Layout::detect()?.hierarchies {
        let Ok(group) = tree::open(&hierarchy.mount_point.join(path.trim_start_matches('/'))) else { continue };
        tree::write(group.as_fd(), "cgroup.procs", &std::process::id().to_string())
            .map_err(|errno| refused(OPTION, path, errno))?;
        entered = true;
    }
    if entered { Ok(()) } else { Err(Refusal::new(OPTION, format!("{path}: there is no such group")).into()) }
}
