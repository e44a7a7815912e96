//! What is told when the kernel runs a container out of its memory.

use containerd_shim_protos::events::task::TaskOOM;
use containerd_shim_protos::protobuf::Message;
use serde_json::json;
use tests::events::Received;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place, pod};

/// A container of 32 MiB.
fn small() -> Bundle {
    Bundle::new().set("/linux/resources/memory", json!({ "limit": 33_554_432 }))
}

const EAT: &str = "tail -c 200000000 /dev/zero";

#[tokio::test]
async fn an_end_for_want_of_memory_is_told_before_the_exit() {
    let container = Container::started(small().sh(&format!("exec {EAT}"))).await;
    assert_eq!(container.wait().await, 137);
    container.delete().await.unwrap();
    // Told more than once, if the kernel tells it so.
    let is_told = || container.shim.events.received().last().is_some_and(|event| event.topic == "/tasks/delete");
    tests::until("/tasks/delete", is_told).await;
    let topics = container.shim.events.topics(5).await;
    assert_eq!(topics[..2], ["/tasks/create", "/tasks/start"]);
    let oom = topics.iter().filter(|topic| *topic == "/tasks/oom").count();
    assert!(oom >= 1 && topics[2] == "/tasks/oom", "{topics:?}");
    assert_eq!(topics[topics.len() - 2..], ["/tasks/exit", "/tasks/delete"]);
    let event = container.shim.events.received().remove(2);
    assert_eq!(event.type_url, "containerd.events.TaskOOM");
    assert_eq!(TaskOOM::parse_from_bytes(&event.value).unwrap().container_id, container.id());
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn an_exec_that_is_killed_is_told_and_the_container_lives() {
    let container = Container::sleeping(small()).await;
    assert_eq!(container.sh(&format!("exec {EAT}")).await.status, 137);
    let told = || container.shim.events.received().iter().any(|event| event.topic == "/tasks/oom");
    tests::until("/tasks/oom", told).await;
    assert_eq!(container.sh("echo alive").await.ok(), "alive");
    container.end().await;
}

#[tokio::test]
async fn an_end_with_memory_to_spare_is_none() {
    let container = Container::started(small().sh("exit 1")).await;
    container.wait().await;
    container.delete().await.unwrap();
    let topics = container.shim.events.topics(4).await;
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn in_a_pod_it_is_told_of_the_container_whose_it_is() {
    let group = place::unique("pod");
    let member = |bundle| pod::member(bundle, &group);
    let first = Container::sleeping(member(small())).await;
    let bundle = member(small()).sh(&format!("exec {EAT}"));
    assert_eq!(Shim::start(&bundle).await.pid, first.shim.pid, "one shim for the pod");
    let second = Container::create_in(&first.shim, bundle, Pipes::none()).await.unwrap();
    second.start().await.unwrap();
    assert_eq!(second.wait().await, 137);
    second.delete().await.unwrap();
    first.shim.logged(&format!("msg=\"out of memory\" runtime=io.containerd.eci.v2 container={}", second.id())).await;
    first.kill("", 9, false).await.unwrap();
    first.wait().await;
    // The exit of the first comes after all that could have been told of it before.
    let has_exited = || first.shim.events.received().iter().any(|event| of(event, "/tasks/exit", &first.id()));
    tests::until("the exit of the first", has_exited).await;
    let events = first.shim.events.received();
    assert!(events.iter().any(|event| of(event, "/tasks/oom", &second.id())));
    assert!(!events.iter().any(|event| of(event, "/tasks/oom", &first.id())));
    first.delete().await.unwrap();
    first.shim.shut_down().await.unwrap();
}

/// Whether it is such an event of this container, whose id no other's begins with.
fn of(event: &Received, topic: &str, id: &str) -> bool {
    event.topic == topic && String::from_utf8_lossy(&event.value).contains(id)
}
