//! Status codes: those that containerd's own shim gives; on both versions of the service; and who may ask at all.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::Message;
use tests::shim::{self, Answer, deadline};
use tests::stdio::Pipes;
use tests::{Bundle, Container};
use ttrpc::Code;

fn code<T>(answer: Answer<T>) -> Code {
    answer.err().map_or(Code::OK, |failure| failure.code)
}

fn of<T>(answer: ttrpc::Result<T>) -> Code {
    code(answer.map_err(Into::into))
}

#[tokio::test]
async fn an_unknown_container_or_exec_is_not_found() {
    let container = Container::sleeping(Bundle::new()).await;
    let task = &container.shim.task;
    let id = || "nobody".to_owned();
    let (own, exec_id) = (container.id(), String::from("noexec"));
    for (id, exec_id) in [(id(), String::new()), (id(), exec_id.clone()), (own, exec_id)] {
        let (id, exec) = (|| id.clone(), || exec_id.clone());
        let codes = [
            of(task.state(deadline(), &api::StateRequest { id: id(), exec_id: exec(), ..Default::default() }).await),
            of(task.start(deadline(), &api::StartRequest { id: id(), exec_id: exec(), ..Default::default() }).await),
            of(task.delete(deadline(), &api::DeleteRequest { id: id(), exec_id: exec(), ..Default::default() }).await),
            of(task.wait(deadline(), &api::WaitRequest { id: id(), exec_id: exec(), ..Default::default() }).await),
            of(task
                .kill(deadline(), &api::KillRequest { id: id(), exec_id: exec(), signal: 9, ..Default::default() })
                .await),
            of(task
                .resize_pty(deadline(), &api::ResizePtyRequest { id: id(), exec_id: exec(), ..Default::default() })
                .await),
            of(task
                .close_io(deadline(), &api::CloseIORequest { id: id(), exec_id: exec(), ..Default::default() })
                .await),
        ];
        assert_eq!(codes, [Code::NOT_FOUND; 7], "{} {}", id(), exec());
    }
    assert_eq!(of(task.pids(deadline(), &api::PidsRequest { id: id(), ..Default::default() }).await), Code::NOT_FOUND);
    let exec = api::ExecProcessRequest { id: id(), exec_id: "e".into(), ..Default::default() };
    assert_eq!(of(task.exec(deadline(), &exec).await), Code::NOT_FOUND);
    // Connect is how a restarted containerd finds out who serves: it is answered for any id.
    let connected = task.connect(deadline(), &api::ConnectRequest { id: id(), ..Default::default() }).await.unwrap();
    assert_eq!((connected.shim_pid, connected.task_pid), (container.shim.pid, 0));
    container.end().await;
}

#[tokio::test]
async fn what_exists_already_is_not_made_again() {
    let container = Container::sleeping(Bundle::new()).await;
    let again = Container::create_in(&container.shim, container.bundle.clone(), Pipes::none()).await;
    let failure = again.err().expect("a second create");
    assert_eq!(
        (failure.code, failure.message),
        (Code::ALREADY_EXISTS, format!("container {} already exists", container.id()))
    );
    let spec = container.process(&["/bin/true"]);
    container.add_process("e", &spec, &Pipes::none()).await.unwrap();
    assert_eq!(code(container.add_process("e", &spec, &Pipes::none()).await), Code::ALREADY_EXISTS);
    container.delete_process("e").await.unwrap();
    container.add_process("e", &spec, &Pipes::none()).await.expect("the id of a deleted exec is free");
    container.end().await;
}

#[tokio::test]
async fn the_order_of_a_life_is_kept() {
    let container = Container::create(Bundle::new().args(&["/bin/sleep", "1000"])).await.unwrap();
    assert_eq!(code(container.delete().await), Code::FAILED_PRECONDITION, "delete of a created container");
    container.start().await.unwrap();
    assert_eq!(code(container.start().await), Code::FAILED_PRECONDITION, "a second start");
    assert_eq!(code(container.delete().await), Code::FAILED_PRECONDITION, "delete of a running container");

    container.add_process("e", &container.process(&["/bin/sleep", "1000"]), &Pipes::none()).await.unwrap();
    assert_eq!(code(container.kill("e", 9, false).await), Code::FAILED_PRECONDITION, "kill of an exec not started");
    container.start_process("e").await.unwrap();
    assert_eq!(code(container.start_process("e").await), Code::FAILED_PRECONDITION, "a second start of an exec");
    assert_eq!(code(container.delete_process("e").await), Code::FAILED_PRECONDITION, "delete of a running exec");
    container.kill("e", 15, false).await.unwrap();
    assert_eq!(container.wait_process("e").await.unwrap().exit_status, 143);
    assert_eq!(code(container.kill("e", 9, false).await), Code::NOT_FOUND, "kill of an exec that has ended");
    assert_eq!(container.delete_process("e").await.unwrap().exit_status, 143);

    container.kill("", 9, false).await.unwrap();
    assert_eq!(container.wait().await, 137);
    assert_eq!(code(container.kill("", 9, false).await), Code::NOT_FOUND, "kill of a stopped container");
    assert_eq!(code(container.start().await), Code::FAILED_PRECONDITION, "start of a stopped container");
    let late = container.add_process("late", &container.process(&["/bin/true"]), &Pipes::none()).await;
    assert_eq!(code(late), Code::FAILED_PRECONDITION, "exec in a stopped container");
    assert_eq!(container.delete().await.unwrap().exit_status, 137);
    assert_eq!(code(container.delete().await), Code::NOT_FOUND, "a second delete");
    assert_eq!(code(container.state("").await), Code::NOT_FOUND, "state of a deleted container");
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_created_container_can_be_killed() {
    let container = Container::create(Bundle::new()).await.unwrap();
    container.kill("", 9, false).await.unwrap();
    assert_eq!(container.wait().await, 137);
    container.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_an_invalid_argument() {
    let container = Container::sleeping(Bundle::new()).await;
    assert_eq!(code(container.kill("", 999, false).await), Code::INVALID_ARGUMENT);
    let nameless = container.add_process("", &container.process(&["/bin/true"]), &Pipes::none()).await;
    assert_eq!(code(nameless), Code::INVALID_ARGUMENT);
    let other = Bundle::new();
    other.write();
    let mut request = tests::container::create_request(&other, &Pipes::none());
    request.bundle = "relative".into();
    let failure = shim::Failure::from(container.shim.task.create(deadline(), &request).await.unwrap_err());
    assert_eq!(failure.code, Code::INVALID_ARGUMENT);
    assert!(failure.message.contains("bundle \"relative\" is not an absolute path"), "{failure:?}");
    let mut request = tests::container::create_request(&other, &Pipes::none());
    request.stdout = "npipe://x".into();
    let failure = shim::Failure::from(container.shim.task.create(deadline(), &request).await.unwrap_err());
    assert_eq!(failure.code, Code::INVALID_ARGUMENT, "{failure:?}");
    assert!(failure.message.contains("stdio scheme npipe"), "{failure:?}");
    container.end().await;
}

#[tokio::test]
async fn calls_that_are_not_built_are_unimplemented_and_change_nothing() {
    let container = Container::sleeping(Bundle::new()).await;
    let (task, id) = (&container.shim.task, || container.id());
    let codes = [of(task.checkpoint(deadline(), &api::CheckpointTaskRequest { id: id(), ..Default::default() }).await)];
    assert_eq!(codes, [Code::UNIMPLEMENTED]);
    assert_eq!(container.sh("echo alive").await.ok(), "alive");
    container.end().await;
}

fn raw(service: &str, method: &str, message: &impl Message) -> ttrpc::Request {
    ttrpc::Request {
        service: service.into(),
        method: method.into(),
        payload: message.write_to_bytes().unwrap(),
        timeout_nano: 60_000_000_000,
        ..Default::default()
    }
}

#[tokio::test]
async fn both_versions_of_the_service_are_on_one_socket_and_the_sandbox_service_is_unimplemented() {
    let container = Container::sleeping(Bundle::new()).await;
    let client = shim::connect(&container.shim.address).await;
    let request = api::StateRequest { id: container.id(), ..Default::default() };
    for service in ["containerd.task.v2.Task", "containerd.task.v3.Task"] {
        let answer = client.request(raw(service, "State", &request)).await.unwrap();
        let state = api::StateResponse::parse_from_bytes(&answer.payload).unwrap();
        assert_eq!((state.id, state.pid), (container.id(), container.pid), "{service}");
    }
    for method in ["CreateSandbox", "StartSandbox", "Platform", "PingSandbox", "ShutdownSandbox"] {
        let answer = client.request(raw("containerd.runtime.sandbox.v1.Sandbox", method, &request)).await;
        assert_eq!(of(answer), Code::UNIMPLEMENTED, "{method}");
    }
    container.end().await;
}

/// Sends the bytes of argument 2 (hexadecimal) to the socket of argument 1, and prints how many come back.
const ASK: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
try:
    s.sendall(bytes.fromhex(sys.argv[2]))
    print(len(s.recv(4096)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
";

#[tokio::test]
async fn a_peer_that_is_not_root_is_hung_up_on() {
    let container = Container::create(Bundle::new()).await.unwrap();
    let socket = container.shim.socket();
    // A place from which anyone can connect, without touching the directory that all shims share.
    let dir = std::path::PathBuf::from("/run").join(tests::place::unique("open"));
    std::fs::create_dir(&dir).unwrap();
    let link = dir.join("s");
    std::fs::hard_link(&socket, &link).unwrap();
    std::fs::set_permissions(&link, std::fs::Permissions::from_mode(0o666)).unwrap();
    // ttrpc's header: length and stream id (big endian), type (1 is a request), flags.
    let request = raw("containerd.task.v3.Task", "Connect", &api::ConnectRequest::default()).write_to_bytes().unwrap();
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    let frame = [&length[..], &1u32.to_be_bytes(), &[1, 0], &request].concat();
    let frame: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let ask = |uid: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={uid}"),
            &format!("--regid={uid}"),
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            ASK,
        ]);
        let output = tests::Output::from(command.arg(&link).arg(&frame).output().unwrap());
        output.ok().parse::<usize>().unwrap()
    };
    assert_eq!(ask("1000"), 0);
    assert!(ask("0") > 10, "root is answered");
    container.shim.logged("uid 1000 was refused at the socket").await;
    container.end().await;
}

#[tokio::test]
async fn a_shutdown_while_there_is_a_container_is_not_obeyed() {
    let container = Container::sleeping(Bundle::new()).await;
    container.shim.task.shutdown(deadline(), &api::ShutdownRequest::default()).await.unwrap();
    assert_eq!(container.sh("echo alive").await.ok(), "alive");
    container.end().await;
}

#[tokio::test]
async fn pids_are_the_hosts_and_name_their_execs() {
    let container = Container::sleeping(Bundle::new()).await;
    container.add_process("e", &container.process(&["/bin/sleep", "1000"]), &Pipes::none()).await.unwrap();
    let pid = container.start_process("e").await.unwrap();
    let request = api::PidsRequest { id: container.id(), ..Default::default() };
    let found = container.shim.task.pids(deadline(), &request).await.unwrap().processes;
    let mut named: Vec<(u32, String)> = found.iter().map(|it| (it.pid, it.info.type_url.clone())).collect();
    named.sort();
    let mut expected = vec![(container.pid, String::new()), (pid, "containerd.runc.v1.ProcessDetails".to_owned())];
    expected.sort();
    assert_eq!(named, expected);
    container.end().await;
}
