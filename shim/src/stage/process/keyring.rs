//! The session keyring (session-keyring(7)): one for each container, never the shim's.
//!
//! A process may use every key of the session keyring that it inherited, whatever its user namespace; so where none of
//! its own can be made the container is not started, unless the kernel has no keyrings at all.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::{Cause, StageError};
use super::lsm;
use crate::sys;

/// Possessor: everything; owner: what the kernel gives a session keyring, and search, with which an exec finds it by its
/// name (keyctl_setperm(3)).
const PERMISSIONS: u32 = 0x3f1b_0000;

/// Joins the keyring of container `id`, making it for the container's first process. Its owner is the caller's user, so
/// the container's root must be it; its SELinux label is the process's. Returns a note where the kernel has no keyrings.
pub(super) fn join(id: &str, procfs: BorrowedFd<'_>, label: Option<&str>) -> Result<Option<String>, StageError> {
    let failed = |cause: Cause| StageError::step("making the session keyring of", id, cause);
    let name = CString::new(format!("_eci.{id}")).map_err(|_| failed("the id has a NUL byte".into()))?;
    if let Some(label) = label {
        lsm::label_new_keys(procfs, label)?;
    }
    let joined = sys::process::join_session_keyring(&name);
    if label.is_some() {
        lsm::label_new_keys(procfs, "")?;
    }
    match joined {
        Ok(keyring) => {
            sys::process::set_key_permissions(keyring, PERMISSIONS).map_err(|error| failed(error.into()))?;
            Ok(None)
        }
        Err(error) if is(&error, Errno::NOSYS) => {
            Ok(Some("no session keyring was made: this kernel has no keyrings".into()))
        }
        Err(error) if is(&error, Errno::DQUOT) => Err(failed(
            "the key quota of the container's root is used up (see /proc/key-users, \
             and kernel.keys.maxkeys and kernel.keys.maxbytes of sysctl(8))"
                .into(),
        )),
        Err(error) => Err(failed(error.into())),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
