//! No descriptor of the shim's reaches a program, neither open nor as a working directory (CVE-2024-21626: a leaked
//! descriptor of the host's /sys/fs/cgroup, and a `cwd` of `/proc/self/fd/N`).

use serde_json::json;
use tests::{Bundle, Container};

/// Tells where a program stands. Its root's identity and that of what is above its working directory.
const WHERE: &str = "pwd -P; readlink /proc/self/cwd; cd ../../../../..; stat -c %d:%i . /";

/// Asserts that the program stands inside of its root.
fn inside(said: &str) {
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[..2].iter().all(|path| path.starts_with('/')), "{said}");
    assert_eq!(lines[2], lines[3], "it can climb out: {said}");
}

#[tokio::test]
async fn a_working_directory_that_is_a_descriptor_is_refused() {
    let container = Container::sleeping(Bundle::new()).await;
    for process in ["self", "thread-self", "1"] {
        for number in 0..20 {
            let cwd = format!("/proc/{process}/fd/{number}");
            if process == "self" {
                let message = Bundle::new().set("/process/cwd", json!(cwd)).sh(WHERE).refused().await;
                assert!(message.contains("process.cwd") && message.contains(&cwd), "{message}");
            }
            let mut exec = container.process(&["/bin/sh", "-c", WHERE]);
            exec["cwd"] = json!(cwd);
            let failure = container.exec_process(&exec).await.expect_err(&cwd);
            assert!(failure.message.contains(&cwd) && failure.message.lines().count() == 1, "{failure:?}");
        }
    }
    container.end().await;
}

#[tokio::test]
async fn a_working_directory_behind_a_symlink_to_a_descriptor_is_refused() {
    for target in ["/proc/self/fd", "/proc/self/fd/7", "/proc/self/root", "/proc/self/cwd", "/proc/1/root"] {
        let link = |image: &std::path::Path| std::os::unix::fs::symlink(target, image.join("way")).unwrap();
        let bundle = Bundle::new().image_with(link).set("/process/cwd", json!("/way")).sh(WHERE);
        if target == "/proc/self/fd" {
            // A directory of the container's own procfs, and no way out.
            inside(bundle.run().await.ok());
        } else {
            let message = bundle.refused().await;
            assert!(message.contains("process.cwd") && message.contains("/way"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_working_directory_behind_a_plain_symlink_is_entered() {
    let link = |image: &std::path::Path| std::os::unix::fs::symlink("../../../tmp", image.join("way")).unwrap();
    let bundle = Bundle::new().image_with(link).set("/process/cwd", json!("/way"));
    let output = bundle.clone().sh(WHERE).run().await;
    inside(output.ok());
    assert!(output.ok().starts_with("/tmp\n"), "{output:?}");
}

#[tokio::test]
async fn a_program_has_its_three_streams_and_nothing_else() {
    let bundle = Bundle::new().with_inside();
    assert_eq!(bundle.args(&["/inside", "fds"]).run().await.ok(), "0 1 2");
    let container = Container::sleeping(Bundle::new().with_inside().all_capabilities()).await;
    assert_eq!(container.exec(&["/inside", "fds"]).await.ok(), "0 1 2");
    container.end().await;
}

#[tokio::test]
async fn an_init_that_waits_holds_no_directory() {
    let container = Container::create(Bundle::new()).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("/proc/{}/fd", container.pid)).unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap();
        assert!(!std::fs::metadata(entry.path()).is_ok_and(|file| file.is_dir()), "{} is open", target.display());
        seen += 1;
    }
    assert!(seen > 3, "its streams and its control socket");
    container.start().await.unwrap();
    container.end().await;
}
