//! `linux.seccomp`: passed through whole; `syscall-trap` compiles it.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};

use crate::Refusal;

/// The profile, when nothing in it needs a listener of the container's own: without one, a filter that notifies makes
/// its system calls fail with ENOSYS.
pub(super) fn checked(profile: &LinuxSeccomp) -> Result<LinuxSeccomp, Refusal> {
    let notify = |field: String, action: LinuxSeccompAction| match action {
        LinuxSeccompAction::ScmpActNotify => {
            Err(Refusal::new(field, "\"SCMP_ACT_NOTIFY\" needs a listener, which is not implemented yet"))
        }
        _ => Ok(()),
    };
    notify("linux.seccomp.defaultAction".to_owned(), profile.default_action())?;
    for (index, syscall) in profile.syscalls().as_deref().unwrap_or_default().iter().enumerate() {
        notify(format!("linux.seccomp.syscalls[{index}].action"), syscall.action())?;
    }
    Ok(profile.clone())
}
