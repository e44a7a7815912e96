use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api::Empty;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use ttrpc::r#async::TtrpcContext;
use ttrpc::asynchronous::Server;

use super::*;
use crate::container::exit::Exit;

/// A containerd that takes events; it refuses those of the container `refused`.
struct Exchange(UnboundedSender<Envelope>);

#[async_trait]
impl shim_async::Events for Exchange {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.into_option().unwrap();
        let exit = events::TaskExit::parse_from_bytes(&envelope.event.value).unwrap();
        if exit.container_id == "refused" {
            return Err(ttrpc::Error::RpcStatus(ttrpc::get_status(ttrpc::Code::INVALID_ARGUMENT, "no")));
        }
        self.0.send(envelope).unwrap();
        Ok(Empty::new())
    }
}

async fn containerd(path: &Path) -> (Server, UnboundedReceiver<Envelope>) {
    let (sender, receiver) = unbounded_channel();
    let services = shim_async::create_events(Arc::new(Exchange(sender)));
    let _ = std::fs::remove_file(path);
    let mut server = Server::new().bind(&format!("unix://{}", path.display())).unwrap().register_service(services);
    server.start().await.unwrap();
    (server, receiver)
}

fn exited(pid: u32) -> Event {
    Event::Exited { process: String::new(), pid, exit: Exit::now(7) }
}

async fn pid_of(received: &mut UnboundedReceiver<Envelope>) -> u32 {
    let envelope = tokio::time::timeout(Duration::from_secs(60), received.recv()).await.unwrap().unwrap();
    assert_eq!((envelope.topic.as_str(), envelope.namespace.as_str()), ("/tasks/exit", "ns"));
    assert_eq!(envelope.event.type_url, "containerd.events.TaskExit");
    let exit = events::TaskExit::parse_from_bytes(&envelope.event.value).unwrap();
    assert_eq!((exit.id.as_str(), exit.exit_status), ("c", 7));
    exit.pid
}

#[tokio::test]
async fn events_keep_their_order_over_a_restart_of_containerd() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ttrpc");
    let (queue, receiver) = channel();
    let publisher = tokio::spawn(publish(receiver, Some(path.to_str().unwrap().to_owned()), "ns".into()));
    // Told before containerd listens at all.
    queue.emit("c", exited(1));
    let (mut server, mut received) = containerd(&path).await;
    assert_eq!(pid_of(&mut received).await, 1);
    server.shutdown().await.unwrap();
    drop(server);
    (2..50).for_each(|pid| queue.emit("c", exited(pid)));
    let (_server, mut received) = containerd(&path).await;
    for pid in 2..50 {
        assert_eq!(pid_of(&mut received).await, pid);
    }
    drop(queue);
    publisher.await.unwrap();
}

#[tokio::test]
async fn an_event_that_is_refused_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ttrpc");
    let (_server, mut received) = containerd(&path).await;
    let (queue, receiver) = channel();
    tokio::spawn(publish(receiver, Some(format!("unix://{}", path.display())), "ns".into()));
    queue.emit("refused", exited(1));
    queue.emit("c", exited(2));
    assert_eq!(pid_of(&mut received).await, 2);
}

#[tokio::test]
async fn without_an_address_events_are_dropped_and_nobody_waits() {
    let (queue, receiver) = channel();
    let publisher = tokio::spawn(publish(receiver, None, "ns".into()));
    queue.emit("c", exited(1));
    drop(queue);
    publisher.await.unwrap();
}

#[test]
fn the_names_of_messages_are_containerds() {
    fn check<M: containerd_shim_protos::protobuf::MessageFull>() {
        assert_eq!(any(&M::new()).unwrap().type_url, M::descriptor().full_name());
    }
    check::<events::TaskCreate>();
    check::<events::TaskStart>();
    check::<events::TaskExecAdded>();
    check::<events::TaskExecStarted>();
    check::<events::TaskExit>();
    check::<events::TaskOOM>();
    check::<events::TaskPaused>();
    check::<events::TaskResumed>();
    check::<events::TaskDelete>();
}
