//! The seccomp programs that a process of a container runs under: the base filter, the trap filter, its spec's profile.

use policy::config;
use policy::plan::Process;

use super::error::Error;
use super::grounds::blocking;
use crate::stage::message::Program;

/// Compiles the programs of a process, in the order in which they are installed.
pub(super) fn of(process: &Process, config: &config::Container, container: &str) -> Result<Vec<Program>, Error> {
    let (base, trap) = (syscall_trap::filter::base(config.io_uring)?, syscall_trap::filter::trap()?);
    let mut programs = vec![Program::from(&base), Program::from(&trap)];
    if let Some(profile) = &process.seccomp {
        let compiled = syscall_trap::filter::compile(profile)?;
        if !compiled.unknown.is_empty() {
            log::debug!(container = container; "seccomp: no kernel has {}", compiled.unknown.join(", "));
        }
        programs.push(Program::from(&compiled.program));
    }
    Ok(programs)
}

/// The same on a thread that may take its time.
pub(super) async fn of_exec(
    process: &Process,
    config: config::Container,
    container: &str,
) -> Result<Vec<Program>, Error> {
    let (process, container) = (process.clone(), container.to_owned());
    blocking(move || of(&process, &config, &container)).await
}
