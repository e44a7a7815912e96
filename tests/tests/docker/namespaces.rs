//! Namespaces through `docker run`: the host's are refused in words that its users know, those of another container are
//! joined with its user namespace.

use tests::Output;
use tests::host::Host;

on_each_docker!(
    the_hosts_namespaces_are_refused_in_words_that_users_know,
    a_denial_is_one_line_in_the_log,
    the_hosts_user_and_cgroup_namespaces_cannot_be_had,
    namespaces_of_its_own_are_as_under_runc,
    a_container_joins_the_namespaces_of_another_and_its_ids,
    a_member_outlives_the_container_whose_namespaces_it_has,
    namespaces_of_runcs_containers_are_refused_with_what_to_do,
);

on_both_dockers!(what_one_wrote_of_a_shared_network_outlives_its_shim);

/// The user namespace, and the map, of the process that runs this.
const IDS: &str = "readlink /proc/self/ns/user; cat /proc/self/uid_map /proc/self/gid_map";

fn the_hosts_namespaces_are_refused_in_words_that_users_know(host: &Host) {
    for (options, what) in [
        ("--pid=host", "namespaces [pid]"),
        ("--ipc=host", "namespaces [ipc]"),
        ("--uts=host", "namespaces [uts]"),
        ("--network=host", "a network namespace"),
        ("--privileged --network=host", "a network namespace"),
        ("--pid=host --ipc=host", "namespaces [ipc pid]"),
        ("--uts=host --pid=host --network=host", "namespaces [network pid uts]"),
    ] {
        let said = host.sh(&format!("$DOCKER --rm {options} busybox true"));
        assert_eq!(said.status, 125, "{said:#?}");
        let text = format!(
            "failed to create shim task: OCI runtime create failed: error in the container spec: invalid or unsupported \
             container spec: eci containers can't share {what} with the host (because they use the linux user-namespace for \
             isolation)"
        );
        assert!(said.failed().contains(&text), "{options}: {said:#?}");
    }
}

fn a_denial_is_one_line_in_the_log(host: &Host) {
    let script = "$DOCKER --name denied --pid=host busybox true; docker inspect -f '{{.Id}}' denied; docker rm denied";
    let output = host.sh(script).stdout;
    let id = output.lines().find(|line| line.len() == 64).unwrap_or_else(|| panic!("no id: {output}"));
    let event = format!(
        "level=warning msg=denied runtime=io.containerd.eci.v2 audit=true container={id} rule=namespaces object=pid"
    );
    host.until(&format!("grep -q '{event}$' /state/log/containerd.log"));
    assert_eq!(host.sh(&format!("grep -c 'audit=true container={id}' /state/log/containerd.log")).ok(), "1");
}

fn the_hosts_user_and_cgroup_namespaces_cannot_be_had(host: &Host) {
    // Except for the numbers of what is new for each container.
    let look =
        "cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/cgroup; find /sys/fs/cgroup -maxdepth 2 | sort";
    let run = |options: &str| host.sh(&format!("$DOCKER --rm {options} busybox sh -c '{look}'"));
    let plain = run("");
    assert!(plain.ok().contains(":/\n") && plain.ok().contains("/sys/fs/cgroup/"), "{plain:#?}");
    let fields: Vec<&str> = plain.ok().split_whitespace().take(3).collect();
    assert!(fields[0] == "0" && fields[1].parse::<u32>().unwrap() >= 65536 && fields[2] == "65536", "{plain:#?}");
    for options in
        ["--userns=host", "--cgroupns=host", "--cgroupns=private", "--userns=host --cgroupns=host --privileged"]
    {
        assert_eq!(run(options).ok(), plain.ok(), "{options}");
    }
    for kind in ["user", "cgroup"] {
        let hosts = host.sh(&format!("readlink /proc/self/ns/{kind}"));
        let own = host.sh(&format!("$DOCKER --rm --{kind}ns=host busybox readlink /proc/self/ns/{kind}"));
        assert_ne!(own.ok(), hosts.ok(), "{kind}");
    }
}

fn namespaces_of_its_own_are_as_under_runc(host: &Host) {
    host.sh("docker network create own").ok();
    let look = "ls /sys/class/net; hostname; ls /dev/shm && touch /dev/shm/file; echo $?";
    for options in ["--network=none", "--network=own", "--uts=", "--ipc=private", "--ipc=shareable", "--ipc=none"] {
        let run = |runtime: &str| {
            host.sh(&format!("docker run --rm --runtime {runtime} --hostname h {options} busybox sh -c '{look}'"))
        };
        let (ours, runcs) = (run("named"), run("runc"));
        assert_eq!((ours.ok(), &ours.stderr), (runcs.ok(), &runcs.stderr), "{options}");
    }
    host.sh("docker network rm own").ok();
}

/// Two outputs that must say the same.
#[track_caller]
fn same(one: &Output, other: &Output) {
    assert_eq!(one.ok(), other.ok());
    assert!(!one.ok().is_empty());
}

fn a_container_joins_the_namespaces_of_another_and_its_ids(host: &Host) {
    // Another one, so that ranges are not one by chance.
    host.sh("$DOCKER -d --name other busybox sleep 1000").ok();
    host.sh("$DOCKER -d --name first --ipc=shareable -v volume:/volume busybox sleep 1000").ok();
    host.sh(
        "docker exec first sh -c 'echo first > /volume/first; chown 1000:100 /volume/first; echo shm > /dev/shm/first'",
    )
    .ok();
    let first = |script: &str| host.sh(&format!("docker exec first sh -c '{script}'"));
    let joined =
        [("--network=container:first", "net"), ("--pid=container:first", "pid"), ("--ipc=container:first", "ipc")];
    let all = joined.map(|(option, _)| option).join(" ");
    for (option, kind) in joined.into_iter().chain([(all.as_str(), "net")]) {
        let member =
            |script: &str| host.sh(&format!("$DOCKER --rm {option} -v volume:/volume busybox sh -c '{script}'"));
        same(&first(IDS), &member(IDS));
        let link = format!("readlink /proc/self/ns/{kind}");
        same(&first(&link), &member(&link));
        assert_ne!(first("readlink /proc/self/ns/mnt").ok(), member("readlink /proc/self/ns/mnt").ok());
        assert_eq!(
            member("stat -c %u:%g /volume/first; echo member > /volume/member; chown 7:8 /volume/member").ok(),
            "1000:100"
        );
        assert_eq!(first("cat /volume/member; stat -c %u:%g /volume/member").ok(), "member\n7:8");
    }
    let other = host.sh(&format!("docker exec other sh -c '{IDS}'"));
    assert_ne!(other.ok(), first(IDS).ok(), "a range of its own");
    let pids = host.sh("$DOCKER --rm --pid=container:first busybox cat /proc/1/comm");
    assert_eq!(pids.ok(), "sleep");
    assert_eq!(host.sh("$DOCKER --rm --ipc=container:first busybox cat /dev/shm/first").ok(), "shm");
    let address = "ip addr show eth0 | grep inet";
    same(&first(address), &host.sh(&format!("$DOCKER --rm --network=container:first busybox sh -c '{address}'")));
    // A container has one user namespace.
    let said = host.sh("$DOCKER --rm --network=container:first --pid=container:other busybox true").failed();
    assert!(
        said.contains("belongs to another eci container than the user namespace that the other paths lead to"),
        "{said}"
    );
    host.sh("docker rm -f first other && docker volume rm volume").ok();
}

fn a_member_outlives_the_container_whose_namespaces_it_has(host: &Host) {
    host.sh("$DOCKER -d --name first busybox sleep 1000").ok();
    host.sh("$DOCKER -d --name member --network=container:first busybox sleep 1000").ok();
    let ids = |name: &str| host.sh(&format!("docker exec {name} sh -c '{IDS}'")).ok().to_owned();
    let before = ids("member");
    assert_eq!(ids("first"), before);
    host.sh("docker rm -f first && $DOCKER -d --name next busybox sleep 1000").ok();
    assert_eq!(ids("member"), before);
    assert_ne!(ids("next"), before, "the range is still the member's");
    host.sh("docker rm -f member next").ok();
}

fn what_one_wrote_of_a_shared_network_outlives_its_shim(host: &Host) {
    let file = "/proc/sys/net/core/rmem_max";
    let write =
        |name: &str, value: &str| host.sh(&format!("docker exec {name} sh -c 'echo {value} > {file}'")).ok().len();
    let read = |name: &str| host.sh(&format!("docker exec {name} cat {file}")).ok().to_owned();
    let of_host = host.sh(&format!("cat {file}")).ok().to_owned();
    host.sh("$DOCKER -d --privileged --name first busybox sleep 1000").ok();
    host.sh("$DOCKER -d --privileged --name member --network=container:first busybox sleep 1000").ok();
    write("first", "7777777");
    assert_eq!(read("member"), "7777777");
    host.sh("kill -KILL $(ps -o ppid= -p $(docker inspect -f '{{.State.Pid}}' first))").ok();
    host.until("[ \"$(docker inspect -f '{{.State.Status}}' first)\" = exited ]");
    assert_eq!(read("member"), "7777777");
    write("member", "8888888");
    assert_eq!(read("member"), "8888888");
    host.sh("docker rm first").ok();
    assert_eq!(read("member"), "8888888");
    assert_eq!(host.sh(&format!("cat {file}")).ok(), of_host);
    host.sh("docker rm -f member").ok();
}

fn namespaces_of_runcs_containers_are_refused_with_what_to_do(host: &Host) {
    host.sh("docker run -d --name runcs --runtime runc --ipc=shareable busybox sleep 1000").ok();
    host.sh("$DOCKER -d --name ours --ipc=shareable busybox sleep 1000").ok();
    let pid = host.sh("docker inspect -f '{{.State.Pid}}' runcs");
    for (option, kind, name) in [("network", "network", "net"), ("pid", "pid", "pid"), ("ipc", "ipc", "ipc")] {
        let said = host.sh(&format!("$DOCKER --rm --{option}=container:runcs busybox true")).failed();
        let text = format!(
            "error in the container spec: linux.namespaces: the {kind} namespace \"/proc/{}/ns/{name}\" is owned by the \
             host's user namespace: it is the host's, or that of a container of another runtime, such as runc; run both \
             containers with this runtime",
            pid.ok()
        );
        assert!(said.contains(&text), "{said}");
        // That does it.
        assert_eq!(host.sh(&format!("$DOCKER --rm --{option}=container:ours busybox true")).status, 0);
    }
    host.sh("docker rm -f runcs ours").ok();
}
