//! What the container may not undo, with every capability that it has: its initial mounts are locked by the kernel
//! (mount_namespaces(7)), whatever interface is used and however many namespaces are put below.

use serde_json::json;
use tests::{Bundle, Container, place};

/// A container with all capabilities, the helper, a directory `/ro` that is bound read-only, and a place `/free`.
async fn privileged() -> Container {
    let dir = place::new_dir("bound");
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/file"), "of the host").unwrap();
    let bundle = Bundle::new().all_capabilities().set("/process/noNewPrivileges", json!(false)).with_inside();
    let container =
        Container::sleeping(bundle.bind(&dir, "/ro", &["ro", "nosuid", "nodev", "noexec", "noatime"])).await;
    container.sh("mkdir /free").await.ok();
    container
}

/// The names of the errors that each of these acts of the helper meets.
async fn refusals(container: &Container, acts: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for act in acts {
        let args: Vec<&str> = ["/inside"].into_iter().chain(act.split(' ')).collect();
        let said = container.exec(&args).await.failed();
        names.push(format!("{act}: {}", said.trim()));
    }
    names
}

fn each(acts: &[&str], error: &str) -> Vec<String> {
    acts.iter().map(|act| format!("{act}: {error}")).collect()
}

async fn assert_read_only(container: &Container, path: &str) {
    for file in ["new", "sub/file"] {
        let said = container.sh(&format!("echo x > {path}/{file}")).await.failed();
        assert!(said.contains("Read-only file system"), "{said}");
    }
}

#[tokio::test]
async fn a_read_only_bind_never_becomes_writable() {
    let container = privileged().await;
    for command in [
        "mount -o remount,rw /ro",
        "mount -o remount,bind,rw /ro",
        "mount -o remount,bind,rw,nosuid,nodev,noexec,noatime /ro",
    ] {
        container.sh(command).await.failed();
        assert_read_only(&container, "/ro").await;
    }
    let acts = ["setattr-rw /ro", "setattr-rw-all /ro", "clone-rw /ro /free", "reconfigure /ro rw"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    let acts = ["nosuid", "nodev", "noexec", "atime"].map(|flag| format!("setattr-clear /ro {flag}"));
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    assert_read_only(&container, "/ro").await;
    container.end().await;
}

#[tokio::test]
async fn copies_of_a_read_only_bind_are_read_only_too() {
    let container = privileged().await;
    container.exec(&["/inside", "clone", "/ro", "/free"]).await.ok();
    assert_read_only(&container, "/free").await;
    let acts = ["setattr-rw /free", "nested setattr-rw /free", "reconfigure /free rw"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    container.sh("mount -o remount,bind,rw /free").await.failed();
    assert_read_only(&container, "/free").await;
    // The copy is the container's own: it may go.
    container.sh("umount /free && mount --bind /ro/sub /free && cat /free/file").await.ok();
    container.sh("mount -o remount,bind,rw /free").await.failed();
    assert!(container.sh("echo x > /free/file").await.failed().contains("Read-only"));
    container.end().await;
}

#[tokio::test]
async fn nested_namespaces_do_not_undo_a_lock() {
    let container = privileged().await;
    let acts = [
        "nested setattr-rw /ro",
        "nested setattr-rw-all /ro",
        "nested clone-rw /ro /free",
        "nested reconfigure /ro rw",
        "nested nested setattr-rw /ro",
    ];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    let nested = "unshare -U -r -m sh -c 'mount -o remount,bind,rw /ro || echo x > /ro/new'";
    assert!(container.sh(nested).await.failed().contains("Read-only file system"));
    // The same namespaces do have power over mounts of their own.
    container.sh("unshare -U -r -m sh -c 'mount -t tmpfs tmpfs /free && echo x > /free/new'").await.ok();
    assert_read_only(&container, "/ro").await;
    container.end().await;
}

#[tokio::test]
async fn initial_mounts_are_neither_unmounted_nor_moved() {
    let container = privileged().await;
    for path in ["/ro", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/run", "/inside", "/proc/sys", "/"] {
        for command in ["umount", "umount -l"] {
            let output = container.sh(&format!("{command} {path}")).await;
            // As on a machine, where somebody always uses them.
            let expected = if ["/proc", "/sys"].contains(&path) { "busy" } else { "Invalid argument" };
            assert!(output.failed().contains(expected), "{command} {path}: {output:?}");
        }
    }
    let acts = ["move /ro /free", "nested move /ro /free"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EINVAL"));
    // By a trap: mount(2) serves the clone, and the remount that an open_tree begins.
    let acts = ["move /proc /free", "clone /proc /free", "clone / /free"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "ENOSYS"));
    container.sh("cat /ro/sub/file").await.ok();
    container.end().await;
}

#[tokio::test]
async fn masks_are_not_taken_away() {
    let container = privileged().await;
    for path in ["/proc/keys", "/sys/firmware"] {
        for command in ["umount", "umount -l", "unshare -U -r -m umount", "mount -o remount,bind,rw"] {
            container.sh(&format!("{command} {path}")).await.failed();
        }
    }
    let acts = ["move /sys/firmware /free", "move /proc/keys /inside", "nested move /sys/firmware /free"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "ENOSYS"));
    // A recursive copy takes its masks along, locked.
    container.exec(&["/inside", "clone-all", "/sys", "/free"]).await.ok();
    container.sh("umount /free/firmware").await.failed();
    assert_eq!(container.sh("ls -A /sys/firmware /free/firmware | grep -v :; cat /proc/keys").await.ok(), "");
    container.end().await;
}

#[tokio::test]
async fn read_only_paths_of_proc_stay_read_only() {
    let container = privileged().await;
    for path in ["/proc/sys", "/proc/irq", "/proc/fs"] {
        let acts = [format!("setattr-rw {path}"), format!("nested setattr-rw {path}")];
        let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
        assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    }
    let said = container.sh("echo 1 > /proc/sys/net/ipv4/ip_forward").await.failed();
    assert!(said.contains("Read-only file system"), "{said}");
    container.end().await;
}

#[tokio::test]
async fn a_read_only_root_stays_read_only() {
    let bundle = Bundle::new().all_capabilities().with_inside().set("/root/readonly", json!(true));
    let container = Container::sleeping(bundle).await;
    let acts = ["setattr-rw /", "nested setattr-rw /", "reconfigure / rw", "reconfigure / ro"];
    assert_eq!(refusals(&container, &acts).await, each(&acts, "EPERM"));
    container.sh("mount -o remount,rw /").await.failed();
    assert!(container.sh("echo x > /new").await.failed().contains("Read-only file system"));
    container.end().await;
}

#[tokio::test]
async fn a_tmpfs_of_the_containers_own_goes_read_only_and_writable() {
    let container = privileged().await;
    let script = "mount -t tmpfs tmpfs /free && echo x > /free/a
        mount -o remount,ro tmpfs /free && ! echo x > /free/b 2> /dev/null
        mount -o remount,rw tmpfs /free && echo x > /free/c
        /inside setattr-ro /free && ! echo x > /free/d 2> /dev/null
        /inside setattr-rw /free && echo x > /free/e
        /inside reconfigure /free ro && ! echo x > /free/f 2> /dev/null
        /inside reconfigure /free rw && echo x > /free/g
        ls /free; umount /free; ls /free";
    let output = container.sh(&format!("set -e; {script}")).await;
    let files: Vec<_> = output.ok().lines().filter(|line| *line != "ok").collect();
    assert_eq!(files, ["a", "c", "e", "g"]);
    container.end().await;
}

#[tokio::test]
async fn what_is_given_may_be_made_stricter() {
    let container = privileged().await;
    let script = "set -e; mount -o remount,bind,ro,nosuid,nodev,noexec /dev/shm; ! echo x > /dev/shm/a 2> /dev/null
        mount -t tmpfs tmpfs /ro; echo x > /ro/over; umount /ro; cat /ro/sub/file";
    assert_eq!(container.sh(script).await.ok(), "of the host");
    container.end().await;
}
