//! Attacks on what is done on behalf of a container's processes (docs/syscalls.md): memory and paths that change between the look and
//! the act, rights that change hands, callers of every kind, floods.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::shim::PATIENCE;
use tests::{Bundle, Container, Output, until};

/// A container whose root has every capability.
pub(crate) fn bundle() -> Bundle {
    let limited = json!({ "memory": { "limit": 512 << 20 } });
    Bundle::new()
        .all_capabilities()
        .with_inside()
        .set("/process/noNewPrivileges", json!(false))
        .set("/linux/resources", limited)
}

/// For how many seconds something goes on: `ECI_SOAK` makes it longer.
pub(crate) fn seconds(short: u32) -> u32 {
    if std::env::var_os("ECI_SOAK").is_some() { 60 } else { short }
}

pub(crate) async fn inside(container: &Container, verb: &str) -> Output {
    let args: Vec<&str> = ["/inside"].into_iter().chain(verb.split(' ')).collect();
    container.exec(&args).await
}

pub(crate) fn numbers(said: &str) -> Vec<i64> {
    said.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("{said}"))).collect()
}

/// Descriptors of a process, by what they are.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).map(|fds| fds.flatten().collect()).unwrap_or_else(|_| vec![]);
    entries.iter().filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// Its descriptors that answer for the kernel: FUSE devices and listeners.
fn answers(pid: u32) -> usize {
    let device = fs::metadata("/dev/fuse").unwrap().rdev();
    // None of a process that has ended.
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|fd| fd.path());
    let is_device = |fd: &PathBuf| fs::metadata(fd).is_ok_and(|file| file.rdev() == device);
    let is_listener =
        |fd: &PathBuf| fs::read_link(fd).is_ok_and(|name| name.to_string_lossy().contains("seccomp notify"));
    fds.filter(|fd| is_device(fd) || is_listener(fd)).count()
}

pub(crate) fn status(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

pub(crate) fn children(parent: u32) -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| status(*pid, "PPid").is_some_and(|its| its == parent.to_string())).collect()
}

/// The act stage of a container's shim, of which it is the only one. (The stage of an exec may end after its process.)
pub(crate) async fn act_stage(container: &Container) -> u32 {
    let mut stages = Vec::new();
    until("one stage is left", || {
        stages = children(container.shim.pid).into_iter().filter(|pid| *pid != container.pid).collect();
        stages.len() == 1
    })
    .await;
    stages[0]
}

/// Has the stage started, by a mount that only it can make.
pub(crate) async fn with_stage(bundle: Bundle) -> (Container, u32) {
    let container = Container::sleeping(bundle).await;
    mounts(&container).await.ok();
    let stage = act_stage(&container).await;
    (container, stage)
}

async fn mounts(container: &Container) -> Output {
    container.sh("mkdir -p /tmp/p && mount -t proc proc /tmp/p && umount /tmp/p").await
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// The children of an act stage that has nothing to do: the process of its next act, and who takes away what acts leave.
pub(crate) const KEPT: usize = 2;

#[tokio::test]
async fn whatever_changes_between_the_look_and_the_act_nothing_is_unmasked() {
    let container = Container::sleeping(bundle()).await;
    let said = inside(&container, &format!("mount-race {}", seconds(3))).await;
    let [worked, procs, bare, left, nodes, wrong] = numbers(said.ok())[..] else { panic!("{said:?}") };
    println!("{worked} calls worked, {procs} procfs and {nodes} nodes were seen");
    assert!(worked > 2 && procs > 2 && nodes > 2, "{said:?}");
    assert_eq!((bare, left), (0, 0), "procfs without covers, mounts that are left over: {said:?}");
    assert_eq!(wrong, 0, "nodes that are not of null: {said:?}");
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(" /tmp/r"), "{host}");
    assert_eq!(container.sh("wc -c < /proc/keys; head -c 8 /proc/meminfo").await.ok(), "0\nMemTotal");
    container.end().await;
}

/// Whoever is looked at late may have become somebody else: here the act stage is stopped meanwhile, as load would do it.
#[tokio::test]
async fn nothing_is_done_with_the_rights_of_a_program_that_the_caller_became() {
    let (container, stage) = with_stage(bundle()).await;
    container.sh("cp /inside /tmp/suid && chmod 4755 /tmp/suid").await.ok();
    send(stage, Signal::STOP);
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        send(stage, Signal::CONT);
    };
    let (said, ()) = tokio::join!(inside(&container, "takeover 5000"), late);
    assert_eq!(said.ok(), "0\nnothing");
    assert_eq!(act_stage(&container).await, stage, "it has looked");
    container.end().await;
}

/// `subset=pid` hides what is masked, until its owner takes it back.
#[tokio::test]
async fn what_a_subset_hides_stays_masked() {
    let shows = "head -c 8 PLACE/meminfo; wc -c < PLACE/keys; ls PLACE/acpi PLACE/scsi 2> /dev/null | grep -vc :";
    let container = Container::sleeping(bundle()).await;
    let script = "mkdir /tmp/p; mount -t proc -o subset=pid proc /tmp/p; ls /tmp/p | grep -c meminfo; /inside subset /tmp/p; \
                  ls /tmp/p | grep -c meminfo; ";
    let said = container.sh(&format!("{script}{}; true", shows.replace("PLACE", "/tmp/p"))).await;
    assert!(said.ok().starts_with("0\nok\n1\nMemTotal0\n"), "{said:?}");
    let total = "awk '/MemTotal/ { print $2 }' /tmp/p/meminfo";
    assert_eq!(container.sh(total).await.ok(), (512 << 10).to_string(), "it is emulated");
    container.end().await;

    let with_subset = bundle().set("/mounts/0/options", json!(["nosuid", "noexec", "nodev", "subset=pid"]));
    let container = Container::sleeping(with_subset).await;
    let script = format!("ls /proc | grep -c meminfo; /inside subset /proc; {}; true", shows.replace("PLACE", "/proc"));
    let said = container.sh(&script).await;
    assert!(said.ok().starts_with("0\nok\nMemTotal0\n"), "{said:?}");
    let own = container.sh(&total.replace("/tmp/p", "/proc")).await;
    assert_eq!(own.ok(), (512 << 10).to_string(), "it is emulated");
    container.end().await;
}

#[tokio::test]
async fn callers_of_every_kind_are_served_or_refused() {
    let container = Container::sleeping(bundle()).await;
    let said = inside(&container, "callers").await;
    // A procfs, its remount, a clone of it, a bind mount of it, their umount, a node of null, bpf(2). Of a procfs a clone is what tools
    // are led away from; of a directory it is the kernel's.
    const SERVED: &str = "done done ENOSYS done done done EPERM";
    let kinds = [
        ("leader", SERVED),
        ("thread", SERVED),
        ("vfork", SERVED),
        ("chrooted", SERVED),
        ("undumpable", SERVED),
        ("mount-namespace", SERVED),
        ("pid-namespace", SERVED),
        // It cannot write where the node would be.
        ("other-user", "EPERM EPERM EPERM EPERM EPERM EACCES EPERM"),
        ("no-capabilities", "EPERM EPERM EPERM EPERM EPERM EPERM EPERM"),
        // Nodes and programs are for the container's own root.
        ("nested", "done done ENOSYS done done EPERM EPERM"),
        ("nested-without-pid", "EPERM EINVAL done done EINVAL EPERM EPERM"),
        ("no-descriptors", SERVED),
        ("lost-directory", "ENOENT EINVAL done ENOENT EINVAL done EPERM"),
        ("no-new-privileges", SERVED),
    ];
    let kinds = kinds.map(|(kind, outcome)| format!("{kind} {outcome}"));
    assert_eq!(said.ok().lines().collect::<Vec<_>>(), kinds);
    container.end().await;
}

#[tokio::test]
async fn a_storm_of_signals_and_violent_ends_leave_nobody_stuck_and_nothing_behind() {
    let (container, stage) = with_stage(bundle()).await;
    let shim = container.shim.pid;
    let now = || [descriptors(shim).len(), descriptors(stage).len()];
    // An exec's own may be open for a moment longer.
    until("the execs' are closed", || answers(shim) == 3).await;
    until("the stage has what it keeps", || children(stage).len() == KEPT).await;
    let before = now();
    let said = inside(&container, &format!("flood 4 {} 500", seconds(2))).await;
    let [done, failed, why] = said.ok().split(' ').collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    assert!(done.parse::<u32>().unwrap() > 2 && failed == "0", "{done} worked, {failed} did not: {why}");
    let count = if std::env::var_os("ECI_SOAK").is_some() { 1000 } else { 60 };
    assert_eq!(inside(&container, &format!("struck {count}")).await.ok(), count.to_string());
    assert_eq!(act_stage(&container).await, stage, "it lives");
    until("no act's child is left", || children(stage).len() == KEPT).await;
    until("the descriptors are as before", || now() == before).await;
    mounts(&container).await.ok();
    container.end().await;
}

#[tokio::test]
async fn strings_are_refused_as_the_kernel_refuses_them() {
    let container = Container::sleeping(bundle()).await;
    let said = inside(&container, "bad-strings").await;
    let lines: Vec<&str> = said.ok().lines().collect();
    assert_eq!(
        lines,
        [
            "unended-type EFAULT",
            "unmapped-type EFAULT",
            "long-type EINVAL",
            "null-type EINVAL",
            "kernel-type EFAULT",
            "unended-target EFAULT",
            "unmapped-target EFAULT",
            "long-target ENAMETOOLONG",
            "null-target EFAULT",
            "long-source EINVAL",
            "unmapped-source EFAULT",
            "unmapped-data EFAULT",
            "long-data EINVAL",
            "type-at-the-end ENOENT",
            "longest-target ENOENT",
            "sysinfo-null EFAULT",
            "sysinfo-border EFAULT",
            "umount-unmapped EFAULT",
            "mknod-unended EFAULT",
            "open_tree-unmapped EFAULT",
            "fsopen-unended EFAULT",
        ]
    );
    container.end().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn every_abi_is_answered_alike() {
    let container = Container::sleeping(bundle()).await;
    let said = inside(&container, "abis").await;
    let lines: Vec<(&str, &str)> = said.ok().lines().map(|line| line.split_once(':').unwrap()).collect();
    let [("x86-64", native), ("i386", narrow), ("x32", x32)] = lines[..] else { panic!("{said:?}") };
    let expected = " done done done done done done done ENOSYS ENOSYS ENOSYS done done done 536870912";
    // The native row calls umount2(2), of which the kernel has no other.
    assert_eq!(native, expected);
    assert_eq!(narrow, expected);
    // A kernel without x32 knows none of them.
    let none = " ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS";
    assert!(x32 == expected || x32.starts_with(none), "{x32}");
    container.end().await;
}

#[tokio::test]
async fn only_the_shim_has_what_answers() {
    let (container, stage) = with_stage(bundle()).await;
    // Init's listener and two devices.
    until("the first exec's listener is closed", || answers(container.shim.pid) == 3).await;
    let exec = container.process(&["/bin/sleep", "1000"]);
    container.add_process("e", &exec, &tests::stdio::Pipes::none()).await.unwrap();
    let exec = container.start_process("e").await.unwrap();
    assert_eq!(answers(container.shim.pid), 4);
    for pid in [container.pid, exec, stage].into_iter().chain(children(stage)) {
        assert_eq!(answers(pid), 0, "{pid}: {:?}", descriptors(pid));
    }
    container.kill("e", 9, false).await.unwrap();
    container.wait_process("e").await.unwrap();
    container.delete_process("e").await.unwrap();
    until("the exec's listener is closed", || answers(container.shim.pid) == 3).await;
    container.end().await;
}

#[tokio::test]
async fn the_act_stage_has_no_host_and_is_not_seen_inside() {
    let (container, stage) = with_stage(bundle()).await;
    let mounts = fs::read_to_string(format!("/proc/{stage}/mountinfo")).unwrap();
    let mut kinds: Vec<&str> = mounts.lines().filter_map(|line| line.split_once(" - ")?.1.split(' ').next()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["fuse", "tmpfs"], "{mounts}");
    let names: BTreeSet<_> =
        fs::read_dir(format!("/proc/{stage}/root")).unwrap().flatten().map(|it| it.file_name()).collect();
    assert!(!names.iter().any(|name| ["etc", "usr", "proc", "root"].iter().any(|host| *host == name)), "{names:?}");
    // Neither it nor what it forks has a name inside.
    let flood = async { inside(&container, "flood 4 3 0").await };
    let spy = async { container.sh("(sleep 2; touch /tmp/enough) & /inside spy /tmp/enough; ps").await };
    let (said, spied) = tokio::join!(flood, spy);
    assert!(said.ok().contains(" 0 none"), "{said:?}");
    let spied = spied.ok().to_owned();
    assert!(spied.contains(" opened 0\n") && !spied.contains("containerd-shim"), "{spied}");
    container.end().await;
}

#[tokio::test]
async fn an_act_stage_that_is_killed_or_stopped_is_replaced() {
    let (container, stage) = with_stage(bundle()).await;
    send(stage, Signal::KILL);
    mounts(&container).await.ok();
    let next = act_stage(&container).await;
    assert_ne!(next, stage);
    send(next, Signal::STOP);
    let since = Instant::now();
    mounts(&container).await.ok();
    println!("a stopped stage was given up after {:?}", since.elapsed());
    let last = act_stage(&container).await;
    assert_ne!(last, next);
    // Nor does one hold up the container's end.
    send(last, Signal::STOP);
    let busy = inside(&container, "flood 4 1000 0");
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        container.kill("", 9, true).await.unwrap();
        container.wait().await;
    };
    let (_, ()) = tokio::join!(busy, end);
    container.delete().await.unwrap();
    until("the stage is gone", || children(container.shim.pid).is_empty()).await;
    container.shim.shut_down().await.unwrap();
}

/// A verb of `tests/inside.c` that goes on, and the first that it says.
pub(crate) async fn in_background(container: &Container, verb: &str) -> tests::Output {
    let until = "until grep -q . /tmp/told; do sleep 0.1; done; cat /tmp/told";
    container.sh(&format!("(/inside {verb} > /tmp/told 2>&1 &); {until}")).await
}

/// [`bundle`], with the device by which it serves filesystems.
pub(crate) fn with_fuse() -> Bundle {
    let fuse =
        json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "uid": 0, "gid": 0, "fileMode": 0o666 });
    bundle().push("/linux/devices", fuse).push(
        "/linux/resources/devices",
        json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" }),
    )
}

#[tokio::test]
async fn a_filesystem_that_never_answers_holds_up_its_caller_until_the_limit() {
    let (container, stage) = with_stage(with_fuse()).await;
    container.sh("mkdir -p /tmp/f").await.ok();
    assert_eq!(in_background(&container, "silent-fuse /tmp/f").await.ok(), "mounted");
    let hanging = async {
        // What lies below it is asked of it, and one that is killed is not waited for.
        let killed = "mount -t proc proc /tmp/f/x & sleep 1; kill -9 $!; wait $!; echo $?";
        assert_eq!(container.sh(killed).await.ok(), "137");
        container.sh("mount -t proc proc /tmp/f/x").await
    };
    let others = async {
        for _ in 0..3 {
            mounts(&container).await.ok();
        }
    };
    let (hung, ()) = tokio::join!(hanging, others);
    assert!(hung.failed().contains("timed out"), "{hung:?}");
    until("no more than what hangs is left", || children(stage).len() <= 2).await;
    // The container ends in time with such callers waiting, and its stage with it.
    let many = "for i in 1 2 3 4 5 6 7 8 9 10; do mount -t proc proc /tmp/f/x & done; echo; wait";
    let waiting = container.sh(many);
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let since = Instant::now();
        container.kill("", 9, true).await.unwrap();
        container.wait().await;
        assert!(since.elapsed() < PATIENCE / 2, "{:?}", since.elapsed());
    };
    let (_, ()) = tokio::join!(waiting, end);
    container.delete().await.unwrap();
    until("the stage is gone", || children(container.shim.pid).is_empty()).await;
    container.shim.shut_down().await.unwrap();
}
