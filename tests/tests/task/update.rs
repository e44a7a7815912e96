//! Update over the Task API: what is given changes, and a value that is refused changes nothing.

use std::path::PathBuf;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde_json::{Value, json};
use tests::groups::{group, is_v2, read};
use tests::shim::{Failure, deadline};
use tests::{Bundle, Container};
use ttrpc::Code;

/// The container's file in the hierarchy that has a controller.
fn file(container: &Container, controller: &str, v1: &str, v2: &str) -> PathBuf {
    group(controller, &format!("eci-tests/{}", container.bundle.id)).join(if is_v2() { v2 } else { v1 })
}

/// Every value that the tests change.
fn values(container: &Container) -> Vec<String> {
    [
        ("memory", "memory.limit_in_bytes", "memory.max"),
        ("memory", "memory.soft_limit_in_bytes", "memory.low"),
        ("cpu", "cpu.shares", "cpu.weight"),
        ("cpu", "cpu.cfs_quota_us", "cpu.max"),
        ("cpuset", "cpuset.cpus", "cpuset.cpus"),
        ("pids", "pids.max", "pids.max"),
    ]
    .map(|(controller, v1, v2)| read(file(container, controller, v1, v2)))
    .into()
}

fn limited() -> Bundle {
    Bundle::new()
        .set("/linux/resources/memory", json!({ "limit": 134_217_728, "reservation": 33_554_432 }))
        .set("/linux/resources/cpu", json!({ "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" }))
        .set("/linux/resources/pids", json!({ "limit": 30 }))
}

fn one_line(failure: &Failure) -> &str {
    assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
    &failure.message
}

#[tokio::test]
async fn what_is_given_changes_and_nothing_else() {
    let container = Container::sleeping(limited()).await;
    let before = values(&container);
    container.update(&json!({ "pids": { "limit": 20 } })).await.unwrap();
    let after = values(&container);
    assert_eq!((&after[..5], after[5].as_str()), (&before[..5], "20"));
    let more = json!({
        "memory": { "limit": 268_435_456, "swap": 536_870_912 },
        "cpu": { "quota": 70_000, "shares": 1024 },
        "pids": { "limit": -1 },
    });
    container.update(&more).await.unwrap();
    let after = values(&container);
    assert_eq!((after[0].as_str(), after[1].as_str(), after[5].as_str()), ("268435456", "33554432", "max"));
    assert!(after[3].starts_with("70000"), "{after:?}");
    // What containerd's CRI plugin sends: all of the spec's resources, device rules among them.
    let mut all = container.bundle.spec["linux"]["resources"].clone();
    // The console's is one of them; at create it is cut down to mknod.
    let console = json!({ "allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm" });
    all["devices"] = json!([{ "allow": true, "access": "rwm" }, console]);
    container.update(&all).await.unwrap();
    assert_eq!(values(&container), before);
    let disk = "mknod /tmp/k c 1 11 2> /dev/null; cat /dev/null && ! (exec 3< /dev/kmsg) 2> /dev/null";
    container.sh(disk).await.ok();
    if !is_v2() {
        let devices = read(file(&container, "devices", "devices.list", ""));
        assert!(!devices.lines().any(|line| line == "a *:* rwm" || line.starts_with("c 5:1 ")), "{devices}");
    }
    container.end().await;
}

#[tokio::test]
async fn a_value_that_is_refused_is_named_and_changes_nothing() {
    let container = Container::sleeping(limited()).await;
    let before = values(&container);
    let bad: &[(Value, &str)] = &[
        (
            json!({ "cpu": { "cpus": "4000" } }),
            "linux.resources.cpu.cpus: 4000: is not among what the group above has, 0",
        ),
        (json!({ "cpu": { "shares": 1 } }), "linux.resources.cpu.shares: 1 is not from 2 to 262144"),
        (json!({ "blockIO": { "weight": 5 } }), "linux.resources.blockIO.weight: 5 is not from 10 to 1000"),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 250, "minor": 77, "rate": 1 }] } }),
            "linux.resources.blockIO.throttleReadBpsDevice[0]: 250:77 1: no such device",
        ),
        (json!({ "memory": { "limit": "much" } }), "linux.resources.memory.limit: \"much\" is not a whole number"),
        (json!({ "network": { "classID": 1 } }), "linux.resources.network.classID: 1: "),
        (json!({ "unified": { "cgroup.kill": "1" } }), "linux.resources.unified[\"cgroup.kill\"]: controls the group"),
        (json!({ "unified": { "a/b.c": "1" } }), "linux.resources.unified[\"a/b.c\"]: is not the name"),
        (json!([]), "linux.resources: is not an object"),
    ];
    for (resources, message) in bad {
        let mut resources = resources.clone();
        // Beside it, values that the kernel would take, and takes first.
        if resources.is_object() {
            resources["pids"] = json!({ "limit": 9 });
            if resources["memory"].is_null() {
                resources["memory"] = json!({ "limit": 67_108_864 });
            }
        }
        let failure = container.update(&resources).await.unwrap_err();
        assert!(one_line(&failure).starts_with(message), "{failure:?}");
        assert_eq!(values(&container), before, "{message}");
    }
    container.update(&json!({ "pids": { "limit": 9 }, "memory": { "limit": 67_108_864 } })).await.unwrap();
    assert_eq!(values(&container)[5], "9");
    container.end().await;
}

#[tokio::test]
async fn a_limit_below_what_the_container_uses_is_refused_and_nobody_is_killed() {
    let container = Container::sleeping(limited()).await;
    container
        .sh("(x=$(head -c 30000000 /dev/zero | tr '\\0' x); touch /tmp/full; sleep 1000; echo $x) > /dev/null 2>&1 &")
        .await
        .ok();
    // It holds it, and has come to its last child; the other that sleeps is init.
    container.sh("until [ -e /tmp/full ] && [ $(pidof sleep | wc -w) = 2 ]; do usleep 100000; done").await.ok();
    let before = values(&container);
    let processes = container.pids().await.unwrap();
    let small = json!({ "memory": { "limit": 4_194_304 }, "pids": { "limit": 25 } });
    let failure = container.update(&small).await.unwrap_err();
    let expected = "linux.resources.memory.limit: 4194304: is below what the container uses, ";
    assert!(one_line(&failure).starts_with(expected), "{failure:?}");
    assert_eq!(values(&container), before);
    assert_eq!(container.pids().await.unwrap(), processes);
    container.update(&json!({ "memory": { "limit": 100_663_296 } })).await.unwrap();
    assert_eq!(values(&container)[0], "100663296");
    container.end().await;
}

#[tokio::test]
async fn a_created_container_is_updated_and_a_stopped_one_is_not() {
    let container = Container::create(limited().args(&["/bin/sleep", "1000"])).await.unwrap();
    container.update(&json!({ "pids": { "limit": 11 } })).await.unwrap();
    assert_eq!(values(&container)[5], "11");
    container.start().await.unwrap();
    container.kill("", 9, false).await.unwrap();
    container.wait().await;
    let failure = container.update(&json!({ "pids": { "limit": 12 } })).await.unwrap_err();
    assert_eq!(failure.code, Code::FAILED_PRECONDITION);
    assert_eq!(failure.message, format!("cannot update container {}: it is stopped", container.id()));
    assert_eq!(values(&container)[5], "11");
    container.delete().await.unwrap();
    let failure = container.update(&json!({})).await.unwrap_err();
    assert_eq!(failure.code, Code::NOT_FOUND, "{failure:?}");
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn an_update_of_something_else_is_an_invalid_argument() {
    let container = Container::sleeping(limited()).await;
    let task = &container.shim.task;
    let request = || api::UpdateTaskRequest { id: container.id(), ..Default::default() };
    let failure = Failure::from(task.update(deadline(), &request()).await.unwrap_err());
    assert_eq!((failure.code, failure.message.as_str()), (Code::INVALID_ARGUMENT, "resources: is missing"));
    let mut windows = request();
    let any = |name: &str| Any {
        type_url: format!("types.containerd.io/opencontainers/runtime-spec/1/{name}"),
        value: b"{}".to_vec(),
        ..Default::default()
    };
    windows.set_resources(any("WindowsResources"));
    let failure = Failure::from(task.update(deadline(), &windows).await.unwrap_err());
    assert_eq!(failure.code, Code::INVALID_ARGUMENT, "{failure:?}");
    // Annotations are not ours to look at, which the log says.
    let mut annotated = request();
    annotated.annotations.insert("key".into(), "value".into());
    annotated.set_resources(any("LinuxResources"));
    task.update(deadline(), &annotated).await.unwrap();
    container.shim.logged("annotations of an update are not looked at: 1").await;
    // A list of a megabyte is read to its last entry, which is what is wrong with it.
    let entry = |major: i64| json!({ "major": major, "minor": 0, "weight": 0 });
    let mut devices = vec![entry(8); 20_000];
    devices.push(json!({ "major": 8, "minor": 0, "weight": 1001 }));
    let failure = container.update(&json!({ "blockIO": { "weightDevice": devices } })).await.unwrap_err();
    let expected = "linux.resources.blockIO.weightDevice[20000].weight: 1001 is not from 10 to 1000";
    assert_eq!(failure.message, expected);
    container.end().await;
}

#[tokio::test]
async fn updates_at_once_leave_the_limits_of_one_of_them() {
    let container = Container::sleeping(limited()).await;
    let of = |limit: i64| {
        let (task, id) = (container.shim.task.clone(), container.id());
        let resources = json!({ "pids": { "limit": limit }, "cpu": { "quota": limit * 1000, "period": 100_000 } });
        tokio::spawn(async move { tests::container::update(&task, &id, &resources).await })
    };
    let all: Vec<_> = (20..36).map(of).collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    let after = values(&container);
    assert!(after[3].starts_with(&format!("{}000", after[5])), "{after:?}");
    container.end().await;
}
