//! The task service: containerd's requests as calls on a [`Pod`], and nothing else.
//!
//! Versions 2 and 3 of the service have the same messages (only the package's name differs), so one implementation
//! serves both. What changes a container runs as a task of its own: a client that goes away, or whose deadline passes,
//! does not leave it half done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, Message, MessageField};
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::shim_async::{Task, create_task};
use containerd_shim_protos::types::mount::Mount;
use policy::plan::RootMount;
use tokio::sync::Notify;
use ttrpc::r#async::{Service, TtrpcContext};

use super::errors::{Asked, status, unimplemented};
use super::events::timestamp;
use super::{metrics, options};
use crate::container::error::Error;
use crate::container::pod::Pod;
use crate::container::process::Phase;
use crate::container::{Status, create, exec, stdio};

type Answer<T> = ttrpc::Result<T>;

/// The task service of one shim.
#[derive(Clone)]
pub(crate) struct TaskService {
    pod: Arc<Pod>,
    shutdown: Arc<Notify>,
}

impl TaskService {
    /// Serves `pod`; `shutdown` is notified when the shim may end.
    pub(crate) fn new(pod: Arc<Pod>, shutdown: Arc<Notify>) -> Self {
        Self { pod, shutdown }
    }

    /// The service under both its names.
    pub(crate) fn register(self) -> HashMap<String, Service> {
        let service: Arc<dyn Task + Send + Sync> = Arc::new(self);
        let mut services = create_task(service.clone());
        let v2 = create_task(service).into_values().map(|service| ("containerd.task.v2.Task".to_owned(), service));
        services.extend(v2);
        services
    }
}

/// Runs a change to its end, whatever becomes of the request. A panic in it is an error of this request alone.
async fn to_its_end<T: Send + 'static>(
    asked: Asked,
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Answer<T> {
    let outcome = tokio::spawn(change).await;
    let outcome = outcome.unwrap_or_else(|error| Err(Error::Failed(format!("the request did not end: {error}"))));
    outcome.map_err(|error| status(asked, &error))
}

fn asked(exec_id: &str) -> Asked {
    if exec_id.is_empty() { Asked::Create } else { Asked::Exec }
}

fn other(error: Error) -> ttrpc::Error {
    status(Asked::Other, &error)
}

#[async_trait]
impl Task for TaskService {
    async fn create(&self, _: &TtrpcContext, request: api::CreateTaskRequest) -> Answer<api::CreateTaskResponse> {
        if !request.checkpoint.is_empty() {
            return Err(unimplemented("Create from a checkpoint"));
        }
        let request = create_request(request).map_err(|error| status(Asked::Create, &error))?;
        let pod = self.pod.clone();
        let container = to_its_end(Asked::Create, async move { pod.create(request).await }).await?;
        Ok(api::CreateTaskResponse { pid: container.pid(), ..Default::default() })
    }

    async fn start(&self, _: &TtrpcContext, request: api::StartRequest) -> Answer<api::StartResponse> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let asked = asked(&request.exec_id);
        let pid = to_its_end(asked, async move { container.start(&request.exec_id).await }).await?;
        Ok(api::StartResponse { pid, ..Default::default() })
    }

    async fn delete(&self, _: &TtrpcContext, request: api::DeleteRequest) -> Answer<api::DeleteResponse> {
        let (pod, container) = (self.pod.clone(), self.pod.get(&request.id).map_err(other)?);
        let deleted = to_its_end(Asked::Other, async move {
            let deleted = container.delete(&request.exec_id).await?;
            if request.exec_id.is_empty() {
                pod.forget(&request.id);
            }
            Ok(deleted)
        });
        let (pid, exit) = deleted.await?;
        Ok(api::DeleteResponse {
            pid,
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn exec(&self, _: &TtrpcContext, request: api::ExecProcessRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let request = exec::Request {
            id: request.exec_id,
            stdio: stdio::Request {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
            spec: request.spec.into_option().unwrap_or_default().value,
        };
        to_its_end(Asked::Exec, async move { container.add_exec(request).await }).await?;
        Ok(api::Empty::new())
    }

    async fn state(&self, _: &TtrpcContext, request: api::StateRequest) -> Answer<api::StateResponse> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let found = container.status(&request.exec_id).map_err(other)?;
        Ok(state_response(request, container.bundle.to_string_lossy().into_owned(), found))
    }

    async fn wait(&self, _: &TtrpcContext, request: api::WaitRequest) -> Answer<api::WaitResponse> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let exit = container.wait(&request.exec_id).await.map_err(other)?;
        Ok(api::WaitResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn kill(&self, _: &TtrpcContext, request: api::KillRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        container.kill(&request.exec_id, request.signal, request.all).await.map_err(other)?;
        Ok(api::Empty::new())
    }

    async fn pids(&self, _: &TtrpcContext, request: api::PidsRequest) -> Answer<api::PidsResponse> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let pids = container.pids().await.map_err(other)?;
        let execs = container.exec_pids();
        let info = |pid: u32| api::ProcessInfo { pid, info: details(execs.get(&pid)).into(), ..Default::default() };
        Ok(api::PidsResponse { processes: pids.into_iter().map(info).collect(), ..Default::default() })
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: api::ResizePtyRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        container.resize(&request.exec_id, size(request.width), size(request.height)).map_err(other)?;
        Ok(api::Empty::new())
    }

    async fn close_io(&self, _: &TtrpcContext, request: api::CloseIORequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        // containerd's own shim looks at no field either: input is all that can be closed.
        container.close_stdin(&request.exec_id).map_err(other)?;
        Ok(api::Empty::new())
    }

    async fn connect(&self, _: &TtrpcContext, request: api::ConnectRequest) -> Answer<api::ConnectResponse> {
        let task_pid = self.pod.get(&request.id).map(|container| container.pid()).unwrap_or_default();
        Ok(api::ConnectResponse { shim_pid: std::process::id(), task_pid, ..Default::default() })
    }

    async fn shutdown(&self, _: &TtrpcContext, _: api::ShutdownRequest) -> Answer<api::Empty> {
        // A pod's shim is told so with each of its containers, and ends with the last one.
        if self.pod.is_empty() {
            self.shutdown.notify_one();
        }
        Ok(api::Empty::new())
    }

    async fn pause(&self, _: &TtrpcContext, request: api::PauseRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        to_its_end(Asked::Other, async move { container.pause().await }).await?;
        Ok(api::Empty::new())
    }

    async fn resume(&self, _: &TtrpcContext, request: api::ResumeRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        to_its_end(Asked::Other, async move { container.resume().await }).await?;
        Ok(api::Empty::new())
    }

    async fn checkpoint(&self, _: &TtrpcContext, _: api::CheckpointTaskRequest) -> Answer<api::Empty> {
        Err(unimplemented("Checkpoint"))
    }

    async fn update(&self, _: &TtrpcContext, request: api::UpdateTaskRequest) -> Answer<api::Empty> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let resources = update_resources(&request).map_err(other)?;
        to_its_end(Asked::Other, async move { container.update(&resources).await }).await?;
        Ok(api::Empty::new())
    }

    async fn stats(&self, _: &TtrpcContext, request: api::StatsRequest) -> Answer<api::StatsResponse> {
        let container = self.pod.get(&request.id).map_err(other)?;
        let stats = container.stats().await.and_then(metrics::message).map_err(other)?;
        Ok(api::StatsResponse { stats: MessageField::some(stats), ..Default::default() })
    }
}

fn create_request(request: api::CreateTaskRequest) -> Result<create::Request, Error> {
    let (options, notes) = options::decode(request.options.as_ref()).map_err(Error::InvalidArgument)?;
    for note in notes {
        log::info!(container = request.id.as_str(); "{note}");
    }
    let bundle = PathBuf::from(&request.bundle);
    if !bundle.is_absolute() {
        return Err(Error::InvalidArgument(format!("bundle {:?} is not an absolute path", request.bundle)));
    }
    Ok(create::Request {
        id: request.id,
        bundle,
        rootfs: request.rootfs.into_iter().map(root_mount).collect(),
        stdio: stdio::Request {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        },
        options,
    })
}

/// The limits of an Update, which are all that it can ask for.
fn update_resources(request: &api::UpdateTaskRequest) -> Result<Vec<u8>, Error> {
    if !request.annotations.is_empty() {
        let count = request.annotations.len();
        log::info!(container = request.id.as_str(); "annotations of an update are not looked at: {count}");
    }
    let resources = request.resources.as_ref().filter(|any| !any.value.is_empty() || !any.type_url.is_empty());
    let resources = resources.ok_or_else(|| Error::InvalidArgument("resources: is missing".to_owned()))?;
    // types.containerd.io/opencontainers/runtime-spec/1/LinuxResources
    if resources.type_url.rsplit('/').next() != Some("LinuxResources") {
        return Err(Error::InvalidArgument(format!("resources: {:?} is not LinuxResources", resources.type_url)));
    }
    Ok(resources.value.clone())
}

fn root_mount(mount: Mount) -> RootMount {
    RootMount { fstype: mount.type_, source: mount.source, target: mount.target, options: mount.options }
}

/// The mount as containerd's message, for its event.
pub(super) fn mount_message(mount: &RootMount) -> Mount {
    Mount {
        type_: mount.fstype.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
        ..Default::default()
    }
}

fn state_response(request: api::StateRequest, bundle: String, found: Status) -> api::StateResponse {
    let mut response = api::StateResponse {
        // As in containerd's own shim: the id of the process that was asked for.
        id: if request.exec_id.is_empty() { request.id } else { request.exec_id.clone() },
        exec_id: request.exec_id,
        bundle,
        pid: found.pid,
        stdin: found.stdio.stdin,
        stdout: found.stdio.stdout,
        stderr: found.stdio.stderr,
        terminal: found.stdio.terminal,
        ..Default::default()
    };
    response.status = EnumOrUnknown::new(match found.phase {
        Phase::Created | Phase::Starting => api::Status::CREATED,
        Phase::Running if found.paused => api::Status::PAUSED,
        Phase::Running => api::Status::RUNNING,
        Phase::Stopped(_) => api::Status::STOPPED,
    });
    if let Phase::Stopped(exit) = found.phase {
        response.exit_status = exit.status;
        response.exited_at = MessageField::some(timestamp(exit.at));
    }
    response
}

/// What containerd shows beside a pid: which exec it is.
fn details(exec: Option<&String>) -> Option<Any> {
    let details = ProcessDetails { exec_id: exec?.clone(), ..Default::default() };
    let value = details.write_to_bytes().ok()?;
    Some(Any { type_url: "containerd.runc.v1.ProcessDetails".to_owned(), value, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::exit::Exit;

    #[test]
    fn a_bundle_must_be_absolute_and_options_known() {
        let request = api::CreateTaskRequest { id: "c".into(), bundle: "rel".into(), ..Default::default() };
        assert!(matches!(create_request(request), Err(Error::InvalidArgument(text)) if text.contains("\"rel\"")));
        let mut request = api::CreateTaskRequest { id: "c".into(), bundle: "/b".into(), ..Default::default() };
        assert!(create_request(request.clone()).is_ok());
        request.set_options(Any { type_url: "nobody.knows.Me".into(), ..Default::default() });
        assert!(matches!(create_request(request), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn an_update_is_of_linux_resources() {
        let update = |type_url: &str| {
            let mut request = api::UpdateTaskRequest::new();
            request.set_resources(Any { type_url: type_url.into(), value: b"{}".to_vec(), ..Default::default() });
            update_resources(&request).map_err(|error| error.to_string())
        };
        let known = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
        assert_eq!(update(known), Ok(b"{}".to_vec()));
        let other = known.replace("Linux", "Windows");
        assert_eq!(update(&other), Err(format!("resources: {other:?} is not LinuxResources")));
        let nothing = update_resources(&api::UpdateTaskRequest::new()).unwrap_err();
        assert!(matches!(nothing, Error::InvalidArgument(text) if text == "resources: is missing"));
    }

    #[test]
    fn phases_are_told_in_containerds_words() {
        let status = |phase| Status { phase, paused: false, pid: 7, stdio: stdio::Request::default() };
        let request = || api::StateRequest { id: "c".into(), exec_id: "e".into(), ..Default::default() };
        for (phase, expected) in [
            (Phase::Created, api::Status::CREATED),
            (Phase::Starting, api::Status::CREATED),
            (Phase::Running, api::Status::RUNNING),
            (Phase::Stopped(Exit::now(3)), api::Status::STOPPED),
        ] {
            let response = state_response(request(), "/b".into(), status(phase));
            assert_eq!((response.status.enum_value(), response.id.as_str()), (Ok(expected), "e"));
            assert_eq!(response.exit_status, if expected == api::Status::STOPPED { 3 } else { 0 });
        }
    }
}
