//! What a container's files tell of work is of its own, whatever the host is busy with.

use std::fs;
use std::process::{Child, Command, Stdio};

use tests::{Bundle, Container, until};

/// Clock ticks, of which there are 100 a second.
const SECOND: u64 = 100;

/// A process of the host's that does nothing but take its time.
struct Busy(Child);

impl Busy {
    fn new() -> Self {
        let loops = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self(loops.expect("a process"))
    }

    /// What it has used, in ticks (proc_pid_stat(5)).
    fn used(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ticks of `/proc/stat` that are not idle, and those that are.
async fn ticks(container: &Container) -> (u64, u64) {
    let output = container.sh("head -n 1 /proc/stat").await;
    let numbers: Vec<u64> = output.ok().split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
    (numbers.iter().sum::<u64>() - numbers[3], numbers[3])
}

/// `/proc/loadavg`: the average of a minute, and how many tasks there are.
async fn load(container: &Container) -> (f64, u32) {
    let output = container.sh("cat /proc/loadavg").await;
    let fields: Vec<&str> = output.ok().split(' ').collect();
    (fields[0].parse().unwrap(), fields[3].split_once('/').unwrap().1.parse().unwrap())
}

#[tokio::test]
async fn an_idle_container_on_a_busy_host_is_idle() {
    let idle = Container::sleeping(Bundle::new()).await;
    let working = Container::started(Bundle::new().sh("while :; do :; done")).await;
    let (before, own) = (ticks(&idle).await, ticks(&working).await);
    let busy = [Busy::new(), Busy::new()];
    until("some work of the host's", || busy.iter().map(Busy::used).sum::<u64>() >= 3 * SECOND).await;
    let (after, own_after) = (ticks(&idle).await, ticks(&working).await);
    // Two execs, in part.
    assert!(after.0 - before.0 < SECOND, "{before:?}, and then {after:?}");
    assert!(after.1 > before.1, "{before:?}, and then {after:?}");
    // As busy as its part of the processors lets it be.
    assert!(own_after.0 > own.0, "{own:?}, and then {own_after:?}");

    // It moves when it is read; who asks is no load.
    let mut loads = Vec::new();
    let is_told = |(of_idle, of_working): &(f64, f64)| *of_working >= 0.05 && of_idle < of_working;
    while !loads.last().is_some_and(is_told) && loads.len() < 60 {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let ((of_idle, tasks), (of_working, _)) = (load(&idle).await, load(&working).await);
        assert!(tasks < 10, "{tasks} tasks");
        loads.push((of_idle, of_working));
    }
    assert!(loads.last().is_some_and(is_told), "{loads:?}");
    drop(busy);
    idle.end().await;
    working.end().await;
}

/// The host's disks, of which the container's group has moved what it says; merges and times are 0.
#[tokio::test]
async fn disks_are_the_hosts_and_what_they_moved_is_its_own() {
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let container = Container::sleeping(Bundle::new()).await;
    let names = |rows: &[Vec<String>]| rows.iter().map(|row| (row[..3].to_vec(), row.len())).collect::<Vec<_>>();
    let host = || rows(&fs::read_to_string("/proc/diskstats").unwrap());
    let mut shown = rows(container.sh("cat /proc/diskstats").await.ok());
    // The kernel makes a loop device for who asks for one, such as another test.
    for _ in 0..10 {
        if names(&shown) == names(&host()) {
            break;
        }
        shown = rows(container.sh("sleep 1; cat /proc/diskstats").await.ok());
    }
    let host = host();
    assert_eq!(names(&shown), names(&host));
    // Operations and sectors, read, written and discarded (iostats.rst); whatever else is counted is not its own.
    const COUNTED: [usize; 6] = [3, 5, 7, 9, 14, 16];
    for (own, host) in shown.iter().zip(&host) {
        for (at, (own, host)) in own.iter().zip(host).enumerate().skip(3) {
            let (own, host) = (own.parse::<u64>().unwrap(), host.parse::<u64>().unwrap());
            assert!(own == 0 || COUNTED.contains(&at) && own <= host, "field {at}: {own} of {host}: {shown:?}");
        }
    }
    container.end().await;
}
