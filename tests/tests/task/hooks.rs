//! Hooks: each kind in its place, at its time, with the state that it is told, and what hooks do for a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::stdio::Pipes;
use tests::{Bundle, Container, place};

pub(crate) const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// What the hooks of one test leave behind; inside it is /out.
struct Notes(PathBuf);

impl Notes {
    fn new() -> Self {
        Self(place::new_dir(&place::unique("hooks")))
    }

    /// Where a hook of a kind finds it.
    fn seen_by(&self, kind: &str) -> String {
        if kind == "startContainer" { "/out".to_owned() } else { self.0.display().to_string() }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn state(&self, kind: &str) -> Value {
        serde_json::from_str(&self.read(&format!("{kind}.state"))).expect("JSON")
    }
}

/// Notes the order, the state and the namespaces.
fn noting(bundle: Bundle, notes: &Notes, kind: &str) -> Bundle {
    let out = notes.seen_by(kind);
    let script = format!(
        "cat > {out}/{kind}.state; echo {kind} >> {out}/order; pwd > {out}/{kind}.pwd; \
         for n in user mnt pid ipc uts net cgroup time; do echo $n $(readlink /proc/self/ns/$n); done > {out}/{kind}.ns"
    );
    bundle.hook(kind, &script)
}

/// The kinds of the namespaces that two processes share, of their lists.
fn shared(one: &str, other: &str) -> Vec<String> {
    let same = one.lines().zip(other.lines()).filter(|(one, other)| one == other);
    same.map(|(one, _)| one.split(' ').next().expect("a kind").to_owned()).collect()
}

const NAMESPACES: &str = "for n in user mnt pid ipc uts net cgroup time; do echo $n $(readlink /proc/self/ns/$n); done";

#[tokio::test]
async fn every_kind_runs_in_its_order_its_place_and_with_its_state() {
    let notes = Notes::new();
    let program = "echo program >> /out/order; exec sleep 1000";
    let mut bundle = Bundle::new().bind(&notes.0, "/out", &[]).sh(program).set("/annotations", json!({ "a.b": "c" }));
    for kind in KINDS.iter().rev() {
        bundle = noting(bundle, &notes, kind);
    }
    // It is told that the program runs, so it can wait for what that does.
    let wait = format!("until grep -q program {}/order; do sleep 0.1; done", notes.0.display());
    let waiting = json!({ "path": "/bin/sh", "args": ["sh", "-c", wait], "env": ["PATH=/bin"], "timeout": 60 });
    bundle = bundle.push("/hooks/poststart", waiting);
    let container = Container::create(bundle).await.unwrap();
    assert_eq!(notes.read("order"), "prestart\ncreateRuntime\ncreateContainer\n");
    container.start().await.unwrap();
    let inside = container.sh(NAMESPACES).await.ok().to_owned();
    let (id, pid, dir) = (container.id(), container.pid, container.bundle.dir.clone());
    container.end().await;

    let order = notes.read("order");
    let order: Vec<&str> = order.lines().filter(|word| *word != "program").collect();
    assert_eq!(order, KINDS);
    let host = tests::sh(NAMESPACES);
    for (kind, status, its_pid) in [
        ("prestart", "creating", json!(pid)),
        ("createRuntime", "creating", json!(pid)),
        ("createContainer", "creating", json!(1)),
        ("startContainer", "created", json!(1)),
        ("poststart", "running", json!(pid)),
        ("poststop", "stopped", Value::Null),
    ] {
        let state = notes.state(kind);
        let expected = json!({
            "ociVersion": "1.3.0", "id": id, "status": status, "bundle": dir, "annotations": { "a.b": "c" },
            "pid": its_pid,
        });
        let keys = expected.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        let expected: serde_json::Map<_, _> = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(state, Value::Object(expected), "{kind}");
        let namespaces = notes.read(&format!("{kind}.ns"));
        let (of_host, of_container) = (shared(&namespaces, host.ok()), shared(&namespaces, &inside));
        let (all, directory) = (["user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"], dir.to_str().unwrap());
        let place = notes.read(&format!("{kind}.pwd"));
        match kind {
            "startContainer" => {
                assert_eq!((of_host, of_container.join(" ")), (vec![], all.join(" ")), "{kind}");
                assert_eq!(place, "/\n");
            }
            // The tree stands in a mount namespace that the host's user namespace owns, until init copies it.
            "createContainer" => {
                assert_eq!((of_host.join(" "), of_container.join(" ")), ("user".into(), all[2..].join(" ")), "{kind}");
                assert_eq!(place.trim(), directory);
            }
            _ => {
                assert_eq!((of_host.join(" "), of_container), (all.join(" "), vec![]), "{kind}");
                assert_eq!(place.trim(), directory);
            }
        }
    }
}

#[tokio::test]
async fn what_a_runtime_hook_mounts_below_root_path_is_in_the_container_and_locked() {
    let notes = Notes::new();
    let tree = |name: &str| {
        std::fs::create_dir(notes.0.join(name)).unwrap();
        std::fs::write(notes.0.join(name).join("file"), name).unwrap();
        notes.0.join(name).display().to_string()
    };
    let mount = |name: &str| {
        format!(
            "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
             exec nsenter -t $pid -m -- mount --bind -o ro {} $PWD/rootfs/mnt/{name}",
            tree(name)
        )
    };
    // It has the capability, but mount(8) is set-user-ID and makes itself poorer than its caller.
    let as_root = "setpriv --reuid 0 --regid 0 --clear-groups";
    let bundle = Bundle::new()
        .image_with(|image| {
            for name in ["prestart", "createRuntime", "createContainer"] {
                std::fs::create_dir_all(image.join("mnt").join(name)).unwrap();
            }
        })
        .hook("prestart", &mount("prestart"))
        .hook("createRuntime", &mount("createRuntime"))
        .hook(
            "createContainer",
            &format!("{as_root} mount --bind -o ro {} rootfs/mnt/createContainer", tree("createContainer")),
        )
        .all_capabilities();
    let container = Container::sleeping(bundle).await;
    for name in ["prestart", "createRuntime", "createContainer"] {
        assert_eq!(container.sh(&format!("cat /mnt/{name}/file")).await.ok(), name);
        for act in ["umount", "mount -o remount,bind,rw"] {
            let output = container.sh(&format!("{act} /mnt/{name}")).await;
            assert_ne!(output.status, 0, "{act} {name}: {output:?}");
        }
    }
    let tables = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!tables.contains("/rootfs/mnt/"), "nothing of it is in the host's mount namespace");
    container.end().await;
}

#[tokio::test]
async fn a_runtime_hook_sets_the_containers_network_up() {
    let attach = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); name=e$pid; \
                  ip link add $name type veth peer name eth7 netns $pid && ip link set $name up";
    let container = Container::sleeping(Bundle::new().hook("createRuntime", attach)).await;
    assert!(container.sh("ip link show eth7").await.ok().contains("eth7"));
    container.end().await;
}

#[tokio::test]
async fn a_create_container_hook_owns_what_it_makes_as_the_containers_root_does() {
    let script = "echo made > rootfs/made && mkdir rootfs/dir && ln -s made rootfs/link && \
                  grep -q '\"hooks\"' config.json && id -u > rootfs/id";
    let bundle = Bundle::new().hook("createContainer", script);
    let container = Container::sleeping(bundle).await;
    assert_eq!(container.sh("cat /link; stat -c %u:%g /made /dir /link | sort -u").await.ok(), "made\n0:0");
    assert_eq!(container.sh("cat /id").await.ok(), container.host_base().to_string());
    container.end().await;
}

#[tokio::test]
async fn a_start_container_hook_may_make_what_the_program_needs() {
    let script =
        "mkdir /made && printf '#!/bin/sh\\necho I run in $PWD as $(id -u)\\n' > /made/program && chmod 755 /made/*";
    let bundle = Bundle::new()
        .args(&["/made/program"])
        .set("/process/user", json!({ "uid": 5, "gid": 5 }))
        .set("/process/cwd", json!("/made"))
        .hook("startContainer", script);
    assert_eq!(bundle.run().await.ok(), "I run in /made as 5");
}

/// It is one of the container's processes: sysinfo(2) tells it of the container, and it makes devices.
#[tokio::test]
async fn what_a_start_container_hook_calls_is_trapped() {
    let limited = json!({ "memory": { "limit": 512 << 20 } });
    let bundle = Bundle::new()
        .all_capabilities()
        .set("/linux/resources", limited)
        .hook(
            "startContainer",
            "free -m | awk '/^Mem/ { print $2 }' > /made; mknod /null c 1 3; (sleep 1; mknod /late c 1 3) &",
        )
        .hook("startContainer", "mknod /zero c 1 5");
    let script =
        "cat /made; stat -c %t:%T /null /zero; mknod /own c 1 3; until [ -c /late ]; do sleep 0.1; done; echo late";
    assert_eq!(bundle.sh(script).run().await.ok(), "512\n1:3\n1:5\nlate");
    // One that is killed in the middle of its call.
    let failing = Bundle::new().all_capabilities().hook("startContainer", "mknod /null c 1 3; kill -9 $$");
    let refused = failing.start_refused().await;
    assert!(refused.contains("killed by signal 9"), "{refused}");
}

#[tokio::test]
async fn a_hook_has_its_own_environment_and_arguments_alone() {
    let notes = Notes::new();
    // The program's environment, and the image's, is none of a hook's.
    let mut bundle = Bundle::new()
        .bind(&notes.0, "/out", &[])
        .push("/process/env", json!("LD_PRELOAD=/evil.so"))
        .push("/process/env", json!("SECRET=1"));
    for kind in KINDS {
        let script =
            format!("tr '\\0' '\\n' < /proc/self/environ > {0}/{kind}; echo $0 >> {0}/{kind}", notes.seen_by(kind));
        let hook = json!({ "path": "/bin/sh", "args": ["/my/sh", "-c", script], "env": ["B=2", "A=1", "B=3"] });
        bundle = bundle.push(&format!("/hooks/{kind}"), hook);
    }
    bundle.run().await.ok();
    for kind in KINDS {
        assert_eq!(notes.read(kind), "B=2\nA=1\nB=3\n/my/sh\n", "{kind}");
    }
}

#[tokio::test]
async fn a_hook_without_arguments_has_its_path_as_its_name() {
    let notes = Notes::new();
    let path = script_at(&notes.0, &format!("#!/bin/sh\necho $0 > {}/name\n", notes.0.display()));
    Bundle::new().push("/hooks/poststop", json!({ "path": path })).run().await.ok();
    assert_eq!(notes.read("name").trim(), path);
}

fn script_at(dir: &Path, text: &str) -> String {
    let path = dir.join("script");
    place::script(&path, text);
    path.display().to_string()
}

#[tokio::test]
async fn poststop_hooks_run_once_when_a_container_is_deleted() {
    let notes = Notes::new();
    let count = format!("echo >> {}/count", notes.0.display());
    let container = Container::create_with(Bundle::new().hook("poststop", &count), Pipes::none()).await.unwrap();
    container.start().await.unwrap();
    container.wait().await;
    assert!(!notes.0.join("count").exists(), "not before it is deleted");
    container.delete().await.unwrap();
    assert_eq!(notes.read("count"), "\n");
    let delete = tests::shim::call_delete(&container.bundle.dir, &container.id());
    assert!(delete.status.success());
    assert_eq!(notes.read("count"), "\n", "delete finds nothing that is owed");
}

#[tokio::test]
async fn a_member_of_a_pod_has_hooks_in_the_namespaces_that_it_joins() {
    let notes = Notes::new();
    let first = Container::sleeping(Bundle::new()).await;
    let mut bundle = Bundle::new().bind(&notes.0, "/out", &[]).args(&["/bin/sleep", "1000"]);
    for (kind, name) in [("pid", "pid"), ("ipc", "ipc"), ("network", "net"), ("uts", "uts")] {
        bundle = bundle.namespace(kind, Some(&format!("/proc/{}/ns/{name}", first.pid)));
    }
    for kind in KINDS {
        bundle = noting(bundle, &notes, kind);
    }
    let second = Container::started(bundle).await;
    let inside = first.sh(NAMESPACES).await.ok().to_owned();
    let shares = |kind: &str| shared(&notes.read(&format!("{kind}.ns")), &inside).join(" ");
    assert_eq!(shares("createContainer"), "pid ipc uts net");
    assert_eq!(shares("startContainer"), "user pid ipc uts net");
    // As the pod's pid namespace counts: the first is another container's.
    let pid = second.sh("pidof sleep").await;
    for kind in ["createContainer", "startContainer"] {
        let told = notes.state(kind)["pid"].as_u64().expect("a pid");
        assert!(told > 1 && pid.ok().split(' ').any(|pid| pid == told.to_string()), "{kind}: {told} {pid:?}");
    }
    second.end().await;
    first.end().await;
}

#[tokio::test]
async fn the_program_of_a_hook_may_be_that_of_a_process() {
    // As dockerd names its own: /proc/PID/exe, with another name as the first argument.
    let notes = Notes::new();
    let mut shell = std::process::Command::new("/bin/sh");
    let mut shell = shell.args(["-c", "read line"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let script = format!("cat > {}/state", notes.0.display());
    let path = format!("/proc/{}/exe", shell.id());
    let hook = json!({ "path": path, "args": ["libnetwork-setkey", "-c", script], "env": ["PATH=/bin"] });
    Bundle::new().push("/hooks/prestart", hook).run().await.ok();
    assert!(notes.read("state").contains("\"status\":\"creating\""));
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

#[tokio::test]
async fn a_program_with_a_terminal_has_it_after_hooks() {
    let bundle = Bundle::new().set("/process/terminal", json!(true)).hook("startContainer", "echo of the hook");
    let mut container =
        Container::create_with(bundle.sh("test -t 1 && echo on a terminal"), Pipes::terminal()).await.unwrap();
    container.start().await.unwrap();
    assert_eq!(container.output().await.stdout.trim(), "on a terminal", "a hook prints nothing there");
    container.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_program_shows_at_start_after_hooks() {
    let bundle = Bundle::new().args(&["/nope"]);
    let plain = bundle.clone().refused().await;
    let hooked = Bundle::new().args(&["/nope"]).hook("startContainer", "true").start_refused().await;
    let cause = "exec: \"/nope\": stat /nope: no such file or directory";
    assert!(plain.contains(cause) && hooked.contains(cause), "{plain}\n{hooked}");
}
