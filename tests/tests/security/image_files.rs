//! Files of an image that are without end cost neither memory nor time of ours (CVE-2026-47262: a group file was read whole).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use tests::{Bundle, Container, stdio, until};

use crate::canary::Make;

/// How much more memory the shim may have needed at its peak, in kB, than with a usual image: the files are thousands of times
/// as large.
const MORE: u64 = 4096;

/// The most memory that a process has had, in kB (`VmHWM` of proc_pid_status(5)).
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn forms() -> Vec<(&'static str, Make<'static>)> {
    let link = |target: &'static str| Box::new(move |file: &Path| symlink(target, file).unwrap()) as Make<'_>;
    let sparse = |file: &Path| fs::File::create(file).unwrap().set_len(1 << 30).unwrap();
    let line = |file: &Path| fs::write(file, format!("user:x:1000:1000:{}", "x".repeat(16 << 20))).unwrap();
    let lines =
        |file: &Path| fs::write(file, "group:x:1000:user,user,user,user,user,user,user\n".repeat(300_000)).unwrap();
    vec![
        ("a gibibyte of nothing", Box::new(sparse)),
        ("a line without an end", Box::new(line)),
        ("lines without an end", Box::new(lines)),
        ("a fifo", Box::new(stdio::fifo)),
        ("/dev/zero", link("/dev/zero")),
        ("/proc/kmsg", link("/proc/kmsg")),
        ("/proc/self/mem", link("/proc/self/mem")),
    ]
}

/// A process that has to be told its `HOME`.
const SCRIPT: &str = "echo $HOME; awk '/^[UG]id:/ { print $2 } /^Groups:/ { print NF }' /proc/self/status";

fn bundle(make: &Make<'_>) -> Bundle {
    let bundle = Bundle::new().image_with(|image| {
        for name in ["passwd", "group", "shadow", "nsswitch.conf", "hosts", "resolv.conf", "localtime"] {
            let file = image.join("etc").join(name);
            let _ = fs::remove_file(&file);
            make(&file);
        }
    });
    // A stage that read such a file would not survive this limit either.
    bundle
        .set("/process/env", json!(["PATH=/bin"]))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000, "username": "user" }))
        .set("/linux/resources/memory", json!({ "limit": 64 << 20 }))
}

#[tokio::test]
async fn user_and_group_files_without_end_are_not_read() {
    let plain: Make<'_> = Box::new(|file: &Path| fs::write(file, "\n").unwrap());
    let first = Container::sleeping(bundle(&plain)).await;
    let exec = first.process(&["/bin/sh", "-c", SCRIPT]);
    assert_eq!(first.exec_process(&exec).await.unwrap().ok(), "/\n1000\n1000\n1");
    let usual = peak(first.shim.pid);
    for (form, make) in forms() {
        let pipes = stdio::Pipes::output();
        let mut container =
            Container::create_in(&first.shim, bundle(&make).sh(&format!("{SCRIPT}; exec sleep 1000")), pipes)
                .await
                .unwrap();
        container.start().await.unwrap();
        let exec = container.process(&["/bin/sh", "-c", SCRIPT]);
        assert_eq!(container.exec_process(&exec).await.unwrap().ok(), "/\n1000\n1000\n1", "{form}");
        let name = || fs::read_to_string(format!("/proc/{}/comm", container.pid)).unwrap_or_default();
        until("it has said all", || name() == "sleep\n").await;
        container.kill("", 9, true).await.unwrap();
        assert_eq!(container.output().await.stdout, "/\n1000\n1000\n1\n", "{form}");
        container.delete().await.unwrap();
    }
    let most = peak(first.shim.pid);
    println!("VmHWM of the shim: {usual} kB with a usual image, {most} kB with all");
    assert!(most <= usual + MORE, "{usual} kB, then {most} kB");
    first.end().await;
}
