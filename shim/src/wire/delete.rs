//! `delete`: containerd's last word about a container, usually because its shim is dead.
//!
//! It can come at any time, more than once, and with the shim still alive (which then sees its container end).

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim_async::{Client, TaskClient};
use ttrpc::asynchronous::transport;

use super::events::timestamp;
use super::flags::Flags;
use super::socket::Socket;
use crate::container::exit::UNKNOWN;
use crate::container::state;

/// How long a living shim may take to answer Shutdown.
const PATIENCE: Duration = Duration::from_secs(5);

/// Cleans up and answers on `output`.
///
/// # Errors
/// One line: what could not be removed.
pub(crate) fn run(flags: &Flags, mut output: impl Write) -> Result<(), String> {
    if flags.id.is_empty() {
        return Err("delete needs -id".to_owned());
    }
    let bundle = flags.bundle();
    let bundle = bundle.canonicalize().unwrap_or(bundle);
    // containerd logs what is there as the warnings of its clean-up. Where standard error is closed there is no log.
    let pid = state::clean_up(&bundle, &|line| drop(writeln!(std::io::stderr(), "containerd-shim-eci-v2: {line}")))?;
    leave(&bundle, &flags.id);
    let response = api::DeleteResponse {
        pid,
        exit_status: UNKNOWN,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        ..Default::default()
    };
    let bytes = response.write_to_bytes().map_err(|error| format!("encode the answer: {error}"))?;
    output.write_all(&bytes).and_then(|()| output.flush()).map_err(|error| format!("write the answer: {error}"))
}

/// Removes the socket of a dead shim, and asks a living one to forget the container, which has ended by now, and to end if
/// it has no other. A client that never says Shutdown, and executes `delete` in the end, thus leaves no shim behind.
fn leave(bundle: &Path, id: &str) {
    let Ok(address) = std::fs::read_to_string(bundle.join("address")) else { return };
    let Some(socket) = Socket::at(&address) else { return };
    if !socket.is_served() {
        // Another delete may have been faster.
        let _ = socket.remove();
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // A shim that does not answer is not ours to end: it may serve others of its pod.
    let _ = runtime.map(|runtime| runtime.block_on(ask_to_end(&address, id)));
}

async fn ask_to_end(address: &str, id: &str) -> Result<(), ttrpc::Error> {
    let socket = transport::Socket::connect(address.trim()).await;
    let client = TaskClient::new(Client::new(socket.map_err(|error| ttrpc::Error::Socket(error.to_string()))?));
    let context = || ttrpc::context::with_duration(PATIENCE);
    let wait = api::WaitRequest { id: id.to_owned(), ..Default::default() };
    if client.wait(context(), &wait).await.is_ok() {
        client.delete(context(), &api::DeleteRequest { id: id.to_owned(), ..Default::default() }).await?;
    }
    let request = api::ShutdownRequest { id: id.to_owned(), ..Default::default() };
    client.shutdown(context(), &request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_delete_is_deleted_twice() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().to_str().unwrap().to_owned();
        let flags = Flags { id: "c1".into(), namespace: "n".into(), bundle, ..Default::default() };
        for _ in 0..2 {
            let mut output = Vec::new();
            run(&flags, &mut output).unwrap();
            let response = api::DeleteResponse::parse_from_bytes(&output).unwrap();
            assert_eq!((response.pid, response.exit_status), (0, 137));
            assert!(response.exited_at.seconds > 0);
        }
        assert_eq!(run(&Flags::default(), Vec::new()).unwrap_err(), "delete needs -id");
    }

    #[test]
    fn a_dead_shims_socket_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        std::fs::write(dir.path().join("address"), format!("unix://{}", path.display())).unwrap();
        leave(dir.path(), "c1");
        assert!(!path.exists());
    }
}
