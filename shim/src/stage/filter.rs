//! Installs the compiled seccomp programs: the last thing before execve(2).
//!
//! The base filter comes before the spec's profile, which need not allow seccomp(2).

use std::io;

use super::message::Program;

/// Installs `programs`, in their order. Of what they answer for a call the kernel takes the strictest (seccomp(2)).
pub(super) fn install(programs: &[Program]) -> io::Result<()> {
    programs.iter().try_for_each(|program| syscall_trap::sys::install(&program.into(), program.flags))
}
