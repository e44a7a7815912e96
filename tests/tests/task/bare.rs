//! A spec that says little: what is missing is made, and nothing is shared with the host for it. And what a container
//! reads is what is there.

use serde_json::{Value, json};
use tests::room::Room;
use tests::{Bundle, Container, place};

fn bare() -> Bundle {
    let bundle = Bundle::new().remove("/process/capabilities").remove("/linux/cgroupsPath").remove("/linux/resources");
    let mut bundle = bundle.set("/linux/namespaces", json!([{ "type": "mount" }]));
    let mounts =
        bundle.spec["mounts"].as_array().unwrap().iter().filter(|mount| mount["destination"] != "/sys").cloned();
    bundle.spec["mounts"] = Value::Array(mounts.collect());
    bundle
}

#[tokio::test]
async fn a_spec_that_names_only_the_mount_namespace_shares_nothing_with_the_host() {
    let room = Room::new();
    room.configure("[namespaces]\nmissing = \"private\"\n");
    let container = room.sleeping(bare()).await;
    let mut kinds = vec!["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"];
    kinds.extend(std::path::Path::new("/proc/self/ns/time").exists().then_some("time"));
    for kind in kinds {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of("self"), of(&container.pid.to_string()), "{kind}");
    }
    let own = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(own(&container.pid.to_string()).contains(&container.id()), "a cgroup of its own");
    let capabilities = container.sh("grep Cap /proc/self/status").await;
    assert!(capabilities.ok().lines().all(|line| line.ends_with("0000000000000000")), "{capabilities:?}");
    assert_eq!(container.sh("echo alive").await.ok(), "alive");
    container.end().await;
}

#[tokio::test]
async fn clocks_are_the_hosts() {
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let output = Bundle::new().args(&["/bin/date", "+%s"]).run().await;
    let after = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((before..=after).contains(&output.ok().parse().unwrap()), "{before} {after} {output:?}");
}

#[tokio::test]
async fn large_files_of_the_image_and_of_a_private_bind_are_read_whole() {
    use std::os::unix::fs::PermissionsExt;
    let mut block: Vec<u8> = (0..1 << 20).map(|at: u32| (at * 131 % 253) as u8).collect();
    block[0] = 1;
    let content = block.repeat(64);
    let private = place::new_dir("private").join("file");
    std::fs::write(&private, &content).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sum = tests::Output::from(std::process::Command::new("sha256sum").arg(&private).output().unwrap());
    let sum = sum.ok().split_whitespace().next().unwrap().to_owned();
    let bundle = Bundle::new().image_with(|image| std::fs::write(image.join("large"), &content).unwrap());
    let output = bundle.bind(&private, "/private", &["ro"]).args(&["/bin/sha256sum", "/large", "/private"]).run().await;
    assert_eq!(output.ok(), format!("{sum}  /large\n{sum}  /private"));
}

#[tokio::test]
async fn a_container_that_takes_more_memory_than_its_limit_is_killed() {
    let limited = |size: u32| {
        let script = format!("dd if=/dev/zero of=/dev/null bs={size}M count=1");
        // The shell's own exec: the killed process is the container's init.
        Bundle::new().set("/linux/resources/memory/limit", json!(128 << 20)).sh(&format!("exec {script}"))
    };
    assert_eq!(limited(300).run().await.status, 137);
    assert_eq!(limited(32).run().await.status, 0);
}

#[tokio::test]
async fn delete_answers_again_and_again_with_a_living_shim_with_a_dead_one_and_with_none() {
    use containerd_shim_protos::{api::DeleteResponse, protobuf::Message};
    let delete = |bundle: &Bundle| {
        let output = tests::shim::call_delete(&bundle.dir, &bundle.id);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        DeleteResponse::parse_from_bytes(&output.stdout).unwrap()
    };
    let never = Bundle::new();
    never.write();
    for _ in 0..2 {
        assert_eq!((delete(&never).pid, delete(&never).exit_status), (0, 137), "before any start");
    }
    for dead in [false, true] {
        let container = Container::sleeping(Bundle::new()).await;
        let (bundle, pid) = (container.bundle.clone(), container.pid);
        if dead {
            let shim = nix::unistd::Pid::from_raw(container.shim.pid as i32);
            nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        let response = delete(&bundle);
        assert_eq!((response.pid, response.exit_status), (pid, 137), "dead: {dead}");
        assert!(response.exited_at.seconds > 0);
        container.shim.gone().await;
        assert_eq!(delete(&bundle).pid, 0, "nothing is known of it any more");
        assert!(!bundle.dir.join("eci.json").exists());
    }
}
