//! dockerd or containerd ends under a running container; hooks that dockerd asks for.

use serde_json::Value;
use tests::host::Host;
use tests::place;

on_both_dockers!(
    containers_outlive_dockerd_where_it_is_asked_for,
    containers_end_with_dockerd_where_it_is_not,
    containers_outlive_containerd,
    a_killed_shim_is_the_end_of_its_container_alone,
    a_gpus_hook_mounts_into_the_container,
    cdi_devices_bring_their_nodes_mounts_environment_and_hooks,
);

/// Ends a daemon, which the host's first process starts again, and waits for both.
const END: &str = "back() { until ctr version && docker version; do sleep 0.02; done > /dev/null 2>&1; }
    end() { old=$(pgrep -x $2); kill -$1 $old; while [ -e /proc/$old ]; do sleep 0.02; done
            until new=$(pgrep -x $2) && [ $new != $old ]; do sleep 0.02; done; back; };";

/// dockerd's configuration with one more boolean, in the hosts' /etc.
fn configure(host: &Host, pointer: &[&str], value: bool) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(host.state().join("daemon.json")).unwrap()).unwrap();
    *pointer.iter().fold(&mut config, |config, key| &mut config[*key]) = value.into();
    std::fs::write(host.state().join("changed.json"), config.to_string()).unwrap();
    host.sh("cp /state/changed.json /etc/docker/daemon.json").ok();
}

fn live_restore(host: &Host, value: bool) {
    configure(host, &["live-restore"], value);
    host.sh("kill -HUP $(pgrep -x dockerd)").ok();
    host.until(&format!("[ \"$(docker info -f '{{{{.LiveRestoreEnabled}}}}')\" = {value} ]"));
}

const WORK: &str = "trap \"echo caught\" USR1; trap \"exit 6\" TERM; echo ready; while :; do sleep 0.05; done";

fn containers_outlive_dockerd_where_it_is_asked_for(host: &Host) {
    live_restore(host, true);
    host.sh(&format!("$DOCKER -d --name one -p 18080:80 busybox sh -c 'httpd -p 80 -h /var/www; {WORK}' && $DOCKER -d --name two busybox sleep 1000")).ok();
    host.until("docker logs one | grep -q ready");
    for signal in ["TERM", "KILL"] {
        host.sh(&format!("{END} end {signal} dockerd")).ok();
        assert_eq!(host.sh("docker ps -q | wc -l; docker exec one sh -c 'echo in; exit 3'").stdout, "2\nin\n");
        host.until("[ \"$(busybox wget -qO- http://127.0.0.1:18080/index.html)\" = served ]");
    }
    // Who attaches sees what it writes, and it stops as ever.
    host.sh("docker kill -s USR1 one").ok();
    host.until("docker logs one | grep -q caught");
    assert_eq!(host.sh("docker stop one > /dev/null; docker wait one").ok(), "6");
    // One that ends while there is no dockerd has its code when there is one again.
    let ended = host.sh(&format!(
        "{END} init=$(docker inspect -f '{{{{.State.Pid}}}}' two) old=$(pgrep -x dockerd)
         # Nobody starts it again meanwhile.
         keeper=$(ps -o ppid= -p $old); kill -STOP $keeper; kill -KILL $old $init
         until ! [ -e /proc/$init ]; do sleep 0.02; done; kill -CONT $keeper; back; docker wait two"
    ));
    assert_eq!(ended.ok(), "137");
    host.sh("docker rm one two").ok();
    live_restore(host, false);
}

fn containers_end_with_dockerd_where_it_is_not(host: &Host) {
    host.sh(&format!(
        "$DOCKER -d --name one busybox sh -c '{WORK}' && $DOCKER -d --name two --restart always busybox sleep 1000"
    ))
    .ok();
    host.until("docker logs one | grep -q ready");
    host.sh(&format!("{END} end TERM dockerd")).ok();
    // Stopped, and started again where the policy says so; as under runc.
    let states = "docker inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}}' one two";
    host.until(&format!("[ \"$({states} | tr '\\n' ' ')\" = '/one exited 6 /two running 0 ' ]"));
    host.sh("docker start one && docker exec one true && docker exec two true && docker rm -f one two").ok();
}

fn containers_outlive_containerd(host: &Host) {
    host.sh(&format!("$DOCKER -d --name one busybox sh -c '{WORK}' && $DOCKER -d --name two busybox sleep 1000")).ok();
    host.until("docker logs one | grep -q ready");
    for signal in ["TERM", "KILL"] {
        host.sh(&format!("{END} end {signal} containerd")).ok();
        // dockerd finds its way back in its own time, and may miss what happens before.
        host.until("timeout 20 docker exec one true");
        assert_eq!(host.sh("docker exec one sh -c 'echo in; exit 3'").status, 3);
    }
    host.sh("docker kill -s USR1 one").ok();
    host.until("docker logs one | grep -q caught");
    assert_eq!(
        host.sh("docker stop one > /dev/null; docker wait one; docker kill two; docker wait two").ok(),
        "6\ntwo\n137"
    );
    host.sh("docker restart -t 0 one two && docker rm -f one two").ok();
}

fn a_killed_shim_is_the_end_of_its_container_alone(host: &Host) {
    let run = "$DOCKER -d --name one --restart on-failure:3 -p 18080:80 busybox sh -c 'echo started >> /starts; httpd -p 80 -h /var/www; exec sleep 901'";
    host.sh(&format!("{run} && $DOCKER -d --name two busybox sleep 902")).ok();
    let killed = "init=$(docker inspect -f '{{.State.Pid}}' one); shim=$(ps -o ppid= -p $init); tr '\\0' ' ' < /proc/${shim// /}/cmdline | grep -q shim && kill -KILL $shim && while [ -e /proc/$init ]; do sleep 0.02; done";
    host.sh(killed).ok();
    // It is restarted, as its policy says, with its files and its port.
    host.until("[ \"$(docker inspect -f '{{.State.Status}} {{.RestartCount}}' one)\" = 'running 1' ]");
    host.until("[ $(docker exec one grep -c started /starts) = 2 ]");
    assert_eq!(host.sh("docker exec one cat /starts; docker exec two echo other").ok(), "started\nstarted\nother");
    host.until("[ \"$(busybox wget -qO- http://127.0.0.1:18080/index.html)\" = served ]");
    host.until("[ $(pgrep -fxc 'sleep 90[12]') = 2 ]");
    host.sh("docker rm -f one two").ok();
}

/// What NVIDIA's hook does (libnvidia-container): it enters the mount namespace of the container that is being made, makes
/// what it needs below its root.path as who owns that, and mounts there.
const GPU_HOOK: &str = r#"#!/bin/bash
set -e
state=$(cat)
pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' <<< "$state") bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/' <<< "$state")
root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
[ "$1" = prestart ]
nsenter --target "$pid" --mount sh -ec "/state/inside mkdir-as \$(stat -c %u $root) $root/gpu && mount -t tmpfs gpu $root/gpu && echo library > $root/gpu/lib && mount -o remount,bind,ro $root/gpu"
"#;

fn a_gpus_hook_mounts_into_the_container(host: &Host) {
    // dockerd looks for the program when it starts.
    std::fs::write(host.state().join("hook"), GPU_HOOK).unwrap();
    std::fs::copy(place::inside(), host.state().join("inside")).unwrap();
    host.sh(&format!("install /state/hook /usr/local/bin/nvidia-container-runtime-hook; {END} end TERM dockerd")).ok();
    let inside = "cat /gpu/lib; stat -c %u /gpu/..; echo $NVIDIA_VISIBLE_DEVICES; ! touch /gpu/made && ! umount /gpu && ! mount -o remount,bind,rw /gpu";
    let output = host.sh(&format!("$DOCKER --rm --gpus all --cap-add SYS_ADMIN busybox sh -c '{inside}'"));
    assert_eq!(output.ok(), "library\n0\nall");
    // One that fails stops the container, and says why.
    host.sh("printf '#!/bin/sh\\necho no such gpu >&2; exit 4\\n' > /usr/local/bin/nvidia-container-runtime-hook").ok();
    let said = host.sh("$DOCKER --rm --gpus all busybox true").failed();
    assert!(said.contains("no such gpu"), "{said}");
    host.sh(&format!("rm /usr/local/bin/nvidia-container-runtime-hook /state/hook; {END} end TERM dockerd")).ok();
}

const CDI: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.test/device", "devices": [{"name": "one", "containerEdits": {
    "env": ["VENDOR=one"],
    "deviceNodes": [{"path": "/dev/vendor0", "hostPath": "/dev/fuse", "permissions": "rw"}],
    "mounts": [{"hostPath": "/state/lib", "containerPath": "/opt/lib", "options": ["ro", "nosuid", "nodev", "bind"]}],
    "hooks": [{"hookName": "createContainer", "path": "/state/hook", "args": ["hook", "a b"]}]}}]}"#;

fn cdi_devices_bring_their_nodes_mounts_environment_and_hooks(host: &Host) {
    std::fs::write(host.state().join("cdi.json"), CDI).unwrap();
    let hook = "#!/bin/sh\nbundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')\nroot=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' \"$bundle/config.json\")\necho \"$1\" > \"$root/linked\"\n";
    std::fs::write(host.state().join("hook"), hook).unwrap();
    host.sh("chmod 755 /state/hook; mkdir -p /etc/cdi /state/lib && cp /state/cdi.json /etc/cdi/vendor.json && echo library > /state/lib/file").ok();
    // A feature of Docker 25 to 27, and on by default since.
    configure(host, &["features", "cdi"], true);
    host.sh(&format!("{END} end TERM dockerd")).ok();
    let inside = "echo $VENDOR; stat -c \"%t:%T %u:%g\" /dev/vendor0; : <> /dev/vendor0; cat /opt/lib/file /linked; ! touch /opt/lib/made";
    let output = host.sh(&format!("$DOCKER --rm --device vendor.test/device=one busybox sh -c '{inside}'"));
    assert_eq!(output.ok(), "one\na:e5 0:0\nlibrary\na b");
    let said = host.sh("$DOCKER --rm --device vendor.test/device=two busybox true").failed();
    assert!(said.contains("vendor.test/device=two"), "{said}");
    host.sh(&format!(
        "rm -r /etc/cdi /state/lib /state/hook; cp /state/daemon.json /etc/docker/daemon.json; {END} end TERM dockerd"
    ))
    .ok();
}
