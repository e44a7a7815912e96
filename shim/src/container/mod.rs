//! A container's life on the host.

#[allow(dead_code)]
pub(crate) mod cgroup;
