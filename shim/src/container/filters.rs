//! The seccomp programs that a process of a container runs under: the base filter, the trap filter, its spec's profile.

use policy::config;
use policy::plan::Process;
use syscall_trap::filter::base::Allowed;

use super::error::Error;
use super::grounds::blocking;
use super::programs;
use crate::stage::message::Program;

/// Compiles the programs of a process, in the order in which they are installed.
pub(super) fn of(process: &Process, config: &config::Container, container: &str) -> Result<Vec<Program>, Error> {
    let profile = process.seccomp.as_ref().map(syscall_trap::filter::compile).transpose()?;
    let traces = profile.as_ref().is_some_and(|compiled| compiled.program.traces());
    let allowed = Allowed { io_uring: config.io_uring, programs: !traces && programs::may_load(&process.capabilities) };
    let mut programs = vec![Program::from(&syscall_trap::filter::base(allowed)?)];
    if traces {
        log::warn!(container = container; "runs without traps: its seccomp profile has SCMP_ACT_TRACE, which they would overrule");
    } else {
        programs.push(Program::from(&syscall_trap::filter::trap()?));
    }
    if let Some(compiled) = profile {
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
