//! A pod of two containers through the container runtime interface, as Kubernetes makes it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::Output;
use tests::host::{Host, IMAGE, Setup};
use tests::place;

on_each_suite!(with cri;
    a_pod_serves_port_80_to_its_members_and_to_the_host,
    members_of_a_pod_share_its_namespaces_and_its_ids,
);

/// Where containerd pins the user namespace that it makes for a pod: from 2.1 on.
mod a_pod_has_the_user_namespace_that_it_asks_for {
    on_each_suite!(@suite a_pod_has_the_user_namespace_that_it_asks_for, cri, sid);
    on_each_suite!(@suite a_pod_has_the_user_namespace_that_it_asks_for, cri, newest);
}

fn cri() -> Setup {
    let hosts = place::sources().join("hosts");
    Setup {
        containerd: Some(hosts.join("containerd-cri.toml")),
        cni: Some(hosts.join("10-bridge.conflist")),
        ..Setup::default()
    }
}

pub(super) fn call(host: &Host, method: &str, request: &Value) -> Value {
    let output = answer(host, method, request);
    assert_eq!(output.status, 0, "{method} {request}: {output:#?}");
    serde_json::from_str(&output.stdout).expect("an answer")
}

/// The answer as it comes, which may be an error.
pub(super) fn answer(host: &Host, method: &str, request: &Value) -> Output {
    let mut command = Command::new(place::sources().join("hosts/cri"));
    command.arg(host.state().join("run/containerd/containerd.sock")).arg(method);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tests/hosts/cri");
    child.stdin.take().expect("a pipe").write_all(request.to_string().as_bytes()).expect("a request");
    child.wait_with_output().expect("tests/hosts/cri").into()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(super) struct Pod<'a> {
    host: &'a Host,
    config: Value,
    id: String,
}

/// What a pod is made of; its images are there then.
fn config(host: &Host, parent: &str) -> Value {
    for image in ["busybox", "pause"] {
        host.sh(&format!("ctr -n k8s.io image import /hosts/images/{image}.tar")).ok();
    }
    json!({
        "metadata": { "name": "pod", "uid": "pod", "namespace": "ns" }, "hostname": "pod", "log_directory": "/var/log/pods",
        "linux": { "cgroup_parent": parent },
    })
}

impl<'a> Pod<'a> {
    /// A pod whose groups are below `/pods`.
    pub(super) fn run(host: &'a Host) -> Self {
        Self::run_below(host, "/pods")
    }

    /// A pod whose groups are below `parent`.
    pub(super) fn run_below(host: &'a Host, parent: &str) -> Self {
        Self::run_with(host, &config(host, parent))
    }

    fn run_with(host: &'a Host, config: &Value) -> Self {
        let answer = call(host, "RunPodSandbox", &json!({ "config": config, "runtime_handler": "eci" }));
        Self { host, config: config.clone(), id: text(&answer["podSandboxId"]) }
    }

    pub(super) fn container(&self, name: &str, user: u32, command: &[&str]) -> String {
        let mut config = json!({
            "metadata": { "name": name }, "image": { "image": IMAGE }, "command": command, "log_path": format!("{name}.log"),
            "linux": {
                "resources": { "memory_limit_in_bytes": 67_108_864, "cpu_shares": 100, "oom_score_adj": 900 },
                "security_context": { "run_as_user": { "value": user } },
            },
        });
        if let Some(namespaces) = self.config.pointer("/linux/security_context/namespace_options") {
            config["linux"]["security_context"]["namespace_options"] = namespaces.clone();
        }
        let request = json!({ "pod_sandbox_id": self.id, "config": config, "sandbox_config": self.config });
        let id = text(&call(self.host, "CreateContainer", &request)["containerId"]);
        call(self.host, "StartContainer", &json!({ "container_id": id }));
        id
    }

    /// Exit code and standard output of a command in a container.
    pub(super) fn exec(&self, container: &str, script: &str) -> (i64, String) {
        let request = json!({ "container_id": container, "cmd": ["sh", "-c", script], "timeout": 30 });
        let answer = call(self.host, "ExecSync", &request);
        (answer["exitCode"].as_i64().unwrap_or(0), answer["stdout"].as_str().unwrap_or_default().to_owned())
    }

    /// Stops and removes the containers, then the pod.
    pub(super) fn end(self, containers: &[&str]) {
        for id in containers {
            call(self.host, "StopContainer", &json!({ "container_id": id, "timeout": 1 }));
            call(self.host, "RemoveContainer", &json!({ "container_id": id }));
        }
        call(self.host, "StopPodSandbox", &json!({ "pod_sandbox_id": self.id }));
        call(self.host, "RemovePodSandbox", &json!({ "pod_sandbox_id": self.id }));
        // What CNI's bridge and containerd's cgroup parent leave is theirs.
        let theirs = "ip link del cni0; find /sys/fs/cgroup -depth -type d -name pods -exec rmdir {} +";
        self.host.sh(&format!("{{ {theirs}; }} 2> /dev/null; true")).ok();
    }
}

fn a_pod_serves_port_80_to_its_members_and_to_the_host(host: &Host) {
    let pod = Pod::run(host);
    // Not root: the pod's network lets everybody bind every port.
    let server = pod.container("server", 1000, &["httpd", "-f", "-p", "80", "-h", "/var/www"]);
    let client = pod.container("client", 0, &["sleep", "1000"]);
    let fetch = "until wget -qO- http://localhost/index.html; do usleep 50000; done";
    assert_eq!(pod.exec(&client, fetch), (0, "served\n".to_owned()));
    let status = call(host, "PodSandboxStatus", &json!({ "pod_sandbox_id": pod.id }));
    let ip = text(&status["status"]["network"]["ip"]);
    assert_eq!(host.sh(&format!("busybox wget -qO- http://{ip}/index.html")).ok(), "served");
    assert_eq!(pod.exec(&server, "id -u; exit 5"), (5, "1000\n".to_owned()));
    // The host owns the network: ping sockets (icmp(7)) are for everybody, raw ones for nobody in the pod.
    let sockets = "nsenter -t $(pgrep -xf 'sleep 1000') --user --net perl -e \
        'print socket(S, 2, 2, 1) ? 1 : $!, \"\\n\", socket(S, 2, 3, 1) ? 1 : $!'";
    assert_eq!(host.sh(sockets).ok(), "1\nOperation not permitted");
    pod.end(&[&server, &client]);
}

fn members_of_a_pod_share_its_namespaces_and_its_ids(host: &Host) {
    let pod = Pod::run(host);
    let (one, two) = (pod.container("one", 0, &["sleep", "1000"]), pod.container("two", 0, &["sleep", "1000"]));
    let of = |container: &str, kinds: &str| {
        pod.exec(container, &format!("cd /proc/self/ns && readlink {kinds}; cat /proc/self/uid_map; hostname"))
    };
    assert_eq!(of(&one, "net ipc uts user"), of(&two, "net ipc uts user"));
    assert_ne!(of(&one, "mnt"), of(&two, "mnt"));
    let (_, said) = of(&one, "user");
    assert!(said.contains(" 100000 ") && said.ends_with("pod\n"), "{said}");
    // One range, one shim: all are its children.
    let ranges = host.sh("containerd-shim-eci-v2 ranges | awk 'NR > 1 { print $1 }' | sort -u");
    assert_eq!(ranges.ok(), "100000-165535");
    let inits = host.sh("ps -o ppid= -p $(pgrep -xfd, '(/bin/)?sleep (1000|2147483647)')");
    let parents: Vec<&str> = inits.ok().split_whitespace().collect();
    assert!(parents.len() == 3 && parents.iter().all(|parent| *parent == parents[0]), "{parents:?}");
    pod.exec(&one, "echo shared > /dev/shm/file");
    assert_eq!(pod.exec(&two, "cat /dev/shm/file"), (0, "shared\n".to_owned()));
    // A member that ends leaves the others.
    call(host, "StopContainer", &json!({ "container_id": one, "timeout": 0 }));
    call(host, "RemoveContainer", &json!({ "container_id": one }));
    assert_eq!(pod.exec(&two, "exit 0").0, 0);
    pod.end(&[&two]);
}

fn a_pod_has_the_user_namespace_that_it_asks_for(host: &Host) {
    let config = config(host, "/pods");
    let with_map = |first: u32, size: u32| {
        let map = json!([{ "container_id": 0, "host_id": first, "length": size }]);
        let mut config = config.clone();
        config["linux"]["security_context"] =
            json!({ "namespace_options": { "userns_options": { "mode": "POD", "uids": map, "gids": map } } });
        config
    };
    let pod = Pod::run_with(host, &with_map(196_608, 65536));
    let (one, two) = (pod.container("one", 0, &["sleep", "1000"]), pod.container("two", 1000, &["sleep", "1000"]));
    let look = |container: &str| {
        pod.exec(container, "readlink /proc/self/ns/user; cat /proc/self/uid_map; stat -c %u:%g /bin")
    };
    assert_eq!(look(&one), look(&two));
    let (_, said) = look(&one);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words.get(1..), Some(["0", "196608", "65536", "0:0"].as_slice()), "{said}");
    let ranges = host.sh("containerd-shim-eci-v2 ranges | awk 'NR > 1 { print $1 }' | sort -u");
    assert_eq!(ranges.ok(), "196608-262143");
    // The network is the pod's own, and has its address.
    assert!(pod.exec(&one, "ip -4 addr show eth0").1.contains("inet 10.88."));
    pod.end(&[&one, &two]);
    // Ids that the host's accounts have, and fewer than every image expects.
    for (first, size, reason) in [
        (1000, 65536, "detected user-ns uid mapping to host ID 1000"),
        (196_608, 1000, "must specify a container with at least 65536 uids"),
    ] {
        let request = json!({ "config": with_map(first, size), "runtime_handler": "eci" });
        let output = answer(host, "RunPodSandbox", &request);
        assert!(output.status != 0 && output.stderr.contains(reason), "{output:#?}");
    }
    // The network was made before.
    host.sh("ip link del cni0");
    host.sh("find /sys/fs/cgroup -depth -type d -name pods -exec rmdir {} + 2> /dev/null; true").ok();
}
