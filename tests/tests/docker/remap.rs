//! dockerd with `userns-remap`: its layers belong to a range of ids on disk, and its specs bring that range along.

use serde_json::json;
use tests::host::{Host, Setup};
use tests::place;

/// On hosts of their own: the whole daemon is another one.
fn remapped(suite: &str, test: &str) {
    let config = place::new_dir("dockerd").join("daemon.json");
    std::fs::write(&config, json!({ "userns-remap": "default" }).to_string()).expect("a daemon.json");
    let setup = Setup { docker: Some(config), store: Some("overlay2"), ..Setup::default() };
    let Some(host) = Host::up_with(suite, test, &setup) else { return };
    let range = host.sh("awk -F: '$1 == \"dockremap\" { print 0, $2, $3 }' /etc/subuid").ok().to_owned();
    // The daemon's map, and owners that are the container's, as with runc: in the image, of what is made, in a volume.
    let look = "echo $(cat /proc/self/uid_map); touch /made /v/made; chown 1000:100 /v/made; stat -c %u:%g / /etc/passwd /made /v /v/made";
    for runtime in ["runc".to_owned(), tests::host::runtime()] {
        let seen = host.sh(&format!("docker run --rm --runtime {runtime} -v shared:/v busybox sh -c '{look}'"));
        assert_eq!(seen.ok(), format!("{range}\n0:0\n0:0\n0:0\n0:0\n1000:100"), "{runtime}");
    }
    // All of its containers have the one range that it chose.
    host.sh("for name in one two; do $DOCKER -d --name $name busybox sleep 1000; done").ok();
    assert_eq!(host.sh("echo $(docker exec two cat /proc/self/uid_map)").ok(), range);
    host.sh("echo outside > /tmp/in && docker cp /tmp/in one:/home/in").ok();
    assert_eq!(host.sh("docker exec one sh -c 'cat /home/in; stat -c %u:%g /home/in'").ok(), "outside\n0:0");
    host.sh(
        "docker restart -t 0 one && docker exec one cat /home/in && docker rm -f one two && docker volume rm shared",
    )
    .ok();
}

#[test]
fn trixie() {
    remapped("docker-trixie", "remap::trixie");
}

#[test]
fn sid() {
    remapped("docker-sid", "remap::sid");
}
