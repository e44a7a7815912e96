//! What Linux security modules confine the program with, from its execve on: an AppArmor profile, an SELinux label.
//!
//! Both are asked for by a write to a file below `/proc/thread-self/attr`, through a procfs of our own: the container's
//! `/proc` may lead elsewhere and so leave it unconfined (CVE-2019-16884, CVE-2025-52881). A name that the spec gives
//! and this host cannot honour is an error, never skipped; only an engine's own default profile is, as
//! [`policy::plan::AppArmor`] says.

use std::os::fd::BorrowedFd;

use policy::plan::AppArmor;
use rustix::io::Errno;

use super::capabilities::SYS_ADMIN;
use super::error::{Cause, StageError, quote};
use super::procfs;

/// The profile that stands for none.
const UNCONFINED: &str = "unconfined";

/// Asks for an AppArmor profile. `bounding` is the program's: with `CAP_SYS_ADMIN` in it, a default profile (which
/// forbids every mount) is left off. Returns a note where it is.
pub(super) fn apparmor(procfs: BorrowedFd<'_>, wanted: &AppArmor, bounding: u64) -> Result<Option<String>, StageError> {
    let profile = &wanted.profile;
    if wanted.engine_default && bounding & SYS_ADMIN != 0 {
        return Ok(Some(format!(
            "process.apparmorProfile: the engine's default {} is left off, it forbids every mount and the container \
             has CAP_SYS_ADMIN",
            quote(profile)
        )));
    }
    let failed = |cause: Cause| StageError::step("applying process.apparmorProfile", quote(profile), cause);
    if profile.is_empty() || profile.contains(['\0', '\n']) {
        return Err(failed("is not the name of a profile".into()));
    }
    // Not attr/exec: that file belongs to whichever module comes first.
    let file = match procfs::open(procfs, "thread-self/attr/apparmor/exec") {
        Ok(file) => file,
        Err(Errno::NOENT) if wanted.engine_default || profile == UNCONFINED => return Ok(None),
        Err(Errno::NOENT) => return Err(failed("apparmor: config provided but apparmor not supported".into())),
        Err(errno) => return Err(failed(errno.into())),
    };
    match procfs::write(&file, format!("exec {profile}").as_bytes()) {
        Ok(()) => Ok(None),
        Err(Errno::NOENT) => Err(failed("apparmor failed to apply profile: it is not loaded on this host".into())),
        // Built into the kernel but not enabled.
        Err(Errno::INVAL | Errno::OPNOTSUPP) if wanted.engine_default || profile == UNCONFINED => Ok(None),
        Err(errno) => Err(failed(format!("apparmor failed to apply profile: {}", Cause::from(errno)).into())),
    }
}

/// Asks for an SELinux label.
pub(super) fn selinux(procfs: BorrowedFd<'_>, label: &str) -> Result<(), StageError> {
    write_label(procfs, "exec", label)
}

/// Sets the SELinux label of keys that are made from now on; empty: the default again.
pub(super) fn label_new_keys(procfs: BorrowedFd<'_>, label: &str) -> Result<(), StageError> {
    write_label(procfs, "keycreate", label)
}

fn write_label(procfs: BorrowedFd<'_>, attribute: &str, label: &str) -> Result<(), StageError> {
    procfs::open(procfs, &format!("thread-self/attr/{attribute}"))
        .and_then(|file| procfs::write(&file, label.as_bytes()))
        .map_err(|errno| {
            let cause = match errno {
                // No module took the write, or SELinux does not know the label.
                Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP => {
                    Cause::from("selinux is disabled or not supported, or does not know the label")
                }
                errno => errno.into(),
            };
            StageError::step("applying process.selinuxLabel", quote(label), cause)
        })
}
