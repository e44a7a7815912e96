//! Pods: one shim for the containers of a group, which share the namespaces of the first.

use serde_json::json;
use tests::pod::{SHARED, joining};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

fn member(annotation: &str, group: &str) -> Bundle {
    // A JSON pointer's own slash is written ~1; these names have none.
    Bundle::new().set("/annotations", json!({ annotation: group })).args(&["/bin/sleep", "1000"])
}

fn namespace(pid: u32, kind: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string()
}

async fn in_shim_of(first: &Container, bundle: Bundle) -> Container {
    let own = Shim::start(&bundle).await;
    assert_eq!((&own.address, own.pid), (&first.shim.address, first.shim.pid), "one shim for the group");
    let container = Container::create_in(&first.shim, bundle, Pipes::output()).await.unwrap();
    container.start().await.unwrap();
    container
}

#[tokio::test]
async fn a_group_has_one_shim_and_it_ends_after_its_last_container() {
    for annotation in ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let group = place::unique("pod");
            let first = Container::started(member(annotation, &group)).await;
            let (second, third) = (member(annotation, &group), member(annotation, &group));
            let second = in_shim_of(&first, joining(second, &first, &SHARED)).await;
            let third = in_shim_of(&first, joining(third, &first, &SHARED)).await;
            let (shim, all) = (first.shim.clone(), [first, second, third]);
            for (ended, at) in order.into_iter().enumerate() {
                all[at].kill("", 9, true).await.unwrap();
                assert_eq!(all[at].wait().await, 137);
                all[at].delete().await.unwrap();
                if ended < 2 {
                    // containerd says so with each container that it deletes.
                    let _ = shim.task.shutdown(tests::shim::deadline(), &Default::default()).await;
                    assert_eq!(all[order[2]].sh("echo alive").await.ok(), "alive", "{order:?}");
                }
            }
            shim.shut_down().await.unwrap();
        }
    }
}

#[tokio::test]
async fn another_group_has_another_shim() {
    let one = Container::started(member("io.containerd.runc.v2.group", &place::unique("pod"))).await;
    let two = Container::started(member("io.containerd.runc.v2.group", &place::unique("pod"))).await;
    assert_ne!((&one.shim.address, one.shim.pid), (&two.shim.address, two.shim.pid));
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn members_share_the_namespaces_that_they_name_and_no_others() {
    let group = place::unique("pod");
    let first = Container::started(member("io.kubernetes.cri.sandbox-id", &group)).await;
    let joined = joining(member("io.kubernetes.cri.sandbox-id", &group), &first, &SHARED);
    let second = in_shim_of(&first, joined).await;
    for kind in ["net", "ipc", "uts", "user"] {
        assert_eq!(namespace(first.pid, kind), namespace(second.pid, kind), "{kind}");
    }
    for kind in ["pid", "mnt", "cgroup"] {
        assert_ne!(namespace(first.pid, kind), namespace(second.pid, kind), "{kind}");
    }
    assert_eq!(first.host_base(), second.host_base());

    let sharing = joining(member("io.kubernetes.cri.sandbox-id", &group), &first, &["network", "ipc", "uts", "pid"]);
    let third = in_shim_of(&first, sharing).await;
    assert_eq!(namespace(first.pid, "pid"), namespace(third.pid, "pid"));
    assert_eq!(third.sh("cat /proc/1/cmdline | tr '\\0' ' '").await.ok(), "/bin/sleep 1000", "the first one's init");
    // Its init is no init of a pid namespace: what it leaves behind ends with it all the same.
    third.sh("sleep 1000 > /dev/null 2>&1 & true").await;
    third.kill("", 9, false).await.unwrap();
    assert_eq!(third.wait().await, 137);
    assert!(third.pids().await.unwrap().is_empty());
    third.delete().await.unwrap();
    assert_eq!(first.sh("echo alive").await.ok(), "alive");

    second.remove().await;
    first.end().await;
}
