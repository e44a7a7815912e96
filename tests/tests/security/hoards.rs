//! Things that a container piles up without end, whose shim looks through them: groups below groups, mounts.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::shim::{How, PATIENCE};
use tests::stdio::Pipes;
use tests::{Bundle, Container};

use crate::traps::{bundle, children, in_background, inside, numbers, seconds, status, with_fuse, with_stage};

/// In a container's own group: of v1's accounting, or the only one.
const GROUP: &str = "cd /sys/fs/cgroup/cpuacct 2> /dev/null || cd /sys/fs/cgroup";

#[tokio::test]
async fn groups_below_groups_are_counted_however_deep() {
    for how in [How::default(), How::default().on_unified()] {
        let container = Container::sleeping_as(Bundle::inner_engine(), &how).await;
        let deep = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i + 1)); done";
        container.sh(&format!("{GROUP}; {deep}")).await.ok();
        // By the files' thread, and by the traps'.
        let said = container.sh("grep -c / /proc/loadavg; sleep 2; uptime | grep -c load").await;
        assert_eq!(said.ok(), "1\n1");
        container.end().await;
    }
}

/// A verb of `tests/inside.c` that tries something for some seconds: how often, and how often it got what it should not.
async fn tried(verb: &str) -> (i64, i64) {
    let container = Container::sleeping(bundle()).await;
    let said = inside(&container, &format!("{verb} {}", seconds(3))).await;
    let [tried, had] = numbers(said.ok())[..] else { panic!("{said:?}") };
    println!("{verb}: {tried} times");
    container.end().await;
    (tried, had)
}

#[tokio::test]
async fn mounts_that_come_and_go_do_not_hide_what_masks_a_procfs() {
    let (tried, shown) = tried("reveal").await;
    assert!(tried > 0 && shown == 0, "{shown} of {tried}");
}

/// A node of null can be opened where it was made; what has taken its place may be a device that the container has not been given.
#[tokio::test]
async fn nothing_is_opened_in_the_place_of_a_new_node() {
    let (made, opened) = tried("swap-nodes").await;
    assert!(made > 0 && opened == 0, "{opened} of {made}");
}

/// Who receives the calls of all of the container's processes waits for none of its filesystems.
#[tokio::test]
async fn a_root_that_does_not_answer_holds_up_nobody_else() {
    let container = Container::sleeping(with_fuse()).await;
    assert_eq!(in_background(&container, "silent-root").await.ok(), "ready");
    let others = tokio::time::timeout(PATIENCE / 2, container.sh("sleep 1; uptime | grep -c load")).await;
    assert_eq!(others.expect("an answer").ok(), "1");
    container.end().await;
}

/// A terminal is of the devpts and of nothing that the container has mounted over its multiplexor: the shim would read of a file whose
/// server never answers, and so do nothing else any more, for the whole pod.
#[tokio::test]
async fn a_file_that_poses_as_a_terminal_does_not_reach_the_shim() {
    let container = Container::sleeping(with_fuse()).await;
    assert_eq!(in_background(&container, "false-ptmx /dev/pts/ptmx").await.ok(), "ready");
    let exec = container.process(&["/bin/true"]);
    // It has to guess a descriptor's number.
    for number in 3..16 {
        let name = format!("exec-{number}");
        container.add_process(&name, &exec, &Pipes::terminal()).await.unwrap();
        let message = container.start_process(&name).await.unwrap_err().message;
        assert!(message.contains("open a terminal: something is mounted over /dev/pts/ptmx"), "{message}");
        container.delete_process(&name).await.unwrap();
    }
    container.end().await;
}

/// Who reads from a pipe, writes to it or closes it takes its lock, in which nothing interrupts him.
#[tokio::test]
async fn a_pipe_whose_lock_is_held_holds_up_nobody_else() {
    let hold = "/inside hold-pipe 3 in 3<&0 & for i in 1 2 3 4 5; do /inside hold-pipe 1 out & sleep 0.2; done";
    let bundle = Bundle::new().with_inside().sh("sleep 1000");
    let container = Container::create_with(bundle, Pipes::none()).await.unwrap();
    container.start().await.unwrap();
    let holding = Pipes::all();
    // Its process ends, and what holds its pipes stays.
    let exec = container.process(&["/bin/sh", "-c", &format!("{hold}; sleep 1")]);
    container.add_process("holds", &exec, &holding).await.unwrap();
    container.start_process("holds").await.unwrap();
    let mut stdin = holding.open_stdin();
    for _ in 0..5 {
        stdin.write_all(b"more\n").unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(container.pids().await.unwrap().len() > 1);
    }
    drop(stdin);
    container.wait_process("holds").await.unwrap();
    container.delete_process("holds").await.unwrap();
    assert_eq!(container.sh("echo said").await.ok(), "said");
    container.end().await;
}

async fn until_processes(container: &Container, count: usize) {
    let mut now = 0;
    for _ in 0..1500 {
        now = container.pids().await.unwrap().len();
        if now == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{now} processes, not {count}");
}

/// A signal to all reaches all, though they are more than the shim may have descriptors, which others in the pod need meanwhile.
#[tokio::test]
async fn a_signal_reaches_more_processes_than_the_shim_may_have_descriptors() {
    let script = "for i in $(seq 300); do sleep 1000 & done; exec sleep 1000";
    let container = Container::started(Bundle::new().sh(script)).await;
    until_processes(&container, 301).await;
    let shim = Pid::from_raw(i32::try_from(container.shim.pid).unwrap());
    prlimit(shim, Resource::Nofile, Rlimit { current: Some(200), maximum: Some(200) }).unwrap();
    // Init has no handler, and ignores it (pid_namespaces(7)).
    container.kill("", 15, true).await.unwrap();
    until_processes(&container, 1).await;
    container.end().await;
}

/// The most memory that one of these has had, in MiB.
fn most(pids: impl IntoIterator<Item = u32>) -> u64 {
    let peak = |pid| status(pid, "VmHWM")?.trim_end_matches(" kB").parse::<u64>().ok();
    pids.into_iter().filter_map(peak).max().unwrap_or_default() >> 10
}

#[tokio::test]
async fn who_reads_a_containers_mounts_needs_little_memory_however_long_they_are() {
    let (container, stage) = with_stage(bundle()).await;
    // Half a GiB of text.
    let acts = inside(&container, "long-mounts 400 1300");
    let mut peak = 0;
    let watch = async {
        loop {
            peak = peak.max(most(children(stage)));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let said = tokio::select! { said = acts => said, () = watch => unreachable!() };
    println!("{said:?}, {peak} MiB");
    assert!(peak < 128, "{peak} MiB: {said:?}");
    assert_eq!(said.ok(), "ENOMEM\nENOMEM\nENOMEM\nENOMEM");
    container.end().await;
}
