//! `process.scheduler` and `process.ioPriority`, held against sched_setattr(2) and ioprio_set(2).

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag, LinuxSchedulerPolicy, Scheduler as SpecScheduler,
};

use crate::Refusal;
use crate::plan::Scheduler;

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const IDLE: u32 = 5;
const DEADLINE: u32 = 6;

/// The scheduling policy with its parameters.
pub(super) fn scheduler(scheduler: &SpecScheduler) -> Result<Scheduler, Refusal> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => OTHER,
        LinuxSchedulerPolicy::SchedFifo => FIFO,
        LinuxSchedulerPolicy::SchedRr => RR,
        LinuxSchedulerPolicy::SchedBatch => BATCH,
        LinuxSchedulerPolicy::SchedIdle => IDLE,
        LinuxSchedulerPolicy::SchedDeadline => DEADLINE,
        LinuxSchedulerPolicy::SchedIso => {
            return refuse("policy", "\"SCHED_ISO\" is reserved, no kernel has implemented it");
        }
    };
    let flags = scheduler.flags().as_deref().unwrap_or_default().iter();
    let plan = Scheduler {
        policy,
        flags: flags.fold(0, |bits, each| bits | flag(*each)),
        nice: scheduler.nice().unwrap_or_default(),
        priority: u32::try_from(scheduler.priority().unwrap_or_default())
            .or_else(|_| refuse("priority", "is below 0"))?,
        runtime: scheduler.runtime().unwrap_or_default(),
        deadline: scheduler.deadline().unwrap_or_default(),
        period: scheduler.period().unwrap_or_default(),
    };
    check(&plan)?;
    Ok(plan)
}

/// What sched_setattr(2) would answer with EINVAL, which names nothing.
fn check(plan: &Scheduler) -> Result<(), Refusal> {
    if !(-20..=19).contains(&plan.nice) {
        return refuse("nice", format!("{} is not from -20 to 19", plan.nice));
    }
    let real_time = matches!(plan.policy, FIFO | RR);
    let priorities = if real_time { 1..=99 } else { 0..=0 };
    if !priorities.contains(&plan.priority) {
        let (least, most) = (priorities.start(), priorities.end());
        return refuse("priority", format!("{} is not from {least} to {most}, as the policy needs", plan.priority));
    }
    let times = (plan.runtime, plan.deadline, plan.period);
    // A period of 0 stands for the deadline.
    let ordered =
        plan.runtime > 0 && plan.runtime <= plan.deadline && (plan.period == 0 || plan.deadline <= plan.period);
    if plan.policy == DEADLINE && !ordered {
        return refuse("runtime", format!("runtime, deadline and period {times:?} are not in this order, or are 0"));
    }
    if plan.policy != DEADLINE && times != (0, 0, 0) {
        return refuse("runtime", "runtime, deadline and period are for SCHED_DEADLINE");
    }
    Ok(())
}

/// linux/sched.h
fn flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// ioprio_set(2): class and level.
pub(super) fn io_priority(priority: &LinuxIOPriority) -> Result<(u8, u8), Refusal> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u8::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Refusal::new("process.ioPriority.priority", format!("{} is not from 0 to 7", priority.priority()))),
    }
}

fn refuse<T>(name: &str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(format!("process.scheduler.{name}"), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Scheduler, String> {
        let spec = serde_json::from_str(json).expect("scheduler");
        scheduler(&spec).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn parameters_fit_the_policy() {
        let fifo = Scheduler { policy: FIFO, priority: 10, ..Scheduler::default() };
        assert_eq!(plan(r#"{"policy": "SCHED_FIFO", "priority": 10}"#), Ok(fifo));
        let deadline = Scheduler { policy: DEADLINE, runtime: 1, deadline: 2, period: 3, ..Scheduler::default() };
        assert_eq!(plan(r#"{"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}"#), Ok(deadline));
        let batch = Scheduler { policy: BATCH, nice: 19, ..Scheduler::default() };
        assert_eq!(plan(r#"{"policy": "SCHED_BATCH", "nice": 19}"#), Ok(batch));
    }

    #[test]
    fn what_the_kernel_would_not_take_is_named() {
        for (json, field) in [
            (r#"{"policy": "SCHED_FIFO"}"#, "priority"),
            (r#"{"policy": "SCHED_FIFO", "priority": 100}"#, "priority"),
            (r#"{"policy": "SCHED_RR", "priority": -1}"#, "priority"),
            (r#"{"policy": "SCHED_OTHER", "priority": 1}"#, "priority"),
            (r#"{"policy": "SCHED_OTHER", "nice": 20}"#, "nice"),
            (r#"{"policy": "SCHED_OTHER", "runtime": 1}"#, "runtime"),
            (r#"{"policy": "SCHED_DEADLINE", "runtime": 2, "deadline": 1}"#, "runtime"),
            (r#"{"policy": "SCHED_ISO"}"#, "policy"),
        ] {
            let refusal = plan(json).expect_err(json);
            assert!(refusal.starts_with(&format!("process.scheduler.{field}: ")), "{refusal}");
        }
    }

    #[test]
    fn io_priority_has_eight_levels() {
        let plan = |json: &str| io_priority(&serde_json::from_str(json).expect("io priority"));
        assert_eq!(plan(r#"{"class": "IOPRIO_CLASS_RT", "priority": 7}"#), Ok((1, 7)));
        assert_eq!(plan(r#"{"class": "IOPRIO_CLASS_IDLE", "priority": 0}"#), Ok((3, 0)));
        for level in ["8", "-1", "256"] {
            let refusal = plan(&format!(r#"{{"class": "IOPRIO_CLASS_BE", "priority": {level}}}"#)).expect_err(level);
            assert_eq!(refusal.to_string(), format!("process.ioPriority.priority: {level} is not from 0 to 7"));
        }
    }
}
