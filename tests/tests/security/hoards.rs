//! Things that a container piles up without end, whose shim looks through them: groups below groups.

use tests::shim::How;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

/// In a container's own group: of v1's accounting, or the only one.
const GROUP: &str = "cd /sys/fs/cgroup/cpuacct 2> /dev/null || cd /sys/fs/cgroup";

async fn container_as(how: How) -> Container {
    let bundle = Bundle::inner_engine().sh("sleep 1000");
    let shim = Shim::start_as(&bundle, &how).await;
    let container = Container::create_in(&shim, bundle, Pipes::none()).await.unwrap();
    container.start().await.unwrap();
    container
}

#[tokio::test]
async fn groups_below_groups_are_counted_however_deep() {
    for how in [How::default(), How::default().on_unified()] {
        let container = container_as(how).await;
        let deep = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i + 1)); done";
        container.sh(&format!("{GROUP}; {deep}")).await.ok();
        // By the files' thread, and by the traps'.
        let said = container.sh("grep -c / /proc/loadavg; sleep 2; uptime | grep -c load").await;
        assert_eq!(said.ok(), "1\n1");
        container.end().await;
    }
}
