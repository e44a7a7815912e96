//! Resource limits (setrlimit(2)).
//!
//! A hard limit can be raised by `CAP_SYS_RESOURCE` of the host only, which some hosts (and every nested one) lack. Such
//! a limit is set as high as it can be, and reported: a program that finds fewer descriptors than it asked for runs,
//! one that is not started does not.

use policy::plan::Rlimit;
use rustix::io::Errno;

use super::error::{Cause, StageError};
use crate::sys;

/// The names of `RLIMIT_*` by number, as asm-generic/resource.h numbers them (so do x86 and arm64).
const NAMES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// Sets the limits of `pid` (0: the caller). Returns what is lower than asked.
///
/// # Errors
/// A limit that the kernel does not know, or whose soft value is above the hard one.
pub(super) fn set(pid: i32, limits: &[Rlimit]) -> Result<Vec<String>, StageError> {
    let mut notes = Vec::new();
    for limit in limits {
        let name = name(limit.resource);
        let failed = |cause: Cause| StageError::step("setting process.rlimits", &name, cause);
        if limit.soft > limit.hard {
            return Err(failed("the soft limit is above the hard limit".into()));
        }
        let wanted = (limit.soft, limit.hard);
        match sys::process::limit(pid, limit.resource, Some(wanted)) {
            Ok(_) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                let (_, ceiling) =
                    sys::process::limit(pid, limit.resource, None).map_err(|error| failed(error.into()))?;
                let (soft, hard) = clamp(wanted, ceiling);
                sys::process::limit(pid, limit.resource, Some((soft, hard))).map_err(|error| failed(error.into()))?;
                notes.push(format!(
                    "process.rlimits: {name} is {}:{} instead of {}:{}, the host's hard limit cannot be raised",
                    show(soft),
                    show(hard),
                    show(limit.soft),
                    show(limit.hard)
                ));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(notes)
}

/// Soft and hard limit, as near to `wanted` as a hard limit of `ceiling` allows.
fn clamp((soft, hard): (u64, u64), ceiling: u64) -> (u64, u64) {
    (soft.min(ceiling), hard.min(ceiling))
}

fn name(resource: u32) -> String {
    match usize::try_from(resource).ok().and_then(|number| NAMES.get(number)) {
        Some(name) => format!("RLIMIT_{name}"),
        None => format!("number {resource}"),
    }
}

fn show(value: u64) -> String {
    if value == u64::MAX { "unlimited".into() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clamped_limit_keeps_what_it_can() {
        assert_eq!(clamp((10, 20), 15), (10, 15));
        assert_eq!(clamp((18, u64::MAX), 15), (15, 15));
        assert_eq!(clamp((3, 4), 15), (3, 4));
    }

    #[test]
    fn limits_are_known_by_their_names() {
        assert_eq!((name(7), name(16)), ("RLIMIT_NOFILE".into(), "number 16".into()));
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let error = set(0, &[Rlimit { resource: 7, soft: 2, hard: 1 }]).unwrap_err();
        assert_eq!(error.to_string(), "setting process.rlimits RLIMIT_NOFILE: the soft limit is above the hard limit");
    }
}
