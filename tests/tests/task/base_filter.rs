//! The base filter, by what calls do in containers that have no profile, or one that allows everything.

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container};

/// Every capability, and no filter of its own.
fn unconfined() -> Bundle {
    Bundle::new().with_inside().all_capabilities().set("/process/noNewPrivileges", json!(false))
}

/// Runs a verb of `/inside`; what it prints.
async fn say(container: &Container, verb: &str) -> String {
    let args: Vec<&str> = ["/inside"].into_iter().chain(verb.split(' ')).collect();
    container.exec(&args).await.stdout.trim().to_owned()
}

/// What the verb `kernel` says of these calls.
async fn kernel(container: &Container, names: &[&str]) -> Vec<String> {
    let said = container.exec(&["/inside", "kernel"]).await;
    let of = |name: &&str| said.ok().lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned);
    names.iter().map(|name| of(name).unwrap_or_else(|| panic!("{name}: {said:?}"))).collect()
}

/// What the kernel of the tests would do itself, and the filter does not let through.
const ROWS: [&str; 10] = [
    "socket-vsock",
    "socket-vsock-wide",
    "socket-qipcrtr",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "bpf",
    "perf_event_open",
    "open_by_handle_at",
    "open_by_handle_at-own",
];

#[tokio::test]
async fn it_holds_without_a_profile_and_beneath_one_that_allows_everything() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] });
    for (bundle, filters) in [
        (unconfined(), 2),
        (unconfined().set("/linux/seccomp", profile), 3),
        // Without CAP_SYS_ADMIN, which installing a filter takes, and as a user that has no capability at all.
        (Bundle::new().with_inside(), 2),
        (Bundle::new().with_inside().set("/process/noNewPrivileges", json!(false)), 2),
        (unconfined().set("/process/user", json!({ "uid": 1000, "gid": 1000 })), 2),
    ] {
        let container = Container::sleeping(bundle).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
        assert_eq!(super::process::status(&status, "Seccomp"), "2");
        assert_eq!(super::process::status(&status, "Seccomp_filters"), filters.to_string());
        for (name, said) in ROWS.iter().zip(kernel(&container, &ROWS).await) {
            assert_eq!(said, "EPERM", "{name}");
        }
        container.end().await;
    }
    let init = unconfined().args(&["/inside", "syscall", "41", "40", "1", "0"]).run().await;
    assert_eq!(init.failed().trim(), "EPERM", "init");
    let hook = Bundle::new().hook("startContainer", "/inside syscall 41 40 1 0 > /run/said; :").with_inside();
    assert_eq!(hook.sh("cat /run/said").run().await.ok(), "EPERM", "a hook of the container's");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn no_other_abi_leads_past_it() {
    let container = Container::sleeping(unconfined()).await;
    for (call, verb, answer) in [
        ("socketcall(SYS_SOCKET) of 32 bits", "syscall32 102 1 0", "ENOSYS"),
        ("socketcall(SYS_CONNECT) of 32 bits", "syscall32 102 3 0", "ENOSYS"),
        ("an AF_VSOCK socket of 32 bits", "syscall32 359 40 1 0", "EPERM"),
        ("an AF_INET socket of 32 bits", "syscall32 359 2 1 0", "ok"),
        ("bpf of 32 bits", "syscall32 357 0 0 0", "EPERM"),
        ("perf_event_open of 32 bits", "syscall32 336 0 0 0", "EPERM"),
        ("io_uring_setup of 32 bits", "syscall32 425 1 0", "EPERM"),
        ("open_by_handle_at of 32 bits", "syscall32 342 0 0 0", "EPERM"),
        // A kernel without x32 says ENOSYS to calls of which the filter knows nothing.
        ("an AF_VSOCK socket of x32", "syscall 0x40000029 40 1 0", "EPERM"),
        ("bpf of x32", "syscall 0x40000141 0 0 0", "EPERM"),
        ("io_uring_setup of x32", "syscall 0x400001a9 1 0", "EPERM"),
    ] {
        assert_eq!(say(&container, verb).await, answer, "{call}");
    }
    container.end().await;
}

#[tokio::test]
async fn what_harms_nobody_is_let_through() {
    let container = Container::sleeping(unconfined()).await;
    for domain in ["1 1 0", "2 1 0", "10 2 0", "16 3 0", "17 3 0"] {
        assert_eq!(say(&container, &format!("syscall 41 {domain}")).await, "ok", "socket({domain})");
    }
    assert_eq!(say(&container, "syscall 53 1 1 0 0").await, "EFAULT", "socketpair is looked at by the kernel");
    container.end().await;
}

#[tokio::test]
async fn the_filter_of_an_inner_engine_comes_on_top() {
    let container = Container::sleeping(unconfined()).await;
    assert_eq!(say(&container, "filtered syscall 41 2 1 0").await, "ok");
    assert_eq!(say(&container, "filtered syscall 41 40 1 0").await, "EPERM");
    assert_eq!(say(&container, "nested filtered filtered syscall 41 40 1 0").await, "EPERM");
    container.end().await;
}

#[tokio::test]
async fn io_uring_is_the_operators_to_allow() {
    let room = Room::new();
    room.configure("[container]\nio_uring = true\n");
    let container = room.sleeping(unconfined()).await;
    let said = kernel(&container, &["io_uring_setup", "socket-vsock", "bpf"]).await;
    assert_eq!(said, ["done", "EPERM", "EPERM"]);
    container.end().await;
}
