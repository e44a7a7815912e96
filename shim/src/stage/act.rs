//! The act stage: what is done on behalf of the container's processes whose system calls are trapped ([`syscall_trap::act`]).
//!
//! There is one for each container that needs it, from its first such call to its end. It is root of the host, and keeps
//! none of the host's mounts. What it does for a caller is done by children of its own, which answer by themselves; it only
//! listens, and ends with its control socket.

use std::os::fd::AsFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syscall_trap::act::{Act, Cover, Setup, World};

use super::channel::Channel;
use super::message::{Failure, Report};

/// What the stage is told first. Its descriptors: the container's user and network namespaces, and the roots of the filesystems of
/// its emulated files, detached mounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ActOrder {
    /// What lies over files of a new procfs or sysfs.
    pub(crate) covers: Vec<Cover>,
    /// Devices that may be made: major and minor number.
    pub(crate) devices: Vec<(u32, u32)>,
    /// How many seconds an act may take.
    pub(crate) seconds: u64,
}

/// What the stage is told of each act.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// What is to be done.
    pub(crate) act: Act,
    /// The view of the emulated files that the caller is to have.
    pub(crate) view: Option<u64>,
}

/// Serves acts: each message is one, with the directory of its caller in the host's procfs beside it, and the socket on which
/// it is answered.
pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let received = control.receive_order::<ActOrder>().map_err(Failure::at("receive", "the order"))?;
    let Some((order, fds)) = received else { return Ok(()) };
    let mut fds = fds.into_iter();
    let (Some(user), Some(net)) = (fds.next(), fds.next()) else {
        return Err(Failure::line("receive the order: its descriptors are not complete"));
    };
    let setup = Setup {
        user,
        net,
        covers: order.covers,
        emulated: fds.collect(),
        devices: order.devices,
        limit: Duration::from_secs(order.seconds),
    };
    let mut world = World::new(setup).map_err(Failure::at("make", "the mount namespaces of acts"))?;
    control.send(&Report::Ready, &[]).map_err(Failure::at("report to", "the shim"))?;
    loop {
        world.wait(control.as_fd()).map_err(Failure::at("wait for", "acts"))?;
        let received = control.receive::<Asked>().map_err(Failure::at("listen to", "the shim"))?;
        let Some((Asked { act, view }, fds)) = received else { return Ok(()) };
        let mut fds = fds.into_iter();
        if let (Some(caller), Some(reply)) = (fds.next(), fds.next()) {
            world.begin((caller, view), &act, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ACT, main};

    /// The stage itself, for whoever launches this binary as one.
    #[test]
    fn stage() {
        if rustix::net::sockopt::socket_type(std::io::stdin()).is_ok() {
            let _code = main(ACT);
        }
    }
}
