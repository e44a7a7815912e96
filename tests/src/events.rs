//! Takes a shim's events, as containerd would.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::api::Empty;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{self, create_events};
use ttrpc::r#async::TtrpcContext;
use ttrpc::asynchronous::Server;

use crate::place;

/// An event that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `/tasks/start` and the like.
    pub topic: String,
    /// containerd's namespace.
    pub namespace: String,
    /// The type's name.
    pub type_url: String,
    /// The encoded event.
    pub value: Vec<u8>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Received>>>);

#[async_trait]
impl shim_async::Events for Log {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.into_option().expect("an envelope");
        self.0.lock().expect("the log").push(Received {
            topic: envelope.topic,
            namespace: envelope.namespace,
            type_url: envelope.event.type_url.clone(),
            value: envelope.event.value.clone(),
        });
        Ok(Empty::new())
    }
}

/// containerd's event socket.
pub struct Exchange {
    /// Its path.
    pub path: String,
    log: Log,
    // In a lock only because a server cannot be shared between threads.
    server: Mutex<Server>,
}

impl Exchange {
    /// Listens on a socket of its own.
    pub async fn new() -> Self {
        let path = place::new_dir("events").join("ttrpc");
        Self::at(&path).await
    }

    /// Listens at a path.
    pub async fn at(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let path = path.display().to_string();
        let log = Log::default();
        let server = Server::new().bind(&format!("unix://{path}")).expect("a socket");
        let mut server = server.register_service(create_events(Arc::new(log.clone())));
        server.start().await.expect("a server");
        Self { path, log, server: Mutex::new(server) }
    }

    /// Stops listening, as a containerd that is killed.
    pub async fn stop(self) -> Vec<Received> {
        let log = self.log;
        let mut server = self.server.into_inner().expect("the server");
        server.shutdown().await.expect("an end of the server");
        let _ = std::fs::remove_file(&self.path);
        log.0.lock().expect("the log").clone()
    }

    /// What has been received so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.log.0.lock().expect("the log").clone()
    }

    /// The topics, once there are at least `count`.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn topics(&self, count: usize) -> Vec<String> {
        for _ in 0..1200 {
            if self.received().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let topics: Vec<String> = self.received().into_iter().map(|event| event.topic).collect();
        assert!(topics.len() >= count, "{count} events expected: {topics:?}");
        topics
    }
}
