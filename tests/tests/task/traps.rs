//! Trapped calls (docs/syscalls.md), by what they do in containers.

use serde_json::json;
use tests::shim::How;
use tests::{Bundle, Container, place};

/// The limit of memory that these containers have.
const LIMIT: u64 = 96 << 20;

fn limited() -> Bundle {
    Bundle::new().with_inside().set("/linux/resources", json!({ "memory": { "limit": LIMIT } }))
}

/// What sysinfo(2) tells: uptime, memory, free memory, swap, processes.
fn machine(said: &str) -> [u64; 5] {
    let numbers: Vec<u64> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{said}"))
}

fn host_uptime() -> f64 {
    std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Whatever its rights are: a container that has all capabilities or none, another user, no new privileges.
#[tokio::test]
async fn sysinfo_tells_of_the_container_whoever_asks() {
    let no_new_privileges = |value: bool| limited().set("/process/noNewPrivileges", json!(value));
    for bundle in [
        limited(),
        no_new_privileges(true).capabilities(&[]),
        no_new_privileges(false).capabilities(&[]),
        no_new_privileges(false).all_capabilities(),
        limited().set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
    ] {
        let before = host_uptime();
        let output = bundle.clone().args(&["/inside", "sysinfo"]).run().await;
        let [uptime, memory, free, _, processes] = machine(output.ok());
        assert_eq!(memory, LIMIT);
        assert!(free > 0 && free < LIMIT, "{free}");
        assert!(uptime as f64 <= host_uptime() - before + 2.0, "{uptime}");
        assert!((1..50).contains(&processes), "{processes}");

        let container = Container::sleeping(bundle).await;
        assert_eq!(machine(container.exec(&["/inside", "sysinfo"]).await.ok())[1], LIMIT, "an exec");
        container.end().await;
    }
}

#[tokio::test]
async fn the_tools_that_ask_show_it() {
    let container = Container::sleeping(limited()).await;
    // The other columns are computed from /proc/meminfo as well.
    let free = container.sh("free | grep ^Mem:").await;
    assert!(free.ok().contains(&format!(" {}", LIMIT / 1024)), "{free:?}");
    let up = container.sh("uptime").await;
    assert!(up.ok().contains("up 0 min"), "{up:?}");
    // Another limit shows at once.
    container.update(&json!({ "memory": { "limit": 2 * LIMIT } })).await.unwrap();
    assert_eq!(machine(container.exec(&["/inside", "sysinfo"]).await.ok())[1], 2 * LIMIT);
    container.end().await;
    let unlimited = Bundle::new().with_inside().args(&["/inside", "sysinfo"]).run().await;
    let of_host = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = of_host.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(machine(unlimited.ok())[1], kib * 1024, "without a limit it is the host's");
}

#[tokio::test]
async fn it_holds_below_an_inner_engine_s_filter_and_in_its_containers() {
    let container = Container::sleeping(limited().all_capabilities()).await;
    for verb in ["filtered sysinfo", "nested sysinfo", "nested filtered sysinfo"] {
        let args: Vec<&str> = ["/inside"].into_iter().chain(verb.split(' ')).collect();
        let said = container.exec(&args).await;
        assert_eq!(machine(said.ok().lines().next().unwrap())[1], LIMIT, "{verb}");
    }
    container.end().await;
}

#[tokio::test]
async fn what_is_refused_above_is_not_served() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": ["sysinfo"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 }] });
    let output = limited().set("/linux/seccomp", profile).args(&["/inside", "sysinfo"]).run().await;
    assert_eq!(output.failed().trim(), "EXDEV");
}

#[tokio::test]
async fn mounts_are_made_as_the_kernel_makes_them() {
    let container = Container::sleeping(Bundle::new().all_capabilities().with_inside()).await;
    let script = "set -e; mkdir -p /tmp/a /tmp/b; mount -t tmpfs tmpfs /tmp/a; touch /tmp/a/file; mount -o remount,ro tmpfs /tmp/a; \
                  ! touch /tmp/a/other 2> /dev/null; mount --bind /tmp/a /tmp/b; ls /tmp/b; umount /tmp/b; umount /tmp/a; ls /tmp/a";
    assert_eq!(container.sh(script).await.ok(), "file");
    for (script, message) in [
        ("mount -t nosuchfs none /tmp", "No such device"),
        ("mount -t tmpfs none /nowhere", "No such file"),
        ("umount /tmp", "Invalid argument"),
        ("mknod /tmp/kmsg c 1 11", "Operation not permitted"),
        ("mknod /tmp/mem c 1 1", "Operation not permitted"),
    ] {
        let said = container.sh(script).await.failed();
        assert!(said.contains(message), "{script}: {said}");
    }
    container.end().await;
}

/// As in a container of eci's: a process tree has one listener.
#[tokio::test]
async fn below_another_listener_containers_run_without_traps_and_the_log_says_so() {
    let script = place::new_dir("listened").join("containerd-shim-eci-v2");
    let text = format!("#!/bin/sh\nexec {} listened {} \"$@\"\n", place::inside().display(), place::shim().display());
    place::script(&script, &text);
    let how = How { binary: script, ..How::default() };
    let container = Container::sleeping_as(limited().all_capabilities(), &how).await;
    let line = container.shim.logged("runs without traps").await;
    assert!(line.contains("busy"), "{line}");
    let of_host = rustix::system::sysinfo().totalram;
    assert_eq!(machine(container.exec(&["/inside", "sysinfo"]).await.ok())[1], of_host, "the kernel's answer");
    // BPF_OBJ_GET of nothing is EFAULT to the kernel, whoever asks: what nobody serves is refused after all.
    assert_eq!(container.exec(&["/inside", "syscall", "321", "7", "0", "0"]).await.failed().trim(), "EPERM");
    assert_eq!(
        container.sh("head -n 1 /proc/meminfo | tr -s ' '").await.ok(),
        format!("MemTotal: {} kB", LIMIT / 1024)
    );
    container.end().await;
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let container = Container::sleeping(limited().all_capabilities()).await;
    let script = "for i in $(seq 40); do (for j in 1 2 3 4 5; do mount -t proc none /nowhere 2> /dev/null; /inside sysinfo; done) & done; wait";
    let said = container.sh(script).await;
    assert_eq!(said.ok().lines().filter(|line| machine(line)[1] == LIMIT).count(), 200);
    container.end().await;
}

/// What a container's processes had answered is in the log of its end, at the level of debug messages.
#[tokio::test]
async fn the_log_tells_how_many_calls_were_trapped() {
    let debug = || How { debug: true, ..How::default() };
    let container = Container::sleeping_as(limited().all_capabilities(), &debug()).await;
    for _ in 0..3 {
        container.exec(&["/inside", "sysinfo"]).await.ok();
    }
    // A clone of a directory of its own is the kernel's, one of a procfs has the answer that leads tools away.
    container.sh("mkdir /tmp/a /tmp/b").await.ok();
    container.exec(&["/inside", "clone", "/tmp/a", "/tmp/b"]).await.ok();
    assert_eq!(container.exec(&["/inside", "clone", "/proc", "/tmp/b"]).await.failed().trim(), "ENOSYS");
    container.end().await;
    let line = container.shim.logged("traps: ").await;
    assert!(line.contains("level=debug") && line.contains("3 served, 1 continued, 1 refused"), "{line}");
    assert!(line.contains(&format!("container={}", container.id())), "{line}");
    // Of one that had none there is nothing to tell.
    let quiet = Container::sleeping_as(limited(), &debug()).await;
    quiet.end().await;
    quiet.shim.logged("msg=deleted").await;
    assert!(!quiet.shim.log().contains("traps: "), "{}", quiet.shim.log());
}

#[tokio::test]
async fn when_the_shim_is_killed_trapped_calls_fail_and_the_process_goes_on() {
    let script = "while :; do /inside sysinfo > /tmp/said; mv /tmp/said /tmp/last; sleep 0.1; done";
    let container = Container::started(limited().sh(script)).await;
    let last = container.bundle.clone();
    let said = move || {
        // In its writable layer, which it shares with no tmpfs.
        let text = std::fs::read_to_string(last.upper().join("tmp/last")).unwrap_or_default();
        text.trim().to_owned()
    };
    tests::until("an answer", || said().split(' ').count() == 5).await;
    let shim = rustix::process::Pid::from_raw(i32::try_from(container.shim.pid).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    tests::until("the kernel's answer", || said() == "ENOSYS").await;
    let deleted = tests::shim::call_delete(&container.bundle.dir, &container.bundle.id);
    assert!(deleted.status.success(), "{deleted:?}");
    let init = std::path::PathBuf::from(format!("/proc/{}", container.pid));
    tests::until("the end of init", || !init.exists()).await;
}
