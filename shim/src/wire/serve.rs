//! The shim itself: a server on the socket that `start` has bound.
//!
//! One thread runs everything (a host may have a thousand shims, and each has little to do); what waits for files or the
//! kernel goes to tokio's blocking threads, which end when they are idle.
//!
//! The shim ends on Shutdown once it has no container, or by SIGTERM or SIGINT. It is no subreaper: see
//! [`crate::container::exit`].

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use ttrpc::asynchronous::Server;
use ttrpc::asynchronous::transport::Listener;

use super::events;
use super::flags::Flags;
use super::logger;
use super::sandbox;
use super::socket::Socket;
use super::start::TTRPC_ADDRESS;
use super::task::TaskService;
use crate::container::pod::{Pod, Shared};
use crate::stage::launch::Launcher;
use crate::sys::memory;

/// How long events may take to reach containerd once the shim is to end.
const FLUSH: Duration = Duration::from_secs(5);

/// How long an idle blocking thread lives.
const IDLE: Duration = Duration::from_secs(1);

/// Serves until Shutdown. Standard input is the listening socket, standard error the log.
///
/// # Errors
/// One line: what of the surroundings is missing.
pub(crate) fn run(flags: &Flags) -> Result<(), String> {
    if let Some(log) = standard_error() {
        logger::install(log, flags.debug);
    }
    let outcome = surroundings().and_then(|listener| serve(flags, listener));
    if let Err(error) = &outcome {
        log::error!("{error}");
    }
    outcome
}

/// The log that `start` has left in the place of standard error.
fn standard_error() -> Option<std::fs::File> {
    let fd = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode);
    (kind == rustix::fs::FileType::Fifo).then(|| std::fs::File::from(fd))
}

/// Leaves containerd's session, and takes the listener out of the place of standard input.
fn surroundings() -> Result<StdListener, String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("serve: {what}: {error}");
    // A group leader already (a start by hand) is as good.
    let _ = rustix::process::setsid();
    let stdin = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3);
    let listener: OwnedFd = stdin.map_err(|errno| failed("take the socket")(errno.into()))?;
    let listens = rustix::net::sockopt::socket_acceptconn(&listener);
    if !listens.map_err(|errno| failed("standard input is not start's socket")(errno.into()))? {
        return Err("serve: standard input does not listen: this verb is the shim's own".to_owned());
    }
    let null = std::fs::File::open("/dev/null").map_err(failed("open /dev/null"))?;
    rustix::stdio::dup2_stdin(null.as_fd()).map_err(|errno| failed("close standard input")(errno.into()))?;
    let listener = StdListener::from(listener);
    listener.set_nonblocking(true).map_err(failed("prepare the socket"))?;
    Ok(listener)
}

fn serve(flags: &Flags, listener: StdListener) -> Result<(), String> {
    let socket = listener.local_addr().ok().and_then(|address| {
        let path = address.as_pathname()?.to_str()?.to_owned();
        Socket::at(&format!("unix://{path}"))
    });
    memory::one_arena();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(IDLE)
        // Nothing has waited for files since IDLE: a container has been made, and what it took is free.
        .on_thread_stop(memory::give_back)
        .build()
        .map_err(|error| format!("serve: start the runtime: {error}"))?;
    let outcome = runtime.block_on(until_shutdown(flags, listener));
    if let Some(Err(error)) = socket.map(|socket| socket.remove()) {
        log::warn!("remove the socket: {error}");
    }
    // A thread that still waits for a file holds nobody up.
    runtime.shutdown_background();
    outcome
}

async fn until_shutdown(flags: &Flags, listener: StdListener) -> Result<(), String> {
    let (sender, queue) = events::channel();
    let address = std::env::var(TTRPC_ADDRESS).ok().filter(|address| !address.is_empty());
    let sockets = [Some(flags.address.as_str()), address.as_deref()].into_iter().flatten().filter_map(socket_path);
    let (namespace, group, sockets) = (flags.namespace.clone(), flags.id.clone(), sockets.collect());
    let publisher = tokio::spawn(events::publish(queue, address, namespace.clone()));
    let launcher = Launcher::new().map_err(|error| format!("serve: {error}"))?;
    let shutdown = Arc::new(Notify::new());
    let pod = Arc::new(Pod::new(Shared { namespace, group, sockets, launcher, events: sender }));
    let listener = UnixListener::from_std(listener).map_err(|error| format!("serve: watch the socket: {error}"))?;
    let mut server = Server::new()
        .add_listener(Listener::new(RootOnly(listener)))
        .register_service(TaskService::new(pod.clone(), shutdown.clone()).register())
        .register_service(sandbox::service());
    server.start().await.map_err(|error| format!("serve: {error}"))?;
    log::info!(version = env!("CARGO_PKG_VERSION"), group = flags.id.as_str(); "serving");
    tokio::select! {
        () = shutdown.notified() => {}
        name = ended() => log::warn!(
            "{name}: the shim ends; {} go on without it until containerd, which sees it end, deletes them",
            pod.describe()
        ),
    }
    // The answer to Shutdown is on its way; the server lets it out before it closes its connections.
    let _ = server.shutdown().await;
    drop((server, pod));
    flush(publisher).await;
    Ok(())
}

/// The file of a socket's address; none where that is something else.
fn socket_path(address: &str) -> Option<PathBuf> {
    let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(address));
    path.is_absolute().then_some(path)
}

/// Waits for SIGTERM or SIGINT. They end the shim in good order, as they do containerd's own: the log has a line, the
/// events that are queued go out.
async fn ended() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        log::warn!("SIGTERM and SIGINT cannot be watched: they end the shim without a word");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Lets the last events through.
async fn flush(publisher: JoinHandle<()>) {
    if tokio::time::timeout(FLUSH, publisher).await.is_err() {
        log::warn!("the shim ends with events that containerd did not take");
    }
}

/// Connections of the host's root. Whoever else gets at the socket (unix(7): its permissions are enough) is hung up on.
struct RootOnly(UnixListener);

impl Stream for RootOnly {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let (stream, _) = ready!(self.0.poll_accept(cx))?;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == 0 => return Poll::Ready(Some(Ok(stream))),
                Ok(peer) => log::warn!("uid {} was refused at the socket", peer.uid()),
                Err(error) => log::warn!("a peer was refused at the socket: {error}"),
            }
        }
    }
}
