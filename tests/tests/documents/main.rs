//! What docs/docker.md, docs/ctr.md and docs/nerdctl.md tell a new user to type, typed word for word on a host that has no
//! shim yet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use tests::host::{Host, Setup};
use tests::place;

/// The lines of code below "Install and use".
fn lines(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(place::sources().join("../docs").join(document)).unwrap();
    let (_, text) = text.split_once("\n## Install and use\n").expect("the section");
    let lines = text.lines().skip_while(|line| !line.starts_with("    ")).take_while(|line| line.starts_with("    "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// A host without a shim in any daemon's PATH, and with the built one in `/state`.
fn host(suite: &str, test: &str) -> Option<Host> {
    let setup = Setup { shim: Some(place::new_dir("no-shim")), ..Setup::default() };
    let host = Host::up_with(suite, test, &setup)?;
    std::fs::copy(place::shim(), host.state().join("containerd-shim-eci-v2")).expect("the shim");
    Some(host)
}

/// Types a line as a user would, in the directory with the binary.
fn typed(host: &Host, line: &str) -> String {
    host.sh(&format!("cd /state; {line}")).ok().to_owned()
}

/// Whether a line of uid_map(5) is that of a range of our own.
fn is_contained(uid_map: &str) -> bool {
    let last = uid_map.lines().next_back().unwrap_or_default();
    let fields: Vec<u64> = last.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    matches!(fields[..], [0, host, 65536] if host >= 65536)
}

#[test]
fn docker() {
    let Some(host) = host("docker-trixie", "docker") else { return };
    // These hosts have no systemd: what its unit does for a reload.
    host.sh("printf '#!/bin/sh\\n[ \"$*\" = \"reload docker\" ] && kill -HUP $(pidof dockerd)\\n' > /usr/local/sbin/systemctl; chmod +x /usr/local/sbin/systemctl").ok();
    let lines = lines("docker.md");
    assert_eq!(lines.len(), 5);
    let before = host.sh("docker run --rm --runtime io.containerd.eci.v2 busybox true").failed();
    assert!(before.contains("not installed"), "{before}");
    typed(&host, &lines[0]);
    assert!(typed(&host, &lines[1]).contains("user namespaces"));
    assert!(is_contained(&typed(&host, &lines[2])));
    assert!(!is_contained(&typed(&host, "docker run --rm busybox cat /proc/self/uid_map")));
    typed(&host, &lines[3]);
    host.until("[ \"$(docker info -f '{{.DefaultRuntime}}')\" = io.containerd.eci.v2 ]");
    assert!(is_contained(&typed(&host, &lines[4])));
}

#[test]
fn ctr() {
    let Some(host) = host("trixie", "ctr") else { return };
    let lines = lines("ctr.md");
    assert_eq!(lines.len(), 5);
    typed(&host, &lines[0]);
    assert!(typed(&host, &lines[1]).contains("user namespaces"));
    assert!(is_contained(&typed(&host, &lines[2])));
    typed(&host, &lines[3]);
    assert!(is_contained(&typed(&host, &lines[4])));
}

#[test]
fn nerdctl() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(binary) = std::env::split_paths(&path).map(|dir| dir.join("nerdctl")).find(|file| file.exists()) else {
        return place::skip("nerdctl", "there is no nerdctl in PATH");
    };
    let Some(host) = host("trixie", "nerdctl") else { return };
    host.sh("mkdir -p /opt/cni && ln -sfn /usr/lib/cni /opt/cni/bin").ok();
    std::fs::copy(binary, host.state().join("nerdctl")).unwrap();
    host.sh("install /state/nerdctl /usr/local/bin/; nerdctl load -i /hosts/images/busybox.tar").ok();
    let lines = lines("nerdctl.md");
    assert_eq!(lines.len(), 5);
    typed(&host, &lines[0]);
    typed(&host, &lines[1]);
    assert!(is_contained(&typed(&host, &lines[2])));
    typed(&host, &lines[3]);
    host.until("busybox wget -qO- http://127.0.0.1:8080/index.html | grep -q served");
    // Every other thing that docs/nerdctl.md says of it.
    let refused = host.sh("nerdctl run --rm --runtime io.containerd.eci.v2 --network host busybox true").failed();
    assert!(refused.contains("can't share a network namespace with the host"), "{refused}");
    host.sh("echo in > /state/file; nerdctl cp web:/etc/passwd /state/passwd && grep -q root /state/passwd").ok();
    host.sh("tar c -C /state file | nerdctl exec -i web tar x -C / && nerdctl exec web cat /file").ok();
    assert!(host.sh("nerdctl cp /state/file web:/cp").failed().contains("value too large"));
    host.sh("nerdctl stop web && nerdctl cp /state/file web:/cp && nerdctl start web && nerdctl exec web cat /cp").ok();
    assert_eq!(host.sh("nerdctl exec web stat -c %u /cp").ok(), "0");
    host.sh("nerdctl volume create v && nerdctl run --rm --runtime io.containerd.eci.v2 -v v:/v busybox touch /v/file")
        .ok();
    assert!(host.sh("nerdctl logs web").status == 0);
    assert!(is_contained(&typed(&host, &lines[4])));
}
