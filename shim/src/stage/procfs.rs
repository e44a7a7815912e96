//! A procfs of another pid namespace, on kernels whose fsconfig(2) has no `pidns`.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::LinkNameSpaceType;
use userns::mount::Detached;

use super::channel::Channel;
use super::message::Failure;
use super::mounts::Data;
use crate::sys::clone::{Cloned, clone3};

/// Makes it in a child that lives in the namespace (a new procfs shows its maker's), and takes it over.
pub(super) fn from_inside(pid_namespace: BorrowedFd<'_>, data: &Data) -> Result<Detached, Failure> {
    // For children only: this process stays where it is (setns(2)).
    rustix::thread::move_into_link_name_space(pid_namespace, Some(LinkNameSpaceType::ProcessID))
        .map_err(Failure::at("join", "the pid namespace"))?;
    let (ours, theirs) = Channel::pair().map_err(Failure::at("make", "a socket pair"))?;
    match clone3(0, None).map_err(Failure::at("clone", "a helper"))? {
        Cloned::Child => {
            let _gone = match Detached::filesystem("proc", Some("proc"), data, &[]) {
                Ok(proc) => theirs.send(&String::new(), &[proc.fd()]),
                Err(error) => theirs.send(&error.to_string(), &[]),
            };
            std::process::exit(0)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let received = ours.receive::<String>().map_err(Failure::at("listen to", "the helper"))?;
            let _status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            match received {
                Some((_, mut fds)) if !fds.is_empty() => Ok(Detached::from_fd(fds.remove(0), "proc")),
                Some((line, _)) => Err(Failure::line(line)),
                None => Err(Failure::line("mount proc: the helper died")),
            }
        }
    }
}
