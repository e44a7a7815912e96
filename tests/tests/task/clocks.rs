//! A container boots when it is made: its time namespace says so, to every process in it and to nobody else.

use tests::{Bundle, Container};

use crate::pause::{pause, resume};

/// proc_uptime(5): for how long the reader's machine has been up, seconds.
async fn uptime(container: &Container) -> f64 {
    let output = container.sh("cut -d ' ' -f 1 /proc/uptime").await;
    output.ok().parse().unwrap()
}

fn host_uptime() -> f64 {
    std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_container_is_up_since_it_was_made() {
    let before = host_uptime();
    let container = Container::sleeping(Bundle::new()).await;
    let own = uptime(&container).await;
    let lived = host_uptime() - before;
    // Offsets are whole seconds.
    assert!(own <= lived + 1.0, "up for {own} s, made {lived} s ago");
    // One that is made later is younger, whatever it is named.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let second = Container::sleeping(Bundle::new()).await;
    let younger = uptime(&second).await;
    assert!(younger < uptime(&container).await, "{younger}");
    second.end().await;
    // Every process of the container has the same namespace, and the container's root owns it.
    let namespaces =
        container.sh("for process in 1 self; do readlink /proc/$process/ns/time; done | sort -u | wc -l").await;
    assert_eq!(namespaces.ok(), "1");
    // What is derived from the clock agrees: when the machine booted, and when init was started.
    let script = "boot=$(awk '/^btime/ { print $2 }' /proc/stat); echo $(($(date +%s) - boot)) $(awk '{ print $22 }' /proc/1/stat)";
    let output = container.sh(script).await;
    let numbers: Vec<f64> = output.ok().split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!(numbers[0] <= host_uptime() - before + 2.0, "{output:?}");
    // Clock ticks, of which there are 100 a second.
    assert!(numbers[1] / 100.0 <= lived + 1.0, "{output:?}");
    // The time of day is the host's.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (first, inside, last) = (now(), container.sh("date +%s").await, now());
    assert!((first..=last).contains(&inside.ok().parse().unwrap()), "{inside:?}");
    container.end().await;
}

#[tokio::test]
async fn what_was_set_cannot_be_set_again() {
    let container = Container::sleeping(Bundle::new()).await;
    let output = container.sh("echo 'boottime 1000 0' > /proc/1/timens_offsets").await;
    assert_ne!(output.status, 0, "{output:?}");
    assert!(uptime(&container).await < 1000.0);
    container.end().await;
}

/// Clocks count whole seconds from the boot: whenever in a second a container is made, nothing in it is older than its boot.
#[tokio::test]
async fn init_starts_after_the_boot() {
    for phase in 0..8 {
        let now = host_uptime().fract() * 1000.0;
        let wait = f64::from(1020 - phase * 20) - now;
        tokio::time::sleep(std::time::Duration::from_secs_f64((wait.max(0.0)) / 1000.0)).await;
        let output = Bundle::new().sh("awk '{ print $22 }' /proc/1/stat; cut -d . -f 1 /proc/uptime").run().await;
        let numbers: Vec<u64> = output.ok().split_whitespace().map(|number| number.parse().unwrap()).collect();
        // Clock ticks, of which there are 100 a second.
        assert!(numbers[0] / 100 <= numbers[1], "{output:?}");
    }
}

/// Seconds since the boot by `/proc/uptime`, by sysinfo(2), and by how old init is; when the boot was by `/proc/stat`.
async fn clocks(container: &Container) -> [f64; 4] {
    let script = "cut -d ' ' -f 1 /proc/uptime; /inside sysinfo | cut -d ' ' -f 1; \
                  awk '{ ticks = $22 } END { getline < \"/proc/uptime\"; print $1 - ticks / 100 }' /proc/1/stat; \
                  awk '/^btime/ { print $2 }' /proc/stat";
    let output = container.sh(script).await;
    let numbers: Vec<f64> = output.ok().split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{output:?}"))
}

/// The kernel's freezer stops tasks and no clock, as under any runtime.
#[tokio::test]
async fn a_pause_stops_no_clock() {
    let container = Container::sleeping(Bundle::new().with_inside()).await;
    let file = format!("/proc/{}/root/proc/uptime", container.pid);
    let shown = || std::fs::read_to_string(&file).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
    let earliest = host_uptime();
    let before = clocks(&container).await;
    let since = host_uptime();
    pause(&container).await.unwrap();
    let first = shown();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    // Who looks from outside sees it go on meanwhile.
    let second = shown();
    assert!(second - first >= 1.4, "{first}, and then {second}");
    resume(&container).await.unwrap();
    let passed = host_uptime() - since;
    let after = clocks(&container).await;
    for at in 0..3 {
        // sysinfo(2) has whole seconds.
        assert!(after[at] - before[at] >= passed - 1.0, "{passed}: {before:?}, and then {after:?}");
        assert!(after[at] <= host_uptime() - earliest + before[at] + 1.5, "{passed}: {before:?}, and then {after:?}");
    }
    // Rounded from two clocks.
    assert!((after[3] - before[3]).abs() <= 1.0, "{before:?}, and then {after:?}");
    container.end().await;
}
