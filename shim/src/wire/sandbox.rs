//! The sandbox service, which is not built: each of its calls is refused as unimplemented.
//!
//! Without it ttrpc answers "invalid argument", and a client that may do without the service cannot tell.

use std::collections::HashMap;

use async_trait::async_trait;
use ttrpc::r#async::{MethodHandler, Service, TtrpcContext};
use ttrpc::{Request, Response};

use super::errors::unimplemented_status;

/// The service's name.
const NAME: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// Its calls (containerd's api/runtime/sandbox/v1/sandbox.proto).
const CALLS: [&str; 9] = [
    "CreateSandbox",
    "StartSandbox",
    "Platform",
    "StopSandbox",
    "WaitSandbox",
    "SandboxStatus",
    "PingSandbox",
    "ShutdownSandbox",
    "SandboxMetrics",
];

struct Unimplemented(&'static str);

#[async_trait]
impl MethodHandler for Unimplemented {
    async fn handler(&self, _: TtrpcContext, _: Request) -> ttrpc::Result<Response> {
        // A status is part of a response; an Err would be a failure of the transport.
        let mut response = Response::new();
        response.set_status(unimplemented_status(self.0));
        Ok(response)
    }
}

/// The service under its name.
pub(crate) fn service() -> HashMap<String, Service> {
    let handler = |name: &'static str| Box::new(Unimplemented(name)) as Box<dyn MethodHandler + Send + Sync>;
    let methods = CALLS.into_iter().map(|name| (name.to_owned(), handler(name))).collect();
    HashMap::from([(NAME.to_owned(), Service { methods, streams: HashMap::new() })])
}
