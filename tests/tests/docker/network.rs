//! Docker's networks, which are wired into a container that was made already: through `/proc/<pid>/ns/net`, or by dockerd's
//! prestart hook (Docker 26).

use tests::host::Host;

on_each_docker!(
    containers_reach_each_other_by_name_and_the_host_by_a_published_port,
    the_default_network_and_none,
    a_container_may_join_anothers_namespaces,
    a_network_is_connected_and_disconnected_while_it_runs,
    the_hosts_network_is_not_shared,
);

const SERVE: &str = "httpd -f -p 80 -h /var/www";

fn containers_reach_each_other_by_name_and_the_host_by_a_published_port(host: &Host) {
    host.sh(&format!("docker network create --ipv6 --subnet fd00:1::/64 net && $DOCKER -d --name one --network net --network-alias web -p 18080:80 busybox {SERVE}")).ok();
    host.until("[ \"$(busybox wget -qO- http://127.0.0.1:18080/index.html)\" = served ]");
    let other = "$DOCKER --rm --network net busybox sh -c 'wget -qO- http://one/index.html; wget -qO- http://web/index.html; ping -c 1 -q one > /dev/null && ping -6 -c 1 -q one > /dev/null && echo reached'";
    assert_eq!(host.sh(other).ok(), "served\nserved\nreached");
    // After a restart, too: it is wired anew.
    host.sh("docker restart -t 0 one").ok();
    host.until("[ \"$(busybox wget -qO- http://127.0.0.1:18080/index.html)\" = served ]");
    assert!(host.sh("docker port one").ok().contains("80/tcp -> 0.0.0.0:18080"));
    host.sh("docker rm -f one && docker network rm net").ok();
}

fn the_default_network_and_none(host: &Host) {
    let default = host.sh("$DOCKER --rm --dns 192.0.2.1 --add-host other:192.0.2.2 --mac-address 02:42:00:00:00:05 busybox sh -c 'cat /sys/class/net/eth0/address; ip -4 addr show eth0 | grep -c inet; ip route | grep -c default; grep -c 192.0.2.1 /etc/resolv.conf; grep -c \"192.0.2.2.other\" /etc/hosts; ping -c 1 -q $(ip route | awk \"/default/ { print \\$3 }\") > /dev/null && echo reached'");
    assert_eq!(default.ok(), "02:42:00:00:00:05\n1\n1\n1\n1\nreached");
    assert_eq!(host.sh("$DOCKER --rm --network none busybox ls /sys/class/net").ok(), "lo");
    // Ports below 1024 are open to everybody, as Docker asks for by a sysctl, and a network's sysctls are the container's.
    let sysctls = host.sh("$DOCKER --rm --user 1000 --sysctl net.ipv4.ip_forward=0 --sysctl net.core.somaxconn=77 --sysctl kernel.shmmni=99 busybox sh -c 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni'");
    assert_eq!(sysctls.ok(), "0\n0\n77\n99");
}

fn a_container_may_join_anothers_namespaces(host: &Host) {
    host.sh(&format!("$DOCKER -d --name one --ipc shareable --memory 64m busybox {SERVE}")).ok();
    host.until("$DOCKER --rm --network container:one busybox wget -qO- http://127.0.0.1/index.html");
    let joined = "$DOCKER --rm --network container:one --pid container:one --ipc container:one busybox sh -c 'wget -qO- http://127.0.0.1/index.html; ps | grep -q [h]ttpd && echo seen; cat /proc/self/uid_map; for kind in user ipc; do readlink /proc/self/ns/$kind; done'";
    let own =
        "docker exec one sh -c 'cat /proc/self/uid_map; for kind in user ipc; do readlink /proc/self/ns/$kind; done'";
    assert_eq!(host.sh(joined).ok(), format!("served\nseen\n{}", host.sh(own).stdout.trim_end()));
    // It goes on when the other one has gone.
    host.sh("$DOCKER -d --name two --network container:one busybox sleep 1000 && docker rm -f one && docker exec two ls /sys/class/net").ok();
    host.sh("docker rm -f two").ok();
}

fn a_network_is_connected_and_disconnected_while_it_runs(host: &Host) {
    host.sh("docker network create net && $DOCKER -d --name one busybox sleep 1000").ok();
    let links = || host.sh("docker exec one ls /sys/class/net").ok().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(links(), "eth0 lo");
    host.sh("docker network connect net one").ok();
    assert_eq!(links(), "eth0 eth1 lo");
    host.sh("docker network disconnect net one").ok();
    assert_eq!(links(), "eth0 lo");
    host.sh("docker rm -f one && docker network rm net").ok();
}

fn the_hosts_network_is_not_shared(host: &Host) {
    let said = host.sh("$DOCKER --rm --network host busybox true").failed();
    let text = "eci containers can't share a network namespace with the host (because they use the linux user-namespace for isolation)";
    assert!(said.contains(text), "{said}");
}
