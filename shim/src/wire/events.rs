//! Events on their way to containerd: in strict order, over its ttrpc socket.
//!
//! containerd-shim's publisher puts an event that failed behind later ones; `docker wait` hangs on such an order. Here
//! the first event of the queue is sent until containerd has it: a containerd that restarts gets everything that
//! happened meanwhile. The queue never holds a container up, and where no address was given events are dropped.

use std::time::{Duration, SystemTime};

use containerd_shim_protos::events::task as events;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use containerd_shim_protos::topics;
use tokio::sync::mpsc::UnboundedReceiver;
use ttrpc::asynchronous::transport::Socket;

use crate::container::event::{Event, Events, Happened};

/// How long containerd may take for one event before it is sent again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits between attempts to reach containerd.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(2)];

/// The package of containerd's events.
const PACKAGE: &str = "containerd.events";

/// A message of any type, or why it cannot be written.
type Packed = Result<Any, containerd_shim_protos::protobuf::Error>;

/// Sends what comes out of `queue` until it is closed and empty.
pub(crate) async fn publish(mut queue: UnboundedReceiver<Happened>, address: Option<String>, namespace: String) {
    let Some(address) = address else {
        log::info!("no address for events was given: they are dropped");
        while queue.recv().await.is_some() {}
        return;
    };
    let mut containerd = Containerd { address, client: None };
    while let Some(happened) = queue.recv().await {
        match envelope(&happened, &namespace) {
            Ok(envelope) => containerd.deliver(envelope).await,
            Err(error) => log::error!("encode an event: {error}"),
        }
    }
}

/// The connection to containerd's event service.
struct Containerd {
    address: String,
    client: Option<EventsClient>,
}

impl Containerd {
    /// Returns when containerd has the event, or has refused it.
    async fn deliver(&mut self, envelope: Envelope) {
        let topic = envelope.topic.clone();
        let request = ForwardRequest { envelope: MessageField::some(envelope), ..Default::default() };
        let mut attempt = 0;
        loop {
            match self.forward(&request).await {
                Ok(()) => return,
                Err(ttrpc::Error::RpcStatus(status)) => {
                    log::warn!(topic = topic.as_str(); "containerd refused an event: {}", status.message);
                    return;
                }
                Err(error) => {
                    if attempt == 0 {
                        log::warn!(topic = topic.as_str(); "containerd cannot be reached for events: {error}");
                    }
                    self.client = None;
                    tokio::time::sleep(PAUSES[attempt.min(PAUSES.len() - 1)]).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn forward(&mut self, request: &ForwardRequest) -> ttrpc::Result<()> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(connect(&self.address).await?),
        };
        let mut context = ttrpc::context::with_duration(PATIENCE);
        context.set("containerd-namespace-ttrpc".into(), vec![request.envelope.namespace.clone()]);
        client.forward(context, request).await.map(drop)
    }
}

async fn connect(address: &str) -> ttrpc::Result<EventsClient> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    let socket = Socket::connect(format!("unix://{path}")).await;
    Ok(EventsClient::new(Client::new(socket.map_err(|error| ttrpc::Error::Socket(error.to_string()))?)))
}

fn envelope(happened: &Happened, namespace: &str) -> Result<Envelope, containerd_shim_protos::protobuf::Error> {
    let (topic, event) = message(happened);
    let event = event?;
    Ok(Envelope {
        timestamp: MessageField::some(timestamp(happened.at)),
        namespace: namespace.to_owned(),
        topic: topic.to_owned(),
        event: MessageField::some(event),
        ..Default::default()
    })
}

/// A message as an event has it. Its name is put together here: asked of the message, it costs each shim a quarter of a MiB of
/// descriptors for good.
fn any<M: Message>(message: &M) -> Packed {
    let type_url = format!("{PACKAGE}.{}", M::NAME);
    Ok(Any { type_url, value: message.write_to_bytes()?, ..Default::default() })
}

/// The topic and containerd's message of an event.
fn message(happened: &Happened) -> (&'static str, Packed) {
    let container_id = happened.container.clone();
    match &happened.event {
        Event::Created { bundle, stdio, rootfs, pid } => {
            let io = events::TaskIO {
                stdin: stdio.stdin.clone(),
                stdout: stdio.stdout.clone(),
                stderr: stdio.stderr.clone(),
                terminal: stdio.terminal,
                ..Default::default()
            };
            let message = events::TaskCreate {
                container_id,
                bundle: bundle.clone(),
                rootfs: rootfs.iter().map(super::task::mount_message).collect(),
                io: MessageField::some(io),
                pid: *pid,
                ..Default::default()
            };
            (topics::TASK_CREATE_EVENT_TOPIC, any(&message))
        }
        Event::Started { pid } => {
            let message = events::TaskStart { container_id, pid: *pid, ..Default::default() };
            (topics::TASK_START_EVENT_TOPIC, any(&message))
        }
        Event::ExecAdded { exec } => {
            let message = events::TaskExecAdded { container_id, exec_id: exec.clone(), ..Default::default() };
            (topics::TASK_EXEC_ADDED_EVENT_TOPIC, any(&message))
        }
        Event::ExecStarted { exec, pid } => {
            let exec_id = exec.clone();
            let message = events::TaskExecStarted { container_id, exec_id, pid: *pid, ..Default::default() };
            (topics::TASK_EXEC_STARTED_EVENT_TOPIC, any(&message))
        }
        Event::Exited { process, pid, exit } => {
            let message = events::TaskExit {
                // The container's own process goes by the container's id.
                id: if process.is_empty() { container_id.clone() } else { process.clone() },
                container_id,
                pid: *pid,
                exit_status: exit.status,
                exited_at: MessageField::some(timestamp(exit.at)),
                ..Default::default()
            };
            (topics::TASK_EXIT_EVENT_TOPIC, any(&message))
        }
        Event::Oom => {
            let message = events::TaskOOM { container_id, ..Default::default() };
            (topics::TASK_OOM_EVENT_TOPIC, any(&message))
        }
        Event::Paused => {
            let message = events::TaskPaused { container_id, ..Default::default() };
            (topics::TASK_PAUSED_EVENT_TOPIC, any(&message))
        }
        Event::Resumed => {
            let message = events::TaskResumed { container_id, ..Default::default() };
            (topics::TASK_RESUMED_EVENT_TOPIC, any(&message))
        }
        Event::Deleted { pid, exit } => {
            let message = events::TaskDelete {
                container_id,
                pid: *pid,
                exit_status: exit.status,
                exited_at: MessageField::some(timestamp(exit.at)),
                ..Default::default()
            };
            (topics::TASK_DELETE_EVENT_TOPIC, any(&message))
        }
    }
}

/// A time as protocol buffers write it.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// A queue for events, and the task that empties it.
pub(crate) fn channel() -> (Events, UnboundedReceiver<Happened>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (Events::new(sender), receiver)
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
