//! Bundles that cannot be a container: one line that says why, and nothing left.

use serde_json::json;
use tests::bundle::bind_rootfs;
use tests::container::create_request;
use tests::shim::deadline;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

/// The error of a Create with this text as config.json; the next create in the same shim works.
async fn refused_text(text: Option<&[u8]>) -> String {
    let bundle = Bundle::new();
    let shim = Shim::start(&bundle).await;
    let path = bundle.dir.join("config.json");
    std::fs::remove_file(&path).unwrap();
    if let Some(text) = text {
        std::fs::write(&path, text).unwrap();
    }
    let error = shim.task.create(deadline(), &create_request(&bundle, &Pipes::none())).await.unwrap_err();
    let message = tests::shim::Failure::from(error).message;
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(!bundle.dir.join("eci.json").exists());
    let next = Container::create_in(&shim, bundle, Pipes::none()).await.expect("the next create works");
    next.start().await.unwrap();
    assert_eq!(next.wait().await, 0);
    next.delete().await.unwrap();
    shim.shut_down().await.unwrap();
    message
}

#[tokio::test]
async fn a_document_that_is_no_json_is_told_with_its_place() {
    let whole = serde_json::to_vec_pretty(&Bundle::new().spec).unwrap();
    let message = refused_text(Some(&whole[..whole.len() / 2])).await;
    assert!(
        message.contains("config.json: is not valid JSON: EOF while parsing") && message.contains(" at line "),
        "{message}"
    );
    for text in [&b""[..], b"{", b"\xff\xfe", b"nonsense"] {
        let message = refused_text(Some(text)).await;
        assert!(message.contains("config.json: is not valid JSON: "), "{message}");
    }
    for text in [&b"[]"[..], b"null", b"7"] {
        let message = refused_text(Some(text)).await;
        assert!(message.contains("config.json: is not an object"), "{message}");
    }
    let deep = "[".repeat(100_000);
    let message = refused_text(Some(deep.as_bytes())).await;
    assert!(message.contains("config.json: is not valid JSON: recursion limit"), "{message}");
}

#[tokio::test]
async fn a_missing_document_is_told_by_its_path() {
    let message = refused_text(None).await;
    assert!(message.contains("read ") && message.contains("/config.json: No such file or directory"), "{message}");
}

#[tokio::test]
async fn a_document_that_asks_for_nothing_is_refused_by_what_is_missing() {
    for (text, message) in [
        (&b"{}"[..], ": is missing"),
        (br#"{"ociVersion": "1.1.0", "root": {"path": "rootfs"}}"#, "process: is missing"),
        (br#"{"ociVersion": "1.1.0", "process": {"cwd": "/", "args": ["x"]}}"#, "root: is missing"),
        (
            br#"{"ociVersion": "2.0.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["x"]}}"#,
            "ociVersion: \"2.0.0\" is not supported",
        ),
    ] {
        let refusal = refused_text(Some(text)).await;
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn a_value_that_makes_no_sense_is_refused_by_its_field() {
    for (pointer, value, message) in [
        ("/process/args", json!([]), "process.args: is empty; it must name a program"),
        ("/process/args", json!([""]), "process.args[0]: is empty"),
        ("/process/args", json!("sh"), "process.args: is not a list"),
        ("/process/args", json!(["sh", 1]), "process.args[1]: is not a string"),
        ("/process/user/uid", json!("0"), "process.user.uid: \"0\" is not a whole number"),
        ("/process/user/uid", json!(-1), "process.user.uid: -1 is not a whole number"),
        ("/process/user/uid", json!(70000), "process.user.uid: 70000 is outside the container's ids"),
        ("/process/user/umask", json!(512), "process.user.umask: 512 (0o1000) is more than 0o777"),
        ("/process/cwd", json!("relative"), "process.cwd: \"relative\""),
        ("/linux/cgroupsPath", json!("/eci-tests/../x"), "linux.cgroupsPath: \"/eci-tests/../x\" has a .. component"),
        ("/linux/cgroupsPath", json!("/"), "linux.cgroupsPath: \"/\" is a group of the host's own"),
        ("/mounts/0/type", json!(5), "mounts[0].type: is not a string"),
        ("/root/path", json!(""), "root.path: is empty"),
        ("/hostname", json!("h".repeat(65)), "hostname: "),
    ] {
        let refusal = Bundle::new().set(pointer, value).refused().await;
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn a_root_filesystem_that_is_none_is_refused_by_its_path() {
    let mut missing = Bundle::new().set("/root/path", json!("nowhere"));
    missing.rootfs.clear();
    let refusal = missing.refused().await;
    assert!(refusal.contains("/nowhere") && refusal.to_lowercase().contains("no such file or directory"), "{refusal}");
    let mut file = Bundle::new().set("/root/path", json!("file"));
    file.rootfs.clear();
    std::fs::write(file.dir.join("file"), "").unwrap();
    let refusal = file.refused().await;
    assert!(refusal.contains("/file") && refusal.to_lowercase().contains("not a directory"), "{refusal}");
    let mut gone = Bundle::new();
    gone.rootfs = vec![bind_rootfs(&gone.dir.join("gone"))];
    let refusal = gone.refused().await;
    assert!(refusal.contains("/gone") && refusal.to_lowercase().contains("no such file or directory"), "{refusal}");
}
