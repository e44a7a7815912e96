//! The built shim, driven over the Task API as containerd does, with no daemon.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_shim_protos::api;
use containerd_shim_protos::shim_async::{Client, TaskClient};
use ttrpc::asynchronous::transport::Socket;
use ttrpc::context::{self, Context};

use crate::bundle::Bundle;
use crate::events::Exchange;
use crate::place;
use crate::stdio;

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
        let script = place::new_dir("unified").join("containerd-shim-eci-v2");
        let within = r#"mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@""#;
        let text = format!("#!/bin/sh\nexec unshare --mount sh -c '{within}' {} \"$@\"\n", self.binary.display());
        place::script(&script, &text);
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
        for _ in 0..1200 {
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
        for _ in 0..3000 {
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
