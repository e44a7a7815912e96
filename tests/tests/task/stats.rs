//! What a container uses, as engines read it: in the message of the host's version of cgroups.

use std::time::Instant;

use containerd_shim_protos::api;
use containerd_shim_protos::cgroups::metrics::Metrics as V1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as V2;
use containerd_shim_protos::protobuf::Message;
use serde_json::{Value, json};
use tests::groups::is_v2;
use tests::shim::{Answer, PATIENCE, Shim, deadline};
use tests::stdio::Pipes;
use tests::{Bundle, Container};
use ttrpc::Code;

/// What both messages tell.
#[derive(Debug)]
struct Numbers {
    cpu_nanoseconds: u64,
    periods: u64,
    throttled: u64,
    memory: u64,
    memory_limit: u64,
    memory_max: u64,
    page_faults: u64,
    oom_kills: u64,
    pids: u64,
    pids_limit: u64,
}

async fn stats(shim: &Shim, id: &str) -> Answer<Numbers> {
    let request = api::StatsRequest { id: id.into(), ..Default::default() };
    let any = shim.task.stats(deadline(), &request).await?.stats.unwrap();
    Ok(if is_v2() {
        assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
        v2(&V2::parse_from_bytes(&any.value).unwrap())
    } else {
        assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
        v1(&V1::parse_from_bytes(&any.value).unwrap())
    })
}

fn v1(metrics: &V1) -> Numbers {
    // Read after the sum, and a program that runs is not waited for.
    assert!(metrics.cpu.usage.per_cpu.iter().sum::<u64>() >= metrics.cpu.usage.total, "{metrics}");
    Numbers {
        cpu_nanoseconds: metrics.cpu.usage.total,
        periods: metrics.cpu.throttling.periods,
        throttled: metrics.cpu.throttling.throttled_periods,
        memory: metrics.memory.usage.usage,
        memory_limit: metrics.memory.usage.limit,
        memory_max: metrics.memory.usage.max,
        page_faults: metrics.memory.total_pg_fault,
        oom_kills: metrics.memory_oom_control.oom_kill,
        pids: metrics.pids.current,
        pids_limit: metrics.pids.limit,
    }
}

fn v2(metrics: &V2) -> Numbers {
    Numbers {
        cpu_nanoseconds: metrics.cpu.usage_usec * 1000,
        periods: metrics.cpu.nr_periods,
        throttled: metrics.cpu.nr_throttled,
        memory: metrics.memory.usage,
        memory_limit: metrics.memory.usage_limit,
        memory_max: metrics.memory.max_usage,
        page_faults: metrics.memory.pgfault,
        oom_kills: metrics.memory_events.oom_kill,
        pids: metrics.pids.current,
        pids_limit: metrics.pids.limit,
    }
}

impl Numbers {
    async fn of(container: &Container) -> Self {
        stats(&container.shim, &container.id()).await.unwrap()
    }
}

fn limited(resources: Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn numbers_move_with_the_work_and_limits_are_shown() {
    let container =
        Container::sleeping(limited(json!({ "memory": { "limit": 64 * MIB }, "pids": { "limit": 17 } }))).await;
    let before = Numbers::of(&container).await;
    assert_eq!((before.memory_limit, before.pids_limit, before.pids), (64 * MIB, 17, 1), "{before:?}");
    assert!(before.memory > 0 && before.memory < 16 * MIB && before.oom_kills == 0, "{before:?}");

    container.sh("i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done").await.ok();
    let burnt = Numbers::of(&container).await;
    assert!(burnt.cpu_nanoseconds > before.cpu_nanoseconds + 10_000_000, "{before:?} {burnt:?}");

    // busybox's tail holds what it may have to print.
    container.sh("head -c 20000000 /dev/zero | tail -c 20000000 > /dev/null").await.ok();
    let used = Numbers::of(&container).await;
    assert!(used.memory_max >= 20_000_000 && used.memory_max <= 64 * MIB, "{used:?}");
    assert!(used.page_faults > burnt.page_faults + 1000, "{burnt:?} {used:?}");

    // A file in memory stays in use.
    container.sh("head -c 16777216 /dev/zero > /dev/shm/held").await.ok();
    let held = Numbers::of(&container).await;
    assert!(held.memory >= 16 * MIB, "{held:?}");
    container.add_process("e", &container.process(&["sleep", "1000"]), &Pipes::none()).await.unwrap();
    container.start_process("e").await.unwrap();
    assert_eq!(Numbers::of(&container).await.pids, 2);

    let killed = container.sh("tail -c 100000000 /dev/zero").await;
    assert_eq!(killed.status, 137, "{killed:#?}");
    assert_eq!(Numbers::of(&container).await.oom_kills, 1);
    container.end().await;
}

#[tokio::test]
async fn a_quota_that_holds_back_is_seen() {
    let container = Container::sleeping(limited(json!({ "cpu": { "quota": 10_000, "period": 100_000 } }))).await;
    let deadline = Instant::now() + PATIENCE;
    // On a busy machine a program may get less than its quota for a while.
    loop {
        container.sh("i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done").await.ok();
        let numbers = Numbers::of(&container).await;
        assert!(numbers.periods > 0 && numbers.periods >= numbers.throttled, "{numbers:?}");
        if numbers.throttled > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{numbers:?}");
    }
    container.end().await;
}

#[tokio::test]
async fn an_update_shows_and_no_limit_is_as_containerd_has_it() {
    let container = Container::sleeping(limited(json!({ "memory": { "limit": 64 * MIB } }))).await;
    assert_eq!(Numbers::of(&container).await.pids_limit, if is_v2() { u64::MAX } else { 0 });
    let mut request = api::UpdateTaskRequest { id: container.id(), ..Default::default() };
    request.set_resources(containerd_shim_protos::protobuf::well_known_types::any::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".into(),
        value: json!({ "memory": { "limit": 96 * MIB }, "pids": { "limit": 33 } }).to_string().into_bytes(),
        ..Default::default()
    });
    container.shim.task.update(deadline(), &request).await.unwrap();
    let updated = Numbers::of(&container).await;
    assert_eq!((updated.memory_limit, updated.pids_limit), (96 * MIB, 33));
    container.end().await;
}

#[tokio::test]
async fn a_container_has_numbers_from_create_to_its_end() {
    let code = |answer: Answer<Numbers>| answer.unwrap_err().code;
    let container = Container::create(Bundle::new().args(&["/bin/sleep", "1000"])).await.unwrap();
    let created = Numbers::of(&container).await;
    assert!(created.pids == 1 && created.memory > 0, "{created:?}");
    assert_eq!(code(stats(&container.shim, "nosuch").await), Code::NOT_FOUND);
    container.start().await.unwrap();
    Numbers::of(&container).await;
    container.kill("", 9, false).await.unwrap();
    container.wait().await;
    let stopped = stats(&container.shim, &container.id()).await.unwrap_err();
    assert_eq!(stopped.code, Code::NOT_FOUND);
    assert_eq!(stopped.message, format!("container {} is stopped and uses nothing", container.id()));
    container.delete().await.unwrap();
    assert_eq!(code(stats(&container.shim, &container.id()).await), Code::NOT_FOUND);
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn reading_while_containers_end_and_are_deleted_finds_them_or_does_not() {
    let keeper = Container::sleeping(Bundle::new()).await;
    let mut found = 0;
    for _ in 0..8 {
        let container = Container::create_in(&keeper.shim, Bundle::new().args(&["/bin/sleep", "1000"]), Pipes::none());
        let container = container.await.unwrap();
        container.start().await.unwrap();
        let (shim, id) = (keeper.shim.clone(), container.id());
        let reader = tokio::spawn(async move {
            let mut found = 0;
            loop {
                match stats(&shim, &id).await {
                    Ok(numbers) => {
                        // Never half of what is being removed.
                        assert!(numbers.pids_limit == 0 || numbers.pids_limit == u64::MAX, "{numbers:?}");
                        assert!(numbers.memory_limit > 0, "{numbers:?}");
                        found += 1;
                    }
                    Err(failure) => break (found, failure),
                }
            }
        });
        Numbers::of(&container).await;
        container.kill("", 9, false).await.unwrap();
        container.wait().await;
        container.delete().await.unwrap();
        let (times, failure) = reader.await.unwrap();
        assert_eq!(failure.code, Code::NOT_FOUND, "{failure:?}");
        found += times;
    }
    assert!(found > 0);
    assert!(!keeper.shim.log().contains("panicked"), "{}", keeper.shim.log());
    keeper.end().await;
}

#[tokio::test]
async fn many_readers_are_served_at_once_and_hold_nobody_up() {
    let container = Container::sleeping(Bundle::new()).await;
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let (shim, id) = (container.shim.clone(), container.id());
            tokio::spawn(async move { stats(&shim, &id).await.map(|numbers| numbers.pids) })
        })
        .collect();
    assert_eq!(container.sh("echo alive").await.ok(), "alive");
    for reader in readers {
        assert!(reader.await.unwrap().unwrap() >= 1);
    }
    container.end().await;
}
