//! Installs the compiled seccomp program: the last thing before execve(2).

use std::io;

use super::message::Program;

/// Installs `program`; none is no filter.
pub(super) fn install(program: Option<&Program>) -> io::Result<()> {
    match program {
        Some(program) => syscall_trap::sys::install(&program.into(), program.flags),
        None => Ok(()),
    }
}
