//! `start`, `-info` and `-v`: what containerd is answered, byte by byte, and the socket that it then talks to.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options as RuncOptions;
use containerd_shim_protos::types::introspection::RuntimeInfo;
use containerd_shim_protos::{api, shim_async::TaskClient};
use serde_json::json;
use tests::shim::{self, How, NAMESPACE, call_delete, call_start, deadline};
use tests::{Bundle, Container, place};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the shim answers to `args` in `dir`, with nothing in its environment.
fn call(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    use std::io::Write;
    let mut child = Command::new(place::shim())
        .args(args)
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// The answer of a `start` that must succeed, without one byte on standard error.
fn answered(output: &Output) -> &[u8] {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    &output.stdout
}

async fn end(address: &str) {
    let task = TaskClient::new(shim::connect(address).await);
    task.shutdown(deadline(), &api::ShutdownRequest::default()).await.unwrap();
    let path = PathBuf::from(address.strip_prefix("unix://").unwrap());
    for _ in 0..3000 {
        if !path.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the shim at {address} does not end");
}

fn any(type_url: &str, value: Vec<u8>) -> Vec<u8> {
    Any { type_url: type_url.into(), value, ..Default::default() }.write_to_bytes().unwrap()
}

#[tokio::test]
async fn without_a_bootstrap_message_the_answer_is_a_bare_address_whatever_the_options() {
    let runc = RuncOptions { binary_name: "/usr/bin/runc".into(), ..Default::default() }.write_to_bytes().unwrap();
    for stdin in [
        Vec::new(),
        any("runtimeoptions.v1.Options", Vec::new()),
        any("runtimeoptions.v1.Options", [&b"\x12\x14"[..], b"/etc/eci/config.toml"].concat()),
        any("containerd.runc.v1.Options", runc),
        b"\xff\xfe\xfd".to_vec(),
    ] {
        let bundle = Bundle::new();
        bundle.write();
        let output = call_start(&How::default(), &bundle.dir, &bundle.id, "", &stdin);
        let address = text(answered(&output));
        let name = address.strip_prefix("unix:///run/containerd/s/").unwrap_or_else(|| panic!("{address:?}"));
        assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{address:?}");
        end(&address).await;
    }
}

#[tokio::test]
async fn a_bootstrap_message_is_answered_by_a_message_and_its_socket_directory_is_used() {
    let bundle = Bundle::new();
    bundle.write();
    let sockets = PathBuf::from("/run").join(place::unique("sockets")).join("s");
    let events = tests::events::Exchange::new().await;
    let params = BootstrapParams {
        instance_id: bundle.id.clone(),
        namespace: NAMESPACE.into(),
        containerd_ttrpc_address: events.path.clone(),
        containerd_grpc_address: "/run/containerd/containerd.sock".into(),
        socket_dir: Some(sockets.display().to_string()),
        ..Default::default()
    };
    // No -bundle and no -publish-binary: the bundle is the working directory.
    let args = ["-namespace", NAMESPACE, "-id", &bundle.id, "-address", "/run/containerd/containerd.sock", "start"];
    let output = call(&bundle.dir, &args, &params.write_to_bytes().unwrap());
    let result = BootstrapResult::parse_from_bytes(answered(&output)).unwrap();
    assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
    let socket = PathBuf::from(result.address.strip_prefix("unix://").unwrap());
    assert_eq!(socket.parent(), Some(sockets.as_path()));

    let task = TaskClient::new(shim::connect(&result.address).await);
    let request = tests::container::create_request(&bundle, &tests::stdio::Pipes::none());
    let pid = task.create(deadline(), &request).await.unwrap().pid;
    let connect = api::ConnectRequest { id: bundle.id.clone(), ..Default::default() };
    let connected = task.connect(deadline(), &connect).await.unwrap();
    assert_eq!(connected.task_pid, pid);
    assert_eq!(events.topics(1).await, ["/tasks/create"], "events go where the message says");

    let deleted = call_delete(&bundle.dir, &bundle.id);
    assert_eq!(api::DeleteResponse::parse_from_bytes(answered(&deleted)).unwrap().pid, pid);
    for _ in 0..3000 {
        if !Path::new(&format!("/proc/{}", connected.shim_pid)).exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!socket.exists(), "`delete` ends a shim that was never told to shut down");
    let again = call_delete(&bundle.dir, &bundle.id);
    api::DeleteResponse::parse_from_bytes(answered(&again)).unwrap();
}

#[tokio::test]
async fn a_message_about_another_container_is_not_a_bootstrap_message() {
    let bundle = Bundle::new();
    bundle.write();
    let params = BootstrapParams { instance_id: "other".into(), namespace: NAMESPACE.into(), ..Default::default() };
    let output = call_start(&How::default(), &bundle.dir, &bundle.id, "", &params.write_to_bytes().unwrap());
    let address = text(answered(&output));
    assert!(address.starts_with("unix:///"), "{address:?}");
    end(&address).await;
}

#[tokio::test]
async fn a_second_start_finds_the_shim_of_the_first() {
    let container = Container::create(Bundle::new()).await.unwrap();
    let again = call_start(&How::default(), &container.bundle.dir, &container.bundle.id, "", &[]);
    assert_eq!(text(answered(&again)), container.shim.address);
    assert_eq!(std::fs::read_to_string(container.bundle.dir.join("address")).unwrap(), container.shim.address);
    container.end().await;
}

#[tokio::test]
async fn the_sockets_path_is_short_and_its_directory_is_roots_alone() {
    let container = Container::create(Bundle::new()).await.unwrap();
    let socket = container.shim.socket();
    assert!(socket.as_os_str().len() <= 104, "{}", socket.display());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(socket.parent().unwrap()), mode(&socket)), (0o700, 0o600));
    container.end().await;
}

#[tokio::test]
async fn the_kernel_takes_the_shim_before_whoever_started_it() {
    let container = Container::create(Bundle::new()).await.unwrap();
    let score = |process: &str| -> i32 {
        std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert_eq!(score(&container.shim.pid.to_string()), (score("self") + 1).min(1000));
    container.end().await;
}

#[test]
fn a_start_that_fails_says_why_in_one_line_and_leaves_no_shim() {
    let dir = place::new_dir("bundle");
    std::fs::write(dir.join("config.json"), "{ \"ociVersion\": ").unwrap();
    let id = place::unique("broken");
    let output = call_start(&How::default(), &dir, &id, "", &[]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("containerd-shim-eci-v2: read ") && said.contains("config.json: EOF"), "{said}");
    assert!(!dir.join("address").exists());

    let missing = call(&dir, &["-namespace", "n", "start"], &[]);
    assert_eq!(text(&missing.stderr), "containerd-shim-eci-v2: start needs -namespace and -id\n");
    let unknown = call(&dir, &["-namespace", "n", "-id", "i", "-colour", "start"], &[]);
    assert_eq!(text(&unknown.stderr), "containerd-shim-eci-v2: flag provided but not defined: -colour\n");
}

#[tokio::test]
async fn a_socket_directory_that_is_too_deep_is_refused() {
    let bundle = Bundle::new();
    bundle.write();
    let start = |depth: usize| {
        let params = BootstrapParams {
            instance_id: bundle.id.clone(),
            namespace: NAMESPACE.into(),
            socket_dir: Some(format!("/run/{}", "d".repeat(depth))),
            ..Default::default()
        };
        call_start(&How::default(), &bundle.dir, &bundle.id, "", &params.write_to_bytes().unwrap())
    };
    // /run/, a slash and 64 hexadecimal digits: 104 bytes in all are the most.
    let output = start(35);
    assert!(!output.status.success() && text(&output.stderr).contains("longer than 104 bytes"), "{output:?}");
    let output = start(34);
    end(&BootstrapResult::parse_from_bytes(answered(&output)).unwrap().address).await;
}

#[test]
fn info_needs_neither_environment_nor_input() {
    let output = call(Path::new("/"), &["-info"], &[]);
    let info = RuntimeInfo::parse_from_bytes(answered(&output)).unwrap();
    assert_eq!(info.name, "io.containerd.eci.v2");
    assert_eq!(info.features.type_url, "types.containerd.io/opencontainers/runtime-spec/1/features/Features");
    let features: serde_json::Value = serde_json::from_slice(&info.features.value).unwrap();
    let namespaces = features["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!("user")), "{namespaces:?}");
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], json!(true));
    let version = call(Path::new("/"), &["-v"], &[]);
    let version = text(answered(&version));
    assert!(version.contains(&format!("Version:  {}\n", info.version.version)), "{version}");

    let options = any("runtimeoptions.v1.Options", Vec::new());
    let output = call(Path::new("/"), &["-info"], &options);
    let info = RuntimeInfo::parse_from_bytes(answered(&output)).unwrap();
    assert_eq!(info.options.type_url, "runtimeoptions.v1.Options");
}
