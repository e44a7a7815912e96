//! Which CPUs a process runs on (sched_setaffinity(2)).

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::error::{StageError, quote};

/// Lets `pid` (none: the caller) run on the CPUs of `list` only. `field` is the spec's, for messages.
///
/// # Errors
/// A list that cannot be read, or that has no CPU of the process's cpuset.
pub(crate) fn set(pid: Option<Pid>, field: &str, list: &str) -> Result<(), StageError> {
    let step = "setting the CPU affinity";
    let object = || format!("{field} {}", quote(list));
    let cpus = parse(list).map_err(|reason| StageError::step(step, object(), reason))?;
    sched_setaffinity(pid, &cpus).map_err(|errno| StageError::step(step, object(), errno))
}

/// Reads a list in the format of cpuset(7): `0-3,7`.
fn parse(list: &str) -> Result<CpuSet, &'static str> {
    let number = |text: &str| match text.trim().parse::<usize>() {
        Ok(cpu) if cpu < CpuSet::MAX_CPU => Ok(cpu),
        Ok(_) => Err("names a CPU above 1023"),
        Err(_) => Err("is not a list of CPUs such as 0-3,7"),
    };
    let mut cpus = CpuSet::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err("has a range whose end is before its start");
        }
        (first..=last).for_each(|cpu| cpus.set(cpu));
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        let cpus =
            |list| parse(list).map(|set| (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>());
        assert_eq!(cpus("0-2,7"), Ok(vec![0, 1, 2, 7]));
        assert_eq!(cpus("1023"), Ok(vec![1023]));
        assert!(cpus("1024").is_err() && cpus("").is_err() && cpus("3-1").is_err() && cpus("a").is_err());
    }

    #[test]
    fn a_cpu_that_the_host_lacks_is_refused_by_the_field() {
        let error = set(None, "process.execCPUAffinity.final", "1000").unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting the CPU affinity process.execCPUAffinity.final \"1000\": invalid argument"
        );
    }
}
