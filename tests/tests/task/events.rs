//! Events: their order, whatever the speed, and over a time in which nobody takes them.

use std::path::Path;

use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use tests::events::{Exchange, Received};
use tests::shim::How;
use tests::stdio::Pipes;
use tests::{Bundle, Container};

const LIFE: [&str; 4] = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];
const EXEC: [&str; 3] = ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"];

fn exit(event: &Received) -> TaskExit {
    assert_eq!((event.topic.as_str(), event.type_url.as_str()), ("/tasks/exit", "containerd.events.TaskExit"));
    TaskExit::parse_from_bytes(&event.value).unwrap()
}

#[tokio::test]
async fn events_of_a_life_come_in_its_order() {
    let container = Container::sleeping(Bundle::new()).await;
    assert_eq!(container.sh("exit 3").await.status, 3);
    container.kill("", 9, false).await.unwrap();
    assert_eq!(container.wait().await, 137);
    // Reached after Wait, without a Delete that could push it.
    container.shim.events.topics(6).await;
    container.delete().await.unwrap();
    let topics = container.shim.events.topics(7).await;
    assert_eq!(topics, [&LIFE[..2], &EXEC, &LIFE[2..]].concat());
    let events = container.shim.events.received();
    assert!(events.iter().all(|event| event.namespace == tests::shim::NAMESPACE));
    let (of_exec, of_init) = (exit(&events[4]), exit(&events[5]));
    assert_eq!((of_exec.container_id, of_exec.exit_status), (container.id(), 3));
    assert_ne!(of_exec.id, container.id());
    assert_eq!((of_init.id, of_init.exit_status, of_init.pid), (container.id(), 137, container.pid));
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn each_event_of_a_container_is_a_line_in_the_log() {
    let container = Container::started(Bundle::new().sh("exit 7")).await;
    assert_eq!(container.wait().await, 7);
    container.delete().await.unwrap();
    let (id, pid) = (container.id(), container.pid);
    for (message, status) in [("created", ""), ("started", ""), ("exited", " status=7"), ("deleted", " status=7")] {
        let line = container.shim.logged(&format!("msg={message} ")).await;
        assert!(line.starts_with("time=") && line.contains(" level=info "), "{line}");
        let pairs = format!(" runtime=io.containerd.eci.v2 container={id} pid={pid}{status}");
        assert!(line.ends_with(&pairs), "{line}");
    }
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn those_of_an_exec_are_lines_where_debugging_is_asked_for() {
    for debug in [false, true] {
        let how = How { debug, ..How::default() };
        let container = Container::sleeping_as(Bundle::new(), &how).await;
        assert_eq!(container.sh("exit 3").await.status, 3);
        container.kill("", 9, false).await.unwrap();
        container.wait().await;
        container.shim.logged("msg=exited ").await;
        let log = container.shim.log();
        for message in ["\"exec added\"", "\"exec started\"", "\"exec exited\""] {
            assert_eq!(log.contains(&format!("level=debug msg={message}")), debug, "{message}: {log}");
        }
        assert_eq!(log.lines().any(|line| line.contains("exec exited") && line.ends_with(" status=3")), debug, "{log}");
        container.end().await;
    }
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_started_before_it_exits() {
    for _ in 0..10 {
        let container = Container::started(Bundle::new()).await;
        container.wait().await;
        container.delete().await.unwrap();
        assert_eq!(container.shim.events.topics(4).await, LIFE);
        container.shim.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn many_fast_execs_keep_their_order() {
    let container = Container::sleeping(Bundle::new()).await;
    let one = async |number: u32| {
        let (id, spec) = (format!("fast{number}"), container.process(&["/bin/true"]));
        container.add_process(&id, &spec, &Pipes::none()).await.unwrap();
        container.start_process(&id).await.unwrap();
        assert_eq!(container.wait_process(&id).await.unwrap().exit_status, 0);
        container.delete_process(&id).await.unwrap();
    };
    for round in 0..8 {
        tokio::join!(one(round * 4), one(round * 4 + 1), one(round * 4 + 2), one(round * 4 + 3));
    }
    container.shim.events.topics(2 + 32 * 3).await;
    let events = container.shim.events.received();
    for number in 0..32 {
        let id = format!("fast{number}");
        let mine = events.iter().filter(|event| contains(&event.value, &id));
        let topics: Vec<&str> = mine.map(|event| event.topic.as_str()).collect();
        assert_eq!(topics, EXEC, "{id}");
    }
    container.end().await;
}

/// Whether an encoded event names this exec: its field's length comes before it, so that `fast1` is not `fast11`.
fn contains(value: &[u8], id: &str) -> bool {
    let field = [&[u8::try_from(id.len()).unwrap()], id.as_bytes()].concat();
    value.windows(field.len()).any(|window| window == field)
}

#[tokio::test]
async fn a_containerd_that_was_away_gets_everything_in_order() {
    let container = Container::sleeping(Bundle::new()).await;
    let path = container.shim.events.path.clone();
    assert_eq!(container.shim.events.topics(2).await, &LIFE[..2]);
    let Container { bundle, shim, pid, pipes } = container;
    let mut shim = std::sync::Arc::into_inner(shim).unwrap();
    // A placeholder takes nothing: the shim knows only the first one's path.
    let first = std::mem::replace(&mut shim.events, Exchange::new().await);
    assert_eq!(first.stop().await.len(), 2);
    let container = Container { bundle, shim: shim.into(), pid, pipes };
    for code in [1, 2, 3] {
        assert_eq!(container.sh(&format!("exit {code}")).await.status, code, "execs go on with nobody there");
    }
    container.kill("", 9, false).await.unwrap();
    assert_eq!(container.wait().await, 137);
    container.delete().await.unwrap();
    let again = Exchange::at(Path::new(&path)).await;
    let topics = again.topics(11).await;
    assert_eq!(topics, [&EXEC[..], &EXEC, &EXEC, &LIFE[2..]].concat());
    let codes: Vec<u32> =
        again.received().iter().filter(|it| it.topic == "/tasks/exit").map(|it| exit(it).exit_status).collect();
    assert_eq!(codes, [1, 2, 3, 137]);
    container.shim.shut_down().await.unwrap();
}
