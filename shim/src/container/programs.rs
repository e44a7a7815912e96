//! The device programs of a container's inner engines ([`syscall_trap::programs`]): for whom they are, and where they may lie.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use policy::plan::Capabilities;
use rustix::thread::CapabilitySet;
use syscall_trap::programs::Programs;

use super::cgroup::Cgroup;

/// Whether a process may ever have what it takes to load one: its bounding set has it.
pub(super) fn may_load(capabilities: &Capabilities) -> bool {
    let bounding = CapabilitySet::from_bits_retain(capabilities.bounding);
    bounding.contains(CapabilitySet::SYS_ADMIN) || bounding.contains(CapabilitySet::BPF | CapabilitySet::NET_ADMIN)
}

/// Those of the container with this group and this init; none without cgroup v2.
///
/// # Errors
/// When init or the group is gone.
pub(super) fn of(cgroup: &Cgroup, init: i32) -> io::Result<Option<Programs>> {
    let Some(directory) = cgroup.unified() else { return Ok(None) };
    let user = File::open(format!("/proc/{init}/ns/user"))?;
    let group = File::open(directory)?;
    Ok(Some(Programs::new(OwnedFd::from(user), OwnedFd::from(group))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_for_whom_the_kernel_would_let_load_them() {
        let may =
            |bounding: CapabilitySet| may_load(&Capabilities { bounding: bounding.bits(), ..Capabilities::default() });
        assert!(may(CapabilitySet::SYS_ADMIN) && may(CapabilitySet::BPF | CapabilitySet::NET_ADMIN));
        assert!(!may(CapabilitySet::empty()) && !may(CapabilitySet::BPF) && !may(CapabilitySet::NET_ADMIN));
    }
}
