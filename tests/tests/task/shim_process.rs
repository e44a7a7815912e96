//! The shim as a process of the host: which cgroup it is in, and how soon the kernel takes it for its memory.

use std::path::{Path, PathBuf};

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult, Extension};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::{api, shim_async::TaskClient};
use tests::shim::{self, How, NAMESPACE, call_start, deadline};
use tests::{Bundle, Container, place};

fn options(shim_cgroup: &str) -> Any {
    let options = Options { shim_cgroup: shim_cgroup.into(), ..Default::default() };
    Any {
        type_url: "containerd.runc.v1.Options".into(),
        value: options.write_to_bytes().unwrap(),
        ..Default::default()
    }
}

/// A shim whose `start` has these options, as containerd before 2.3 hands them over.
fn placed(shim_cgroup: &str) -> How {
    How { stdin: options(shim_cgroup).write_to_bytes().unwrap(), ..How::default() }
}

/// A group of some hierarchies that is there before any shim.
struct Group {
    path: String,
    dirs: Vec<PathBuf>,
}

impl Group {
    fn new(mount_points: &[&str]) -> Self {
        let path = format!("/{}", place::unique("shims"));
        let dirs: Vec<PathBuf> = mount_points.iter().map(|it| PathBuf::from(format!("{it}{path}"))).collect();
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        Self { path, dirs }
    }

    /// Whether a process is in it, in every hierarchy that has it.
    fn has(&self, pid: u32) -> bool {
        let of = |dir: &PathBuf| std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        self.dirs.iter().all(|dir| of(dir).lines().any(|line| line == pid.to_string()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            for _ in 0..600 {
                if std::fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}

#[tokio::test]
async fn the_shim_is_in_the_cgroup_that_the_options_name_and_its_container_is_not() {
    let group = Group::new(&["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"]);
    let container = Container::sleeping_as(Bundle::new(), &placed(&group.path)).await;
    assert!(group.has(container.shim.pid), "{}", container.shim.log());
    let inside = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&group.path);
    assert!(inside(container.shim.pid) && !inside(container.pid));
    assert!(!container.shim.log().contains("ShimCgroup"), "it is not passed over");
    container.end().await;
}

#[tokio::test]
async fn so_it_is_on_the_unified_hierarchy_alone() {
    let group = Group::new(&["/sys/fs/cgroup/unified"]);
    let container = Container::sleeping_as(Bundle::new(), &placed(&group.path).on_unified()).await;
    assert!(group.has(container.shim.pid) && !group.has(container.pid), "{}", container.shim.log());
    container.end().await;
}

#[tokio::test]
async fn a_bootstrap_message_brings_the_options_among_its_extensions() {
    let group = Group::new(&["/sys/fs/cgroup/pids"]);
    let bundle = Bundle::new();
    bundle.write();
    let extension = Extension { value: Some(options(&group.path)).into(), ..Default::default() };
    let params = BootstrapParams {
        instance_id: bundle.id.clone(),
        namespace: NAMESPACE.into(),
        extensions: vec![extension],
        ..Default::default()
    };
    let output = call_start(&How::default(), &bundle.dir, &bundle.id, "", &params.write_to_bytes().unwrap());
    assert!(output.status.success(), "{output:?}");
    let address = BootstrapResult::parse_from_bytes(&output.stdout).unwrap().address;
    let task = TaskClient::new(shim::connect(&address).await);
    let connected = task.connect(deadline(), &api::ConnectRequest { id: bundle.id, ..Default::default() }).await;
    assert!(group.has(connected.unwrap().shim_pid));
    task.shutdown(deadline(), &api::ShutdownRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_cgroup_that_is_none_is_refused_at_start_and_leaves_no_shim() {
    for (path, reason) in [
        ("shims", "\"shims\" does not begin with a slash"),
        ("/../shims", "\"/../shims\" has a .. component"),
        ("/no/such/shims", "\"/no/such/shims\" is no cgroup of this host"),
    ] {
        let bundle = Bundle::new();
        bundle.write();
        let how = placed(path);
        let output = call_start(&how, &bundle.dir, &bundle.id, "", &how.stdin);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(said, format!("containerd-shim-eci-v2: runtime option ShimCgroup: {reason}\n"));
        assert!(!bundle.dir.join("address").exists());
        // The same bundle starts where the option is one that can be had.
        let container = Container::sleeping_as(bundle, &placed("/")).await;
        container.end().await;
    }
}

#[tokio::test]
async fn a_cgroup_that_takes_no_process_is_refused_with_the_kernels_word() {
    // A cpuset without a processor (cpuset(7)).
    let group = Group::new(&["/sys/fs/cgroup/cpuset"]);
    let (bundle, how) = (Bundle::new(), placed(&group.path));
    bundle.write();
    let output = call_start(&how, &bundle.dir, &bundle.id, "", &how.stdin);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("runtime option ShimCgroup: {}: no space left on device\n", group.dirs[0].display());
    assert!(!output.status.success() && said.ends_with(&expected), "{said}");
}

#[tokio::test]
async fn the_kernel_takes_the_shim_before_whoever_started_it() {
    let container = Container::sleeping_as(Bundle::new(), &How::default()).await;
    let score =
        |path: &Path| -> i32 { std::fs::read_to_string(path.join("oom_score_adj")).unwrap().trim().parse().unwrap() };
    let (ours, its) = (Path::new("/proc/self"), PathBuf::from(format!("/proc/{}", container.shim.pid)));
    assert_eq!(score(&its), (score(ours) + 1).min(1000));
    container.end().await;
}
