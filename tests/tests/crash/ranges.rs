//! No two living containers have one range.

use std::collections::BTreeSet;

use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};
use tokio::task::LocalSet;

#[tokio::test]
async fn fifty_containers_that_are_created_at_once_have_ranges_of_their_own() {
    let mut shims = Vec::new();
    for _ in 0..50 {
        let bundle = Bundle::new();
        shims.push((Shim::start(&bundle).await, bundle));
    }
    // A request is on its way to every shim before the first answer is looked at.
    let all = LocalSet::new();
    let tasks: Vec<_> = shims
        .into_iter()
        .map(|(shim, bundle)| {
            all.spawn_local(async move { Container::create_in(&shim, bundle, Pipes::none()).await.expect("create") })
        })
        .collect();
    all.await;
    let mut containers = Vec::new();
    for task in tasks {
        containers.push(task.await.expect("a container"));
    }
    let bases: BTreeSet<u32> = containers.iter().map(Container::host_base).collect();
    assert_eq!(bases.len(), 50, "{bases:?}");
    for container in &containers {
        container.end().await;
    }
}

#[tokio::test]
async fn a_process_is_in_its_containers_cgroups_before_its_first_instruction() {
    let container = Container::create(Bundle::new().args(&["/bin/sleep", "1000"])).await.expect("create");
    assert_in_cgroups(&container, container.pid);
    container.start().await.expect("start");
    let spec = container.process(&["/bin/sleep", "1000"]);
    container.add_process("e", &spec, &Pipes::none()).await.expect("exec");
    assert_in_cgroups(&container, container.start_process("e").await.expect("start of the exec"));
    container.end().await;
}

fn assert_in_cgroups(container: &Container, pid: u32) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let wanted = container.bundle.spec["linux"]["cgroupsPath"].as_str().expect("cgroupsPath");
    assert!(!text.is_empty());
    for line in text.lines() {
        assert_eq!(line.splitn(3, ':').nth(2), Some(wanted), "{text}");
    }
}
