//! The container's tasks: how many run, wait for a disk, are there at all; and the load average that follows.
//!
//! The kernel averages per host only. Here the exponential average of sched/loadavg.c moves at each sample, by the time
//! since the last one: without a reader there is no sample, and what was in between counts as what is found. It starts
//! from 0 at the container's start.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::groups::{Groups, read};
use crate::Emulation;

/// No more often than this tasks are looked at.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// Of more tasks than this the state is not looked at, and of more groups not even the number.
const MOST_TASKS: usize = 4096;
const MOST_GROUPS: usize = 1024;

/// Minutes of the three averages.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

/// What is known of the tasks of a container.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    last: Option<(Instant, Sample)>,
    /// Since when they are looked at; none: since the container is up.
    since: Option<Instant>,
    load: [f64; 3],
}

/// What one look gives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sample {
    /// State R: the one that asks sleeps meanwhile.
    pub(super) running: u64,
    /// State D.
    pub(super) blocked: u64,
    pub(super) total: u64,
    /// The newest process, as the container counts; 0 when it cannot be told.
    pub(super) last_pid: u64,
    /// Averages of 1, 5 and 15 minutes.
    pub(super) load: [f64; 3],
}

impl Tasks {
    /// Of groups that begin now.
    pub(crate) fn from_now() -> Self {
        Self { since: Some(Instant::now()), ..Self::default() }
    }

    /// A sample no older than [`FRESH`]. `up` is for how long the container has been up.
    pub(super) fn sample(emulation: &Emulation, up: Duration) -> Sample {
        let mut tasks = emulation.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match tasks.last {
            Some((at, sample)) if now.saturating_duration_since(at) < FRESH => sample,
            _ => tasks.advance(look(emulation), up, now),
        }
    }

    fn advance(&mut self, mut sample: Sample, up: Duration, now: Instant) -> Sample {
        let last = self.last.map(|(at, _)| at).or(self.since);
        let passed = last.map_or(up, |at| now.saturating_duration_since(at));
        // u32 is enough for either: see MOST_TASKS.
        let active = f64::from(u32::try_from(sample.running + sample.blocked).unwrap_or(u32::MAX));
        for (load, minutes) in self.load.iter_mut().zip(MINUTES) {
            let kept = (-passed.as_secs_f64() / (minutes * 60.0)).exp();
            *load = *load * kept + active * (1.0 - kept);
        }
        sample.load = self.load;
        self.last = Some((now, sample));
        sample
    }
}

fn look(emulation: &Emulation) -> Sample {
    // Any hierarchy will do that has the container's tasks; with v1 each has.
    let groups = ["cpuacct", "pids", "memory"].map(|controller| Groups::of(&emulation.facts, controller));
    let Some((groups, own)) = groups.iter().find_map(|groups| Some((groups, groups.own()?))) else {
        return Sample::default();
    };
    let file = if groups.v2 { "cgroup.threads" } else { "tasks" };
    let tasks = collect(own, file);
    let mut sample = Sample { total: tasks.len().try_into().unwrap_or(u64::MAX), ..Sample::default() };
    for task in tasks.iter().take(MOST_TASKS) {
        match fs::read(format!("/proc/{task}/stat")).ok().as_deref().and_then(state) {
            Some(b'R') => sample.running += 1,
            Some(b'D') => sample.blocked += 1,
            _ => {}
        }
    }
    sample.last_pid = last_pid(emulation.facts.init, tasks.iter().max().copied()).unwrap_or(0);
    sample
}

/// The tasks of a group and all below it, which lie as deep as the container likes: so nothing recurses, on a small stack, and no
/// descriptor is held per level.
fn collect(top: &Path, file: &str) -> Vec<u32> {
    let (mut tasks, mut found) = (Vec::new(), 0);
    let mut waiting = vec![top.to_owned()];
    while let Some(dir) = waiting.pop() {
        tasks.extend(read(&dir, file).unwrap_or_default().lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if found < MOST_GROUPS && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found += 1;
                waiting.push(entry.path());
            }
        }
    }
    tasks
}

/// The state of `/proc/<pid>/stat` (proc_pid_stat(5)): what follows the name, which may have anything in it.
fn state(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end + 2).copied()
}

/// The number of a task in the pid namespace of `init`, from their `NSpid` lines, outermost namespace first.
fn last_pid(init: i32, task: Option<u32>) -> Option<u64> {
    let ids = |pid: String| Some(ids(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/status")).ok()?)));
    let depth = ids(init.to_string())?.len();
    ids(task?.to_string())?.get(depth.checked_sub(1)?).copied()
}

fn ids(status: &str) -> Vec<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert_eq!(state(b"7 (a) R) S 1 7\n"), Some(b'S'));
        assert_eq!((state(b"7 (a"), state(b"7 (a)")), (None, None));
    }

    #[test]
    fn ids_are_told_by_depth() {
        assert_eq!(ids("Name:\ta\nNSpid:\t4711\t12\t1\n"), [4711, 12, 1]);
        assert!(ids("").is_empty());
        let own = std::process::id();
        assert!(last_pid(own.try_into().unwrap(), Some(own)).is_some());
        assert_eq!(last_pid(-1, Some(own)), None);
    }

    #[test]
    fn the_load_goes_towards_what_is_found_by_the_time_that_passed() {
        let (mut tasks, start) = (Tasks::default(), Instant::now());
        let busy = Sample { running: 1, blocked: 1, ..Sample::default() };
        let first = tasks.advance(busy, Duration::from_secs(60), start);
        // 2 × (1 - 1/e), (1 - 1/e^0.2), (1 - 1/e^(1/15)).
        assert_eq!(first.load.map(|load| format!("{load:.2}")), ["1.26", "0.36", "0.13"]);
        let later = tasks.advance(busy, Duration::MAX, start + Duration::from_secs(36000));
        assert_eq!(later.load.map(|load| format!("{load:.2}")), ["2.00", "2.00", "2.00"]);
        let idle = tasks.advance(Sample::default(), Duration::MAX, start + Duration::from_secs(36060));
        assert_eq!(idle.load.map(|load| format!("{load:.2}")), ["0.74", "1.64", "1.87"]);
    }
}
