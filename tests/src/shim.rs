//! The built shim, driven over the Task API as containerd does, with no daemon.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::{Client, TaskClient};
use serde_json::{Value, json};
use ttrpc::asynchronous::transport::Socket;
use ttrpc::context::{self, Context};

use crate::bundle::Bundle;
use crate::events::Exchange;
use crate::output::Output;
use crate::place;
use crate::stdio::{self, Pipes};

/// A generous limit, that tells a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// containerd's namespace in these tests.
pub const NAMESPACE: &str = "tests";

/// Why the shim did not do what it was asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status code.
    pub code: ttrpc::Code,
    /// The text.
    pub message: String,
}

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.code, self.message)
    }
}

impl From<ttrpc::Error> for Failure {
    fn from(error: ttrpc::Error) -> Self {
        match error {
            ttrpc::Error::RpcStatus(status) => Self { code: status.code(), message: status.message },
            other => Self { code: ttrpc::Code::INTERNAL, message: format!("transport: {other}") },
        }
    }
}

/// What the shim answers.
pub type Answer<T> = Result<T, Failure>;

/// The deadline of a request.
pub fn deadline() -> Context {
    context::with_duration(PATIENCE)
}

/// A shim that runs.
pub struct Shim {
    /// The bundle that it was started for.
    pub dir: PathBuf,
    /// The id that it was started for.
    pub id: String,
    /// `unix://...`
    pub address: String,
    /// Its task service.
    pub task: TaskClient,
    /// Its pid.
    pub pid: u32,
    /// Takes its events.
    pub events: Exchange,
    binary: PathBuf,
    log: Arc<Mutex<String>>,
}

/// How a shim is started.
#[derive(Debug, Clone)]
pub struct How {
    /// The binary.
    pub binary: PathBuf,
    /// Variables of its environment besides the usual ones.
    pub environment: Vec<(String, String)>,
    /// Whether containerd asks for debug messages.
    pub debug: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { binary: place::shim(), environment: Vec::new(), debug: false }
    }
}

impl How {
    /// With a failpoint that kills the shim, or its stage.
    pub fn failing_at(failpoint: &str) -> Self {
        let environment = vec![("ECI_FAILPOINT".to_owned(), failpoint.to_owned())];
        Self { binary: place::shim_with_failpoints(), environment, ..Self::default() }
    }

    /// Where it sees the unified hierarchy alone, as on a host that has nothing else.
    #[must_use]
    pub fn on_unified(self) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let script = place::new_dir("unified").join("containerd-shim-eci-v2");
        let within = r#"mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@""#;
        let text = format!("#!/bin/sh\nexec unshare --mount sh -c '{within}' {} \"$@\"\n", self.binary.display());
        std::fs::write(&script, text).expect("a script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        Self { binary: script, ..self }
    }
}

/// What `start` was answered, byte by byte.
pub fn call_start(how: &How, dir: &Path, id: &str, ttrpc_address: &str, stdin: &[u8]) -> std::process::Output {
    use std::io::Write;
    let mut child = command(how, dir, id)
        .arg("start")
        .env("TTRPC_ADDRESS", ttrpc_address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shim");
    // A shim that does not read it all is as good.
    let _ = child.stdin.take().expect("stdin").write_all(stdin);
    child.wait_with_output().expect("the answer")
}

fn command(how: &How, dir: &Path, id: &str) -> Command {
    let mut command = Command::new(&how.binary);
    command
        .args(["-namespace", NAMESPACE, "-address", "/run/containerd/containerd.sock"])
        .args(["-publish-binary", "/bin/false", "-id", id, "-bundle"])
        .arg(dir)
        .args(how.debug.then_some("-debug"))
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(how.environment.iter().cloned());
    command
}

/// The verb `delete`, as containerd calls it after a shim has died.
pub fn call_delete(dir: &Path, id: &str) -> std::process::Output {
    command(&How::default(), dir, id).arg("delete").stdin(Stdio::null()).output().expect("the shim")
}

impl Shim {
    /// Starts the shim of a bundle, whose config.json it writes.
    pub async fn start(bundle: &Bundle) -> Arc<Self> {
        Self::start_as(bundle, &How::default()).await
    }

    /// The same, of another binary or in another environment.
    pub async fn start_as(bundle: &Bundle, how: &How) -> Arc<Self> {
        bundle.write();
        let log = read_log(&bundle.dir.join("log"));
        let events = Exchange::new().await;
        let answer = call_start(how, &bundle.dir, &bundle.id, &events.path, &[]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(answer.status.success(), "start: {}", text(&answer.stderr));
        assert_eq!(text(&answer.stderr), "", "containerd reads standard error as part of the answer");
        let address = text(&answer.stdout);
        let task = TaskClient::new(connect(&address).await);
        let request = api::ConnectRequest { id: bundle.id.clone(), ..Default::default() };
        let pid = task.connect(deadline(), &request).await.map_or(0, |response| response.shim_pid);
        let (dir, id) = (bundle.dir.clone(), bundle.id.clone());
        Arc::new(Self { dir, id, address, task, pid, events, binary: how.binary.clone(), log })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Waits for a line in the log.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn logged(&self, text: &str) -> String {
        for _ in 0..200 {
            if let Some(line) = self.log().lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not in the log: {text}\n{}", self.log());
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.address.strip_prefix("unix://").expect("an address"))
    }

    /// The pids of the processes that run this shim's binary (the shim, its stages), by its inode.
    pub fn processes(&self) -> Vec<u32> {
        processes_of(&self.binary)
    }

    /// Asks it to end, and waits for that.
    pub async fn shut_down(&self) -> Answer<()> {
        let request = api::ShutdownRequest { id: self.id.clone(), ..Default::default() };
        self.task.shutdown(deadline(), &request).await?;
        self.gone().await;
        Ok(())
    }

    /// Waits until its socket is gone.
    ///
    /// # Panics
    /// When it stays.
    pub async fn gone(&self) {
        for _ in 0..600 {
            if !self.socket().exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the shim of {} does not end:\n{}", self.id, self.log());
    }
}

/// Connects to a shim.
pub async fn connect(address: &str) -> Client {
    Client::new(Socket::connect(address.trim()).await.expect("the shim's socket"))
}

/// Pids whose executable is this file.
pub fn processes_of(binary: &Path) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let wanted = identity(binary).expect("the binary");
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| identity(Path::new(&format!("/proc/{pid}/exe"))) == Some(wanted)).collect()
}

fn read_log(fifo: &Path) -> Arc<Mutex<String>> {
    if !fifo.exists() {
        stdio::fifo(fifo);
    }
    // Both ends: it neither blocks nor ends.
    let mut file = std::fs::File::options().read(true).write(true).open(fifo).expect("the log");
    let log = Arc::new(Mutex::new(String::new()));
    let shared = log.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = file.read(&mut buffer) {
            shared.lock().expect("the log").push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    log
}

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

    /// Waits for the end of an exec, or its own.
    pub async fn wait_process(&self, exec: &str) -> Answer<api::WaitResponse> {
        let request = api::WaitRequest { id: self.id(), exec_id: exec.into(), ..Default::default() };
        Ok(self.shim.task.wait(deadline(), &request).await?)
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
