//! The runtime's options in a Create request: honoured, passed over, or refused by name.

use std::os::unix::fs::MetadataExt;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use tests::shim::{Answer, deadline};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};
use ttrpc::Code;

async fn create(type_url: &str, value: Vec<u8>) -> Answer<Container> {
    create_of(Bundle::new().args(&["/bin/sleep", "1000"]), type_url, value).await
}

async fn create_of(bundle: Bundle, type_url: &str, value: Vec<u8>) -> Answer<Container> {
    let shim = Shim::start(&bundle).await;
    let pipes = Pipes::output();
    let mut request = tests::container::create_request(&bundle, &pipes);
    request.set_options(Any { type_url: type_url.into(), value, ..Default::default() });
    match shim.task.create(deadline(), &request).await {
        Ok(created) => Ok(Container { bundle, shim, pid: created.pid, pipes }),
        Err(error) => {
            shim.shut_down().await.unwrap();
            Err(error.into())
        }
    }
}

fn runc(options: &Options) -> (&'static str, Vec<u8>) {
    ("containerd.runc.v1.Options", options.write_to_bytes().unwrap())
}

#[tokio::test]
async fn options_that_ask_for_nothing_create() {
    let binary = runc(&Options { binary_name: "/usr/bin/runc".into(), root: "/run/runc".into(), ..Default::default() });
    for (type_url, value) in
        [("runtimeoptions.v1.Options", Vec::new()), ("", Vec::new()), runc(&Options::new()), binary]
    {
        let passed_over = !value.is_empty();
        let container = create(type_url, value).await.unwrap();
        container.start().await.unwrap();
        if passed_over {
            container.shim.logged("runtime option BinaryName (/usr/bin/runc) is passed over").await;
        }
        container.end().await;
    }
}

#[tokio::test]
async fn the_owner_of_the_stdio_is_honoured() {
    let (type_url, value) = runc(&Options { io_uid: 4242, io_gid: 4343, ..Default::default() });
    let container = create(type_url, value).await.unwrap();
    let owner = |pid: u32| std::fs::metadata(format!("/proc/{pid}/fd/1")).map(|it| (it.uid(), it.gid())).unwrap();
    assert_eq!(owner(container.pid), (4242, 4343));
    container.end().await;
    let container = create("", Vec::new()).await.unwrap();
    let base = container.host_base();
    assert_eq!(owner(container.pid), (base, base), "else it is the process's user");
    container.end().await;
}

#[tokio::test]
async fn what_is_not_built_is_refused_by_name() {
    for ((type_url, value), name) in [
        (runc(&Options { no_pivot_root: true, ..Default::default() }), "NoPivotRoot"),
        (("example.com/runhcs.Options", Vec::new()), "runhcs.Options"),
    ] {
        let failure = create(type_url, value).await.err().expect("a refusal");
        assert_eq!((failure.code, failure.message.lines().count()), (Code::INVALID_ARGUMENT, 1), "{failure:?}");
        assert!(failure.message.contains(name), "{failure:?}");
    }
}

#[tokio::test]
async fn a_config_of_the_runtimes_own_that_is_wrong_is_told_as_such() {
    let field = |number: u8, text: &str| [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    for (value, line) in [
        (field(2, "/etc/eci/none.toml"), "runtime option ConfigPath: read /etc/eci/none.toml: there is no such file"),
        (field(2, "none.toml"), "runtime option ConfigPath: read none.toml: is not an absolute path"),
        (
            field(3, "container.a = 1"),
            "ConfigBody:1: container.a: there is no such key, the nearest is container.grants",
        ),
    ] {
        let failure = create("runtimeoptions.v1.Options", value).await.err().expect("a refusal");
        // Not the spec is at fault.
        assert_eq!((failure.code, failure.message), (Code::UNKNOWN, format!("OCI runtime create failed: {line}")));
    }
}

#[tokio::test]
async fn the_shim_goes_to_the_group_that_it_is_told() {
    let shim_cgroup = |path: &str| runc(&Options { shim_cgroup: path.to_owned(), ..Default::default() });
    for (path, reason) in [
        ("/eci-tests-no/such", "/eci-tests-no/such: there is no such group"),
        ("/a/../b", "\"/a/../b\" is not an absolute path without .."),
        ("relative", "\"relative\" is not an absolute path without .."),
    ] {
        let (type_url, value) = shim_cgroup(path);
        let failure = create(type_url, value).await.err().expect("a refusal");
        let expected = format!("runtime option ShimCgroup: {reason}");
        assert_eq!((failure.code, failure.message), (Code::INVALID_ARGUMENT, expected));
    }
    let group = std::path::Path::new("/sys/fs/cgroup/pids/eci-tests-shim");
    std::fs::create_dir(group).unwrap();
    let (type_url, value) = shim_cgroup("/eci-tests-shim");
    let container = create(type_url, value).await.unwrap();
    container.start().await.unwrap();
    let members = || std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    let only = container.shim.pid.to_string();
    tests::until("only the shim is there", || members().lines().eq([only.as_str()])).await;
    assert!(!container.sh("cat /proc/self/cgroup").await.ok().contains("eci-tests-shim"));
    tests::until("only the shim is there again", || members().lines().eq([only.as_str()])).await;
    container.end().await;
    container.shim.gone().await;
    // The last step of an exit comes after what waitpid(2) tells.
    tests::until("the end of the shim's group", || std::fs::remove_dir(group).is_ok()).await;
}

#[tokio::test]
async fn a_cgroup_of_systemds_needs_systemd() {
    let (type_url, value) = runc(&Options { systemd_cgroup: true, ..Default::default() });
    for (path, reason) in [
        (Some("/a/path"), "\"/a/path\" is not slice:prefix:name, which the runtime option SystemdCgroup asks for"),
        (Some("system.slice:eci:c1"), "needs systemd, and this host does not run it"),
        (None, "needs systemd, and this host does not run it"),
    ] {
        let bundle = match path {
            Some(path) => Bundle::new().set("/linux/cgroupsPath", serde_json::json!(path)),
            None => Bundle::new().remove("/linux/cgroupsPath"),
        };
        let failure = create_of(bundle, type_url, value.clone()).await.err().expect("a refusal");
        assert_eq!((failure.code, failure.message.lines().count()), (Code::UNKNOWN, 1), "{failure:?}");
        assert!(failure.message.contains(&format!("linux.cgroupsPath: {reason}")), "{failure:?}");
    }
}
