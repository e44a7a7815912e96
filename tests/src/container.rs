//! A task of a shim: created, started, entered, changed, deleted, over the Task API.

use std::sync::Arc;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::TaskClient;
use serde_json::{Value, json};
use ttrpc::context;

use crate::bundle::Bundle;
use crate::output::Output;
use crate::place;
use crate::shim::{Answer, How, PATIENCE, Shim, deadline};
use crate::stdio::Pipes;

/// A task: created, perhaps started.
pub struct Container {
    /// Its bundle.
    pub bundle: Bundle,
    /// Its shim.
    pub shim: Arc<Shim>,
    /// Its pid, as Create answers.
    pub pid: u32,
    /// Its standard streams.
    pub pipes: Pipes,
}

impl Container {
    /// Creates it in a shim of its own.
    pub async fn create(bundle: Bundle) -> Answer<Self> {
        Self::create_with(bundle, Pipes::output()).await
    }

    /// Creates it in a shim of its own with these streams.
    pub async fn create_with(bundle: Bundle, pipes: Pipes) -> Answer<Self> {
        let shim = Shim::start(&bundle).await;
        Self::create_in(&shim, bundle, pipes).await
    }

    /// A container that sleeps, in a shim of its own that is started in another way.
    pub async fn sleeping_as(bundle: Bundle, how: &How) -> Self {
        let bundle = bundle.args(&["/bin/sleep", "1000"]);
        let shim = Shim::start_as(&bundle, how).await;
        let created = Self::create_in(&shim, bundle, Pipes::none()).await;
        let container = created.unwrap_or_else(|failure| panic!("create: {failure:?}"));
        container.start().await.unwrap_or_else(|failure| panic!("start: {failure:?}"));
        container
    }

    /// Creates it in a shim that runs.
    pub async fn create_in(shim: &Arc<Shim>, bundle: Bundle, pipes: Pipes) -> Answer<Self> {
        bundle.write();
        let request = create_request(&bundle, &pipes);
        let pid = shim.task.create(deadline(), &request).await?.pid;
        Ok(Self { bundle, shim: shim.clone(), pid, pipes })
    }

    /// Creates and starts it in a shim of its own.
    pub async fn started(bundle: Bundle) -> Self {
        let container = Self::create(bundle).await.unwrap_or_else(|failure| panic!("create: {failure:?}"));
        container.start().await.unwrap_or_else(|failure| panic!("start: {failure:?}"));
        container
    }

    /// A container that sleeps, for execs.
    pub async fn sleeping(bundle: Bundle) -> Self {
        Self::started(bundle.args(&["/bin/sleep", "1000"])).await
    }

    /// See [`Bundle::run`].
    pub(crate) async fn run(bundle: Bundle) -> Output {
        let mut container = Self::started(bundle).await;
        let output = container.output().await;
        container.end().await;
        output
    }

    /// See [`Bundle::refused`].
    pub(crate) async fn refused(bundle: Bundle) -> String {
        let shim = Shim::start(&bundle).await;
        let failure = match Self::create_in(&shim, bundle.clone(), Pipes::none()).await {
            Ok(_) => panic!("it was created:\n{:#}", bundle.spec),
            Err(failure) => failure,
        };
        assert_eq!(failure.message.lines().count(), 1, "one line: {failure:?}");
        assert!(!bundle.dir.join("eci.json").exists(), "something is left in the bundle");
        let next = Bundle::new();
        let next = Self::create_in(&shim, next, Pipes::none()).await.expect("the next create works");
        next.start().await.expect("the next start works");
        assert_eq!(next.wait().await, 0);
        next.delete().await.expect("delete");
        shim.shut_down().await.expect("shutdown");
        failure.message
    }

    /// See [`Bundle::start_refused`].
    pub(crate) async fn start_refused(bundle: Bundle) -> String {
        let container = Self::create_with(bundle, Pipes::none()).await.expect("create");
        let failure = container.start().await.expect_err("start");
        container.wait().await;
        container.end().await;
        failure.message
    }

    /// Starts it.
    pub async fn start(&self) -> Answer<u32> {
        self.start_process("").await
    }

    /// Starts an exec, or it itself.
    pub async fn start_process(&self, exec: &str) -> Answer<u32> {
        let request = api::StartRequest { id: self.id(), exec_id: exec.into(), ..Default::default() };
        Ok(self.shim.task.start(deadline(), &request).await?.pid)
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.bundle.id.clone()
    }

    /// Waits for its end: the exit status.
    pub async fn wait(&self) -> u32 {
        self.wait_process("").await.expect("wait").exit_status
    }

    /// Waits for the end of an exec, or its own: what runs may take longer than a request.
    pub async fn wait_process(&self, exec: &str) -> Answer<api::WaitResponse> {
        let request = api::WaitRequest { id: self.id(), exec_id: exec.into(), ..Default::default() };
        Ok(self.shim.task.wait(context::with_duration(PATIENCE * 2), &request).await?)
    }

    /// What is known of it, or of an exec.
    pub async fn state(&self, exec: &str) -> Answer<api::StateResponse> {
        let request = api::StateRequest { id: self.id(), exec_id: exec.into(), ..Default::default() };
        Ok(self.shim.task.state(deadline(), &request).await?)
    }

    /// Sends a signal.
    pub async fn kill(&self, exec: &str, signal: u32, all: bool) -> Answer<()> {
        let (id, exec_id) = (self.id(), exec.to_owned());
        let request = api::KillRequest { id, exec_id, signal, all, ..Default::default() };
        self.shim.task.kill(deadline(), &request).await?;
        Ok(())
    }

    /// Waits for its end, and for the end of its output.
    pub async fn output(&mut self) -> Output {
        let status = self.wait().await;
        let (stdout, stderr) = self.pipes.read().await;
        output(status, &stdout, &stderr)
    }

    /// The pids of its processes.
    pub async fn pids(&self) -> Answer<Vec<u32>> {
        let request = api::PidsRequest { id: self.id(), ..Default::default() };
        Ok(self.shim.task.pids(deadline(), &request).await?.processes.into_iter().map(|it| it.pid).collect())
    }

    /// Runs a shell script in it.
    pub async fn sh(&self, script: &str) -> Output {
        self.exec(&["/bin/sh", "-c", script]).await
    }

    /// Runs a program in it, as its root with its own capabilities.
    pub async fn exec(&self, args: &[&str]) -> Output {
        let spec = self.process(args);
        self.exec_process(&spec).await.unwrap_or_else(|failure| panic!("exec {args:?}: {failure:?}"))
    }

    /// The spec of a process like its own that runs `args`.
    pub fn process(&self, args: &[&str]) -> Value {
        let mut process = self.bundle.spec["process"].clone();
        process["args"] = json!(args);
        process["terminal"] = json!(false);
        process
    }

    /// Runs a process to its end and deletes it.
    pub async fn exec_process(&self, spec: &Value) -> Answer<Output> {
        let exec = place::unique("e");
        let mut pipes = Pipes::output();
        self.add_process(&exec, spec, &pipes).await?;
        if let Err(failure) = self.start_process(&exec).await {
            self.delete_process(&exec).await?;
            return Err(failure);
        }
        let status = self.wait_process(&exec).await?.exit_status;
        let (stdout, stderr) = pipes.read().await;
        self.delete_process(&exec).await?;
        Ok(output(status, &stdout, &stderr))
    }

    /// Adds an exec, which is not started yet.
    pub async fn add_process(&self, exec: &str, spec: &Value, pipes: &Pipes) -> Answer<()> {
        let mut request = api::ExecProcessRequest {
            id: self.id(),
            exec_id: exec.into(),
            terminal: pipes.terminal,
            stdin: pipes.stdin.clone(),
            stdout: pipes.stdout.clone(),
            stderr: pipes.stderr.clone(),
            ..Default::default()
        };
        let mut spec = spec.clone();
        spec["terminal"] = json!(pipes.terminal);
        request.set_spec(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
            value: serde_json::to_vec(&spec).expect("JSON"),
            ..Default::default()
        });
        self.shim.task.exec(deadline(), &request).await?;
        Ok(())
    }

    /// Changes its limits, as containerd asks for it.
    pub async fn update(&self, resources: &Value) -> Answer<()> {
        update(&self.shim.task, &self.bundle.id, resources).await
    }

    /// Deletes it.
    pub async fn delete(&self) -> Answer<api::DeleteResponse> {
        self.delete_process("").await
    }

    /// Deletes an exec, or it itself.
    pub async fn delete_process(&self, exec: &str) -> Answer<api::DeleteResponse> {
        let request = api::DeleteRequest { id: self.id(), exec_id: exec.into(), ..Default::default() };
        Ok(self.shim.task.delete(deadline(), &request).await?)
    }

    /// Kills it if it runs, deletes it, ends its shim. It must be the only one in its shim.
    pub async fn end(&self) {
        let _ = self.kill("", 9, true).await;
        self.wait().await;
        self.delete().await.unwrap_or_else(|failure| panic!("delete: {failure:?}"));
        self.shim.shut_down().await.expect("shutdown");
    }

    /// Kills it, which still runs, and deletes it. Its shim stays.
    pub async fn remove(&self) {
        self.kill("", 9, true).await.unwrap_or_else(|failure| panic!("kill: {failure:?}"));
        self.wait().await;
        self.delete().await.unwrap_or_else(|failure| panic!("delete: {failure:?}"));
    }

    /// Its host ids, as its init's uid_map says.
    pub fn host_base(&self) -> u32 {
        let map = std::fs::read_to_string(format!("/proc/{}/uid_map", self.pid)).expect("uid_map");
        map.split_whitespace().nth(1).expect("a map").parse().expect("a number")
    }
}

fn output(status: u32, stdout: &[u8], stderr: &[u8]) -> Output {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { stdout: text(stdout), stderr: text(stderr), status }
}

/// Asks a task service for other limits of a container.
pub async fn update(task: &TaskClient, id: &str, resources: &Value) -> Answer<()> {
    let mut request = api::UpdateTaskRequest { id: id.into(), ..Default::default() };
    request.set_resources(Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".into(),
        value: serde_json::to_vec(resources).expect("JSON"),
        ..Default::default()
    });
    task.update(deadline(), &request).await?;
    Ok(())
}

/// The Create request of a bundle.
pub fn create_request(bundle: &Bundle, pipes: &Pipes) -> api::CreateTaskRequest {
    api::CreateTaskRequest {
        id: bundle.id.clone(),
        bundle: bundle.dir.display().to_string(),
        rootfs: bundle.rootfs.clone(),
        terminal: pipes.terminal,
        stdin: pipes.stdin.clone(),
        stdout: pipes.stdout.clone(),
        stderr: pipes.stderr.clone(),
        ..Default::default()
    }
}
