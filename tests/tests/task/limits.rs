//! Resource limits, OOM score, scheduling, CPUs and personality of a process.

use serde_json::json;
use tests::{Bundle, Container};

use super::process::{SHOW, status};

/// Whether this machine lets its root raise what only the host's root may.
fn may_raise() -> bool {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = u64::from_str_radix(&status(&own, "CapBnd"), 16).unwrap();
    bounding & (1 << 24) != 0
}

/// Soft and hard limit in the text of proc_pid_limits(5).
fn limit(text: &str, name: &str) -> (String, String) {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn pair(soft: &str, hard: &str) -> (String, String) {
    (soft.into(), hard.into())
}

#[tokio::test]
async fn resource_limits_hold_for_the_first_process_and_for_execs() {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_NPROC", "soft": 77, "hard": 88 },
    ]);
    let show = ["/bin/cat", "/proc/self/limits"];
    let bundle = || Bundle::new().set("/process/rlimits", limits.clone());
    let container = Container::sleeping(bundle()).await;
    for output in [bundle().args(&show).run().await, container.exec(&show).await] {
        assert_eq!(limit(output.ok(), "Max open files"), pair("512", "1024"));
        assert_eq!(limit(output.ok(), "Max core file size"), pair("0", "0"));
        assert_eq!(limit(output.ok(), "Max processes"), pair("77", "88"));
    }
    let mut process = container.process(&show);
    process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let output = container.exec_process(&process).await.unwrap();
    assert_eq!(limit(output.ok(), "Max open files"), pair("100", "200"));
    container.end().await;
}

#[tokio::test]
async fn a_limit_that_cannot_be_raised_is_as_high_as_it_can_be_and_logged() {
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let (_, hard) = limit(&own, "Max open files");
    let wanted = hard.parse::<u64>().unwrap() + 1;
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": wanted, "hard": wanted }]);
    let bundle = Bundle::new().set("/process/rlimits", limits).args(&["/bin/cat", "/proc/self/limits"]);
    let mut container = Container::started(bundle).await;
    let output = container.output().await;
    if may_raise() {
        assert_eq!(limit(output.ok(), "Max open files"), pair(&wanted.to_string(), &wanted.to_string()));
    } else {
        assert_eq!(limit(output.ok(), "Max open files"), pair(&hard, &hard));
        let line = container.shim.logged("process.rlimits: RLIMIT_NOFILE is").await;
        assert!(line.contains(&format!("{hard}:{hard} instead of {wanted}:{wanted}")), "{line}");
    }
    container.end().await;
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_by_name() {
    for (limits, message) in [
        (
            json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]),
            "process.rlimits[0]: the soft limit 2 of RLIMIT_CORE",
        ),
        (json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]), "process.rlimits[0].type: \"RLIMIT_X\" is not known"),
        (json!([{ "type": "RLIMIT_CORE", "hard": 1 }]), "process.rlimits[0].soft: is missing"),
    ] {
        let refusal = Bundle::new().set("/process/rlimits", limits).refused().await;
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn the_oom_score_can_be_raised_and_is_lowered_where_the_host_permits() {
    let show = ["/bin/cat", "/proc/self/oom_score_adj"];
    let raised = Bundle::new().set("/process/oomScoreAdj", json!(500));
    let container = Container::sleeping(raised).await;
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/oom_score_adj", container.pid)).unwrap().trim(), "500");
    assert_eq!(container.exec(&show).await.ok(), "500");
    let mut process = container.process(&show);
    process["oomScoreAdj"] = json!(600);
    assert_eq!(container.exec_process(&process).await.unwrap().ok(), "600");
    container.end().await;

    let mut lowered = Container::started(Bundle::new().set("/process/oomScoreAdj", json!(-1000)).args(&show)).await;
    let value = lowered.output().await.ok().to_owned();
    if may_raise() {
        assert_eq!(value, "-1000");
    } else {
        assert_ne!(value, "-1000");
        lowered.shim.logged("process.oomScoreAdj: -1000 is below what this host lets us set").await;
    }
    lowered.end().await;
    let refusal = Bundle::new().set("/process/oomScoreAdj", json!(1001)).refused().await;
    assert!(refusal.ends_with("process.oomScoreAdj: 1001 is not from -1000 to 1000"), "{refusal}");
}

#[tokio::test]
async fn scheduling_and_io_priority_are_the_specs() {
    // proc_pid_stat(5): 19 is nice, 41 the policy; the name in field 2 has no space.
    let show = "cut -d' ' -f19,41 /proc/self/stat; ionice";
    let bundle = Bundle::new()
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }));
    let container = Container::sleeping(bundle.clone()).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", container.pid)).unwrap();
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!((fields[18], fields[40]), ("5", "3"));
    assert_eq!(container.sh(show).await.ok(), "5 3\nbest-effort: prio 6");
    let mut process = container.process(&["/bin/sh", "-c", show]);
    process["scheduler"] = json!({ "policy": "SCHED_IDLE" });
    process["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE" });
    let output = container.exec_process(&process).await.unwrap();
    assert!(output.ok().contains(" 5\nidle"), "{output:?}");
    container.end().await;
    for (field, value, message) in [
        ("scheduler", json!({ "policy": "SCHED_ISO" }), "process.scheduler.policy: "),
        ("ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "process.ioPriority.priority: 8 is not"),
    ] {
        let refusal = Bundle::new().set(&format!("/process/{field}"), value).refused().await;
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn a_program_runs_on_the_cpus_of_the_spec() {
    let show = |text: &str| status(text, "Cpus_allowed_list");
    let affinity = json!({ "initial": "0", "final": "0" });
    let container = Container::sleeping(Bundle::new().set("/process/execCPUAffinity", affinity)).await;
    assert_eq!(show(container.exec(&SHOW).await.ok()), "0");
    container.end().await;
    let refusal = Bundle::new().set("/process/execCPUAffinity", json!({ "final": "1000" })).refused().await;
    assert!(refusal.contains("process.execCPUAffinity.final \"1000\": invalid argument"), "{refusal}");
    let refusal = Bundle::new().set("/process/execCPUAffinity", json!({ "initial": "x" })).refused().await;
    assert!(refusal.contains("process.execCPUAffinity.initial: \"x\" is not a list"), "{refusal}");
}

#[tokio::test]
async fn a_program_has_the_personality_of_the_spec() {
    let machine = |domain: &str| Bundle::new().set("/linux/personality", json!({ "domain": domain }));
    let container = Container::sleeping(machine("LINUX32")).await;
    let native = Bundle::new().args(&["uname", "-m"]).run().await;
    assert_eq!(machine("LINUX").args(&["uname", "-m"]).run().await.ok(), native.ok());
    let other = machine("LINUX32").args(&["uname", "-m"]).run().await;
    assert_ne!(other.ok(), native.ok());
    assert_eq!(container.exec(&["uname", "-m"]).await.ok(), other.ok());
    container.end().await;
    let refusal = machine("BSD").refused().await;
    assert!(refusal.contains("linux.personality.domain: \"BSD\" is not known"), "{refusal}");
}
