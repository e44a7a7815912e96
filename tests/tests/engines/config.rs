//! The operator's config through `ctr` and through the container runtime interface, where a runtime's own comes with its
//! handler.

use serde_json::{Value, json};
use tests::Output;
use tests::host::{Host, IMAGE, Setup};
use tests::place;

use super::pod::{Pod, answer, call, text};

on_each_suite!(
    a_wrong_config_keeps_every_container_from_starting,
    the_installed_example_is_a_config_that_changes_nothing,
);
on_each_suite!(with cri;
    a_handler_has_a_config_of_its_own,
    cri_says_of_which_image_a_container_is_where_the_audit_log_looks,
);

fn a_wrong_config_keeps_every_container_from_starting(host: &Host) {
    let run = || {
        let output = host.sh("$RUN --rm $IMAGE c echo well");
        host.sh("ctr c rm c 2> /dev/null; ctr snapshot rm c 2> /dev/null; true").ok();
        output
    };
    let configure =
        |text: &str| host.sh(&format!("mkdir -p /etc/eci; printf '{text}' > /etc/eci/config.toml")).ok().len();
    configure("# ours\\n[mounts]\\nshare = [\"/srv\"]\\n");
    let line = "/etc/eci/config.toml:3: mounts.share: there is no such key, the nearest is mounts.shared";
    let said = run().failed();
    assert!(said.contains(&format!("OCI runtime create failed: {line}")), "{said}");
    let verb = host.sh("containerd-shim-eci-v2 config").failed();
    assert_eq!(verb.trim(), format!("containerd-shim-eci-v2: {line}"));
    host.sh("sed -i s/share/restricted/ /etc/eci/config.toml").ok();
    assert_eq!(run().ok(), "well");
    host.sh("chmod 666 /etc/eci/config.toml").ok();
    let said = run().failed();
    assert!(said.contains("read /etc/eci/config.toml: must belong to root and be writable by nobody else"), "{said}");
    host.sh("rm /etc/eci/config.toml").ok();
    assert_eq!(run().ok(), "well");
}

fn the_installed_example_is_a_config_that_changes_nothing(host: &Host) {
    let example = place::sources().join("../docs/config.toml");
    std::fs::copy(&example, host.state().join("example.toml")).expect("the example");
    let plain = host.sh("containerd-shim-eci-v2 config");
    host.sh("mkdir -p /etc/eci && cp /state/example.toml /etc/eci/config.toml").ok();
    assert_eq!(host.sh("containerd-shim-eci-v2 config").ok(), plain.ok());
    assert_eq!(host.sh("$RUN --rm $IMAGE c echo well").ok(), "well");
}

/// The hosts of the pods, with handlers whose options are a config, a wrong one, and a file's path.
fn cri() -> Setup {
    let hosts = place::sources().join("hosts");
    let mut config = std::fs::read_to_string(hosts.join("containerd-cri.toml")).expect("a config");
    for (handler, options) in [
        ("eci-body", ".options.namespaces]\nmissing = \"private\"\n"),
        ("eci-wrong", ".options.namespaces]\nmissin = \"private\"\n"),
        ("eci-path", ".options]\nConfigPath = \"/etc/eci/own.toml\"\n"),
    ] {
        let runtime = format!("[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{handler}");
        config += &format!("{runtime}]\nruntime_type = \"io.containerd.eci.v2\"\n{runtime}{options}");
    }
    let path = place::new_dir("cri").join("config.toml");
    std::fs::write(&path, config).expect("a config");
    Setup { containerd: Some(path), cni: Some(hosts.join("10-bridge.conflist")), ..Setup::default() }
}

/// The answer to a pod that asks for the host's network.
fn host_network(host: &Host, handler: &str) -> Output {
    let config = json!({
        "metadata": { "name": handler, "uid": handler, "namespace": "ns" }, "log_directory": "/var/log/pods",
        "linux": { "security_context": { "namespace_options": { "network": 2 } } },
    });
    answer(host, "RunPodSandbox", &json!({ "config": config, "runtime_handler": handler }))
}

#[track_caller]
fn refused(host: &Host, handler: &str, text: &str) {
    let said = host_network(host, handler).failed();
    assert!(said.contains("OCI runtime create failed: ") && said.contains(text), "{handler}: {said}");
}

/// It has a network, and that is not the host's.
#[track_caller]
fn has_its_own(host: &Host, handler: &str) {
    let answer: Value = serde_json::from_str(host_network(host, handler).ok()).expect("an answer");
    let id = text(&answer["podSandboxId"]);
    // Its name is the program's a moment after the start.
    host.until("pgrep -xf '(/bin/)?sleep 2147483647'");
    let network = host.sh("readlink /proc/1/ns/net /proc/$(pgrep -xf '(/bin/)?sleep 2147483647')/ns/net | sort -u");
    assert_eq!(network.ok().lines().count(), 2, "{network:#?}");
    call(host, "StopPodSandbox", &json!({ "pod_sandbox_id": id }));
    call(host, "RemovePodSandbox", &json!({ "pod_sandbox_id": id }));
}

fn a_handler_has_a_config_of_its_own(host: &Host) {
    // CRI leaves the uts namespace out, too.
    const SHARED: &str = "error in the container spec: invalid or unsupported container spec: eci containers can't share \
                          namespaces [network uts] with the host";
    const NO_KEY: &str = "namespaces.missin: there is no such key, the nearest is namespaces.missing";
    host.sh("ctr -n k8s.io image import /hosts/images/pause.tar && mkdir -p /etc/eci").ok();
    refused(host, "eci", SHARED);
    // containerd 1.6 drops keys that are not its own.
    if host.sh("ctr version | grep -q 'Version: *v*1[.]6'").status == 0 {
        refused(host, "eci-body", SHARED);
    } else {
        has_its_own(host, "eci-body");
        // The line is of the text that containerd makes of it.
        refused(host, "eci-wrong", "ConfigBody:");
        refused(host, "eci-wrong", NO_KEY);
    }
    refused(host, "eci-path", "runtime option ConfigPath: read /etc/eci/own.toml: there is no such file");
    host.sh("printf 'namespaces.missing = \"private\"' > /etc/eci/own.toml").ok();
    has_its_own(host, "eci-path");
    host.sh("printf 'namespaces.missin = \"private\"' > /etc/eci/own.toml").ok();
    refused(host, "eci-path", &format!("/etc/eci/own.toml:1: {NO_KEY}"));
    refused(host, "eci", SHARED);
}

fn cri_says_of_which_image_a_container_is_where_the_audit_log_looks(host: &Host) {
    let pod = Pod::run(host);
    let id = pod.container("c", 0, &["sleep", "1000"]);
    let annotation = host.sh(&format!(
        "sed 's/.*\"io.kubernetes.cri.image-name\":\"\\([^\"]*\\)\".*/\\1/' /run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json"
    ));
    assert_eq!(annotation.ok(), IMAGE);
    pod.end(&[&id]);
}
