//! `/dev`: the default nodes, the spec's devices, their owners, and what the device cgroup lets them do.

use serde_json::{Value, json};
use tests::stdio::Pipes;
use tests::{Bundle, Container};

/// A device of a spec, with the rule that allows it.
fn device(bundle: Bundle, path: &str, kind: &str, major: u32, minor: u32, more: Value) -> Bundle {
    let mut node = json!({ "path": path, "type": kind, "major": major, "minor": minor });
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bundle.push("/linux/devices", node).push(
        "/linux/resources/devices",
        json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" }),
    )
}

const SHOW: &str = "stat -c '%n %F %t:%T %a %u:%g'";

#[tokio::test]
async fn the_default_nodes_are_there_and_the_containers() {
    let container = Container::sleeping(Bundle::new()).await;
    let nodes = container.sh(&format!("cd /dev; {SHOW} null zero full random urandom tty")).await;
    let expected =
        [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")];
    let expected = expected.map(|(name, number)| format!("{name} character special file {number} 666 0:0"));
    assert_eq!(nodes.ok(), expected.join("\n"));
    let links = container.sh("cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done").await;
    assert_eq!(links.ok(), "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx");
    container.end().await;
}

#[tokio::test]
async fn the_default_nodes_do_what_they_are_for() {
    let script = "set -e; echo gone > /dev/null; head -c 3 /dev/zero | wc -c; ! echo x > /dev/full; head -c 3 /dev/urandom | wc -c
        head -c 3 /dev/random | wc -c; echo said > /dev/stdout";
    let user = json!({ "uid": 1000, "gid": 1000 });
    let output = Bundle::new().set("/process/user", user).sh(script).run().await;
    assert_eq!(output.ok(), "3\n3\n3\nsaid");
    assert!(output.stderr.contains("No space left on device"), "{output:?}");
}

#[tokio::test]
async fn a_pseudo_terminal_is_of_the_containers_own_devpts() {
    let output = Bundle::new().with_inside().args(&["/inside", "pty"]).run().await;
    assert_eq!(output.ok(), "/dev/pts/0");
}

#[tokio::test]
async fn fuse_and_tun_are_owned_by_the_containers_root_and_work() {
    let owned = json!({ "uid": 7, "gid": 7, "fileMode": 0o660 });
    let bundle = device(Bundle::new(), "/dev/fuse", "c", 10, 229, owned.clone());
    let bundle = device(bundle, "/dev/net/tun", "c", 10, 200, owned).all_capabilities().with_inside();
    let container = Container::sleeping(bundle).await;
    let nodes = container.sh(&format!("{SHOW} /dev/fuse /dev/net/tun")).await;
    let node = |name: &str, number: &str| format!("{name} character special file {number} 660 0:0");
    assert_eq!(nodes.ok(), [node("/dev/fuse", "a:e5"), node("/dev/net/tun", "a:c8")].join("\n"));
    container.exec(&["/inside", "open", "/dev/fuse", "rw"]).await.ok();
    container.exec(&["/inside", "tun", "tun0"]).await.ok();
    container.end().await;
}

#[tokio::test]
async fn another_device_keeps_the_hosts_owner_and_mode() {
    // kmsg: its owner on the host is root, who is nobody in the container.
    let closed =
        device(Bundle::new(), "/dev/log-of-the-kernel", "c", 1, 11, json!({ "fileMode": 0o600, "uid": 0, "gid": 0 }));
    let both = device(closed, "/dev/for-all", "c", 1, 5, json!({ "fileMode": 0o600 }));
    let container = Container::sleeping(both.all_capabilities().with_inside()).await;
    let nodes = container.sh(&format!("cd /dev; {SHOW} log-of-the-kernel for-all")).await;
    let expected =
        "log-of-the-kernel character special file 1:b 600 65534:65534\nfor-all character special file 1:5 600 0:0";
    assert_eq!(nodes.ok(), expected);
    let closed = container.exec(&["/inside", "open", "/dev/log-of-the-kernel", "r"]).await;
    assert_eq!(closed.failed().trim(), "EACCES");
    container.exec(&["/inside", "open", "/dev/for-all", "r"]).await.ok();
    container.sh("chmod 666 /dev/log-of-the-kernel").await.failed();
    container.end().await;

    // With a mode that is for everybody it can be used.
    let opened = device(Bundle::new(), "/dev/log-of-the-kernel", "c", 1, 11, json!({ "fileMode": 0o666 }));
    let output = opened.with_inside().args(&["/inside", "open", "/dev/log-of-the-kernel", "w"]).run().await;
    output.ok();
}

#[tokio::test]
async fn a_device_that_the_host_does_not_have_is_owned_inside_as_the_spec_says() {
    let owned = json!({ "uid": 11, "gid": 22, "fileMode": 0o664 });
    let output = device(Bundle::new(), "/dev/pie", "c", 31, 41, owned).sh(&format!("{SHOW} /dev/pie")).run().await;
    assert_eq!(output.ok(), "/dev/pie character special file 1f:29 664 11:22");
    let outside = json!({ "uid": 65536, "gid": 0 });
    let refused = device(Bundle::new(), "/dev/pie", "c", 31, 41, outside).refused().await;
    assert!(refused.contains("linux.devices") && refused.contains("65536"), "{refused}");
}

#[tokio::test]
async fn a_device_without_a_rule_is_not_opened() {
    let node = json!({ "path": "/dev/kernel", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
    let bundle = Bundle::new().push("/linux/devices", node).all_capabilities().with_inside();
    let output = bundle.args(&["/inside", "open", "/dev/kernel", "w"]).run().await;
    assert_eq!(output.failed().trim(), "EPERM");
}

#[tokio::test]
async fn rules_say_which_access_a_device_allows() {
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" });
    let node = json!({ "path": "/dev/kernel", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
    let bundle = Bundle::new().push("/linux/devices", node).push("/linux/resources/devices", rule).with_inside();
    let container = Container::sleeping(bundle).await;
    container.exec(&["/inside", "open", "/dev/kernel", "w"]).await.ok();
    for access in ["r", "rw"] {
        assert_eq!(container.exec(&["/inside", "open", "/dev/kernel", access]).await.failed().trim(), "EPERM");
    }
    container.end().await;
}

#[tokio::test]
async fn a_container_makes_nodes_of_harmless_devices_that_it_has() {
    let script = "for dir in / /dev /run; do mknod $dir/made c 10 229 && : < $dir/made && echo made; mknod $dir/kmsg c 1 11 && echo made;
        mknod $dir/disk b 8 0 && echo made; done; mknod /pipe p; true";
    let bundle = Bundle::new().all_capabilities();
    let output = bundle.clone().sh(script).run().await;
    assert_eq!((output.ok(), output.stderr.matches("Operation not permitted").count()), ("", 9), "{output:?}");
    let bundle = device(bundle, "/dev/fuse", "c", 10, 229, json!({}));
    let output = bundle.clone().sh(script).run().await;
    let refused = output.stderr.matches("Operation not permitted").count();
    assert_eq!((output.ok(), refused), ("made\nmade\nmade", 6), "{output:?}");
    assert!(bundle.upper().join("pipe").exists());
}

#[tokio::test]
async fn a_device_may_lie_outside_dev() {
    let bundle = device(Bundle::new(), "/opt/devices/zero", "c", 1, 5, json!({}));
    let output =
        bundle.clone().sh(&format!("{SHOW} /opt/devices/zero; head -c 3 /opt/devices/zero | wc -c")).run().await;
    assert_eq!(output.ok(), "/opt/devices/zero character special file 1:5 666 0:0\n3");
    // What is left in the container's layer is an empty file, no node.
    let left = std::fs::symlink_metadata(bundle.upper().join("opt/devices/zero")).unwrap();
    assert!(left.is_file() && left.len() == 0);
}

#[tokio::test]
async fn a_device_in_the_place_of_a_default_one_is_refused() {
    let refusal = device(Bundle::new(), "/dev/null", "b", 8, 0, json!({})).refused().await;
    let reason = "linux.devices[0].path: \"/dev/null\" is the place of the container's own device 1:3";
    assert!(refusal.ends_with(reason), "{refusal}");
    let refusal = Bundle::new().push("/linux/devices", json!({ "path": "/dev/../x", "type": "c" })).refused().await;
    assert!(refusal.ends_with("linux.devices[0].path: \"/dev/../x\" has a .. component"), "{refusal}");
    // The default one itself is nothing to complain of.
    let output = device(Bundle::new(), "/dev/null", "c", 1, 3, json!({})).sh("echo x > /dev/null").run().await;
    output.ok();
}

#[tokio::test]
async fn the_console_is_the_terminal() {
    let bundle =
        Bundle::new().sh("tty; stat -c %F /dev/console; stat -c %u:%g $(tty); echo to the console > /dev/console");
    let bundle = bundle.set("/process/terminal", json!(true));
    let mut container = Container::create_with(bundle, Pipes::terminal()).await.unwrap();
    container.start().await.unwrap();
    let output = container.output().await;
    let lines: Vec<&str> = output.ok().lines().map(str::trim).collect();
    assert_eq!(lines[0], "/dev/pts/0");
    assert_eq!(lines[1], "character special file");
    assert!(lines[2].starts_with("0:"), "{output:?}");
    assert_eq!(lines[3], "to the console");
    container.end().await;
}

#[tokio::test]
async fn without_a_terminal_there_is_no_console() {
    let said = Bundle::new().sh("ls /dev/console; tty").run().await.failed();
    assert!(said.contains("/dev/console: No such file") && said.contains("not a tty"), "{said}");
}

#[tokio::test]
async fn a_container_without_a_dev_of_its_spec_has_one_all_the_same() {
    let mut bundle = Bundle::new();
    bundle.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let output = bundle.clone().sh("echo x > /dev/null; awk '$5 == \"/dev\"' /proc/self/mountinfo").run().await;
    assert!(output.ok().contains(" - tmpfs "), "{output:?}");
    assert!(!bundle.upper().join("dev/null").exists(), "no node in the image's tree");
}
