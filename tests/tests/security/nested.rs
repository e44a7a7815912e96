//! Where runtimes that trap mounts to emulate files have been weak: a type in a remount, one file of a directory, old calls, mounts
//! below a bind mount, names of the host that show, procfs of inner tools, the end of the process that serves.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::{Bundle, Container, place, shim, until};

use crate::pulse;
use crate::traps::{act_stage, children};

fn bundle() -> Bundle {
    Bundle::new().all_capabilities().with_inside().set("/process/noNewPrivileges", json!(false))
}

/// A container with a directory of the host's at `/ro`, and its files.
async fn with_read_only() -> Container {
    let dir = place::new_dir("bound");
    fs::write(dir.join("file"), "of the host").unwrap();
    Container::sleeping(bundle().bind(&dir, "/ro", &["ro"])).await
}

#[tokio::test]
async fn no_type_and_no_single_file_makes_what_is_read_only_writable() {
    let container = with_read_only().await;
    for kind in ["proc", "sysfs", "tmpfs", "overlay"] {
        for options in ["remount,bind,rw", "remount,rw", "bind,rw"] {
            container.sh(&format!("mount -t {kind} -o {options} none /ro")).await.failed();
        }
    }
    let file = "touch /tmp/f && mount --bind /ro/file /tmp/f && ! mount -o remount,bind,rw /tmp/f 2> /dev/null && \
                ! mount -t proc -o remount,bind,rw none /tmp/f 2> /dev/null && cat /tmp/f && echo x > /tmp/f";
    let said = container.sh(file).await;
    assert!(said.stdout == "of the host" && said.stderr.contains("Read-only file system"), "{said:?}");
    let said = container.sh("echo x > /ro/new").await.failed();
    assert!(said.contains("Read-only file system"), "{said}");
    container.end().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn the_old_umount_takes_nothing_away() {
    let container = with_read_only().await;
    let refused = async |place| container.exec(&["/inside", "umount32", place]).await.failed().trim().to_owned();
    for place in ["/ro", "/sys/firmware", "/proc/keys", "/proc/meminfo", "/proc/sys"] {
        assert_eq!(refused(place).await, "EINVAL", "{place}");
    }
    for place in ["/proc", "/sys"] {
        assert_eq!(refused(place).await, "EBUSY", "{place}");
    }
    // It is served as the newer one is.
    container.sh("mkdir /tmp/p && mount -t proc proc /tmp/p && /inside umount32 /tmp/p && ! ls /tmp/p/self").await.ok();
    container.end().await;
}

#[tokio::test]
async fn mounts_below_a_read_only_bind_cannot_be_reached_around_it() {
    let dir = place::new_dir("bound");
    fs::create_dir(dir.join("sub")).unwrap();
    let below = dir.join("sub").display().to_string();
    place::sh(&format!("mount -t tmpfs tmpfs {below} && echo data > {below}/file")).ok();
    let container = Container::sleeping(bundle().bind(&dir, "/ro", &["ro", "rro"])).await;
    for script in [
        "echo x > /ro/sub/file",
        "mount -o remount,bind,rw /ro/sub; echo x > /ro/sub/file",
        "mkdir /tmp/a; mount --rbind /ro /tmp/a; mount -o remount,bind,rw /tmp/a/sub; echo x > /tmp/a/sub/file",
        "mkdir /tmp/b; mount --bind /ro/sub /tmp/b; mount -o remount,bind,rw /tmp/b; echo x > /tmp/b/file",
    ] {
        let said = container.sh(script).await;
        assert!(said.status != 0 && said.stderr.contains("Read-only file system"), "{script}: {said:?}");
    }
    assert_eq!(fs::read_to_string(dir.join("sub/file")).unwrap(), "data\n");
    container.end().await;
    place::sh(&format!("umount {below}")).ok();
}

#[tokio::test]
async fn names_are_the_containers_own() {
    let container = Container::sleeping(bundle().set("/hostname", json!("first"))).await;
    let read =
        "hostname; cat /proc/sys/kernel/hostname; ls /sys/class/net /sys/devices/virtual/net | grep -v : | sort -u";
    assert_eq!(container.sh(read).await.ok(), "first\nfirst\n\nlo");
    assert_eq!(container.sh(&format!("hostname other; {read}")).await.ok(), "other\nother\n\nlo");
    container.end().await;
}

#[tokio::test]
async fn inner_sandboxes_have_a_procfs_that_is_covered_too() {
    let memory = json!({ "memory": { "limit": 256 << 20 } });
    let container = Container::sleeping(bundle().set("/linux/resources", memory)).await;
    let look = "cat /proc/1/comm; wc -c < /proc/keys; head -n 1 /proc/meminfo | tr -s \" \"";
    let expected = "sh\n0\nMemTotal: 262144 kB";
    let shows = async |script: &str| {
        let said = container.sh(script).await;
        assert_eq!(said.ok(), expected, "{script}");
    };
    shows(&format!("unshare -Urpf --mount-proc sh -c '{look}'")).await;
    shows(&format!("unshare -pf --mount-proc sh -c '{look}'")).await;
    shows(&format!("unshare -Urpf --mount-proc unshare -Urpf --mount-proc sh -c '{look}'")).await;
    // As bubblewrap makes its tree: a tmpfs, a bind mount of the root, a new procfs, pivot_root(2).
    let sandbox = "mount -t tmpfs tmpfs /tmp && mkdir -p /tmp/new /tmp/old && mount --rbind / /tmp/new && \
                   mount -t proc proc /tmp/new/proc && cd /tmp/new && pivot_root . tmp && umount -l tmp && cd /";
    shows(&format!("unshare -Urmpf sh -c '{sandbox} && {look}'")).await;
    container.end().await;
}

#[tokio::test]
async fn a_shim_that_is_killed_takes_its_act_stage_along_and_holds_nobody_up() {
    let mounts = "mkdir -p /tmp/p && mount -t proc proc /tmp/p && head -c 8 /tmp/p/meminfo && umount /tmp/p";
    let other = Container::sleeping(bundle()).await;
    let container = Container::sleeping(bundle()).await;
    for one in [&other, &container] {
        assert_eq!(one.sh(mounts).await.ok(), "MemTotal");
    }
    let stage = act_stage(&container).await;
    // Somebody of its own is in the middle of it.
    let busy = container.process(&["/inside", "flood", "4", "1000", "0"]);
    container.add_process("e", &busy, &tests::stdio::Pipes::none()).await.unwrap();
    container.start_process("e").await.unwrap();
    let stages: Vec<u32> = [stage].into_iter().chain(children(stage)).collect();
    let pid = Pid::from_raw(i32::try_from(container.shim.pid).unwrap()).unwrap();
    let before = pulse::alone(&other).await;
    let end = async {
        kill_process(pid, Signal::KILL).unwrap();
        for pid in stages {
            until("the end of its act stage", || fs::metadata(format!("/proc/{pid}/root")).is_err()).await;
        }
        let deleted = shim::call_delete(&container.bundle.dir, &container.bundle.id);
        assert!(deleted.status.success(), "{deleted:?}");
        until("the end of init", || fs::metadata(format!("/proc/{}/root", container.pid)).is_err()).await;
    };
    let (meanwhile, ()) = pulse::beside(&other, end).await;
    println!("before a shim is killed: {before}; across it: {meanwhile}");
    meanwhile.goes_on();
    let next = Container::sleeping(bundle()).await;
    assert_eq!(next.sh(mounts).await.ok(), "MemTotal");
    next.end().await;
    other.end().await;
    tests::room::remove_layer(&container.bundle);
}
