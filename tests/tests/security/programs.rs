//! Device programs of a container's own engines (docs/syscalls.md): what bpf(2) gives, and all that it does not.

use std::path::{Path, PathBuf};

use serde_json::json;
use tests::groups::is_v2;
use tests::shim::How;
use tests::{Bundle, Container, Output};

/// A container with an inner engine, on cgroup v2 alone: its own group has a device program of ours.
async fn engine(bundle: Bundle) -> (Container, PathBuf) {
    let root = if is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/unified" };
    let group = Path::new(root).join("eci-tests").join(&bundle.id);
    (Container::sleeping_as(bundle, &How::default().on_unified()).await, group)
}

async fn inside(container: &Container, verb: &str) -> Output {
    let args: Vec<&str> = ["/inside"].into_iter().chain(verb.split(' ')).collect();
    container.exec(&args).await
}

#[tokio::test]
async fn an_inner_engine_limits_devices_of_its_groups() {
    let (container, _) = engine(Bundle::inner_engine().with_inside()).await;
    container.sh("mkdir /sys/fs/cgroup/c1").await.ok();
    let expected = "without done\nload done\nload in a thread done\nclose-on-exec 1\nattach done\ndenied EPERM\n\
        denied below EPERM\nallow below done\ndenied all the same EPERM\nquery done\nprograms 1\nby id done\ninfo done\n\
        it is inner, 1 0\nreplace done\nallowed done\nadd done\nquery for less ENOSPC\nprograms 2\ndetach done\n\
        detach again ENOENT\nallowed again done\nreplace nothing EBADF";
    for _ in 0..2 {
        let said = inside(&container, "device-program /sys/fs/cgroup/c1").await;
        assert_eq!(said.ok(), expected);
        container.sh("rmdir /sys/fs/cgroup/c1/below /sys/fs/cgroup/c1; mkdir /sys/fs/cgroup/c1").await.ok();
    }
    container.end().await;
}

/// What a container is told that may have device programs.
const REFUSED: &str = "load done\nits own group EPERM\nwhat its own group has EPERM\nand those above EPERM\n\
    detach from its own EPERM\nthe parent of its mount EBADF\nno group EBADF\nno descriptor EBADF\na socket filter EPERM\n\
    a kprobe EPERM\na cgroup's packets EPERM\na library's try done\nas a device's EINVAL\nas packets' EPERM\na helper EPERM\na loop EPERM\na pointer EACCES\na map EPERM\n\
    the next program EPERM\na link EPERM\nprograms 1";

#[tokio::test]
async fn nothing_above_its_own_groups_is_reached() {
    let (container, group) = engine(Bundle::inner_engine().with_inside()).await;
    assert_eq!(inside(&container, "bpf-refused /sys/fs/cgroup /sys/fs/cgroup/init.scope").await.ok(), REFUSED);
    // A group of its own that is mounted elsewhere is the same group, and a name for its own group is its own.
    container.sh("mkdir -p /sys/fs/cgroup/c1/c2 /a /b && mount --bind /sys/fs/cgroup/c1/c2 /a && mount --bind /sys/fs/cgroup /b").await.ok();
    assert_eq!(inside(&container, "attach /a").await.ok().trim(), "ok");
    assert_eq!(inside(&container, "attach /b").await.failed().trim(), "EPERM");
    assert_eq!(inside(&container, "attach /b/c1").await.ok().trim(), "ok");
    assert!(group.join("c1/c2").exists());
    container.end().await;
}

#[tokio::test]
async fn they_are_for_its_root_alone() {
    let (container, _) = engine(Bundle::inner_engine().with_inside()).await;
    container.sh("mkdir /sys/fs/cgroup/c1").await.ok();
    // Root of a user namespace inside is no root to it, and has no group either.
    for verb in ["nested attach /sys/fs/cgroup/c1", "nested nested attach /sys/fs/cgroup/c1"] {
        assert_eq!(inside(&container, verb).await.failed().trim(), "EPERM", "{verb}");
    }
    let mut user = container.process(&["/inside", "attach", "/sys/fs/cgroup/c1"]);
    user["user"] = json!({ "uid": 1000, "gid": 1000 });
    assert_eq!(container.exec_process(&user).await.unwrap().failed().trim(), "EPERM");
    container.end().await;

    // Whoever may not have them has the base filter's answer to everything.
    let (plain, _) = engine(Bundle::new().with_inside()).await;
    let said = inside(&plain, "bpf-refused / /").await;
    assert!(said.ok().lines().all(|line| line.ends_with(" EPERM") || line == "programs 0"), "{said:?}");
    plain.end().await;
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }] });
    let (refused, _) = engine(Bundle::inner_engine().with_inside().set("/linux/seccomp", profile)).await;
    assert_eq!(inside(&refused, "attach /sys/fs/cgroup/init.scope").await.failed().trim(), "ENOSYS");
    refused.end().await;
}

/// BPF_OBJ_GET of nothing is EFAULT to the kernel, whoever asks.
#[tokio::test]
async fn where_nothing_is_trapped_nothing_reaches_the_kernel() {
    let get = "/inside syscall 321 7 0 0";
    let hook = Bundle::inner_engine().hook("startContainer", &format!("{get} > /run/said; :")).with_inside();
    assert_eq!(hook.sh(&format!("cat /run/said; {get}; :")).run().await.ok(), "EPERM\nEPERM", "a hook, and init");
    let traced = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": ["getppid"], "action": "SCMP_ACT_TRACE" }] });
    let traced = Bundle::inner_engine().with_inside().set("/linux/seccomp", traced);
    assert_eq!(traced.sh(&format!("{get}; :")).run().await.ok(), "EPERM", "a profile that overrules traps");
}

#[tokio::test]
async fn there_is_a_bound_to_how_many_are_loaded() {
    let (container, _) = engine(Bundle::inner_engine().with_inside()).await;
    // Those of a process that has ended do not count.
    for _ in 0..2 {
        assert_eq!(inside(&container, "many-programs").await.ok().trim(), "1024 ENOMEM");
    }
    container.end().await;
}
