//! The operator's config through `docker run`: what is wrong keeps every container from starting, and a runtime may have a
//! config of its own.

use tests::host::Host;

on_each_docker!(
    a_wrong_config_keeps_every_container_from_starting,
    a_runtime_has_a_config_of_its_own,
    a_config_of_its_own_that_cannot_be_read_keeps_the_container_from_starting,
    the_verb_shows_what_holds_and_believes_no_file_that_others_write,
);

const HOSTS: &str = "/etc/eci/config.toml";
/// That of the runtime `configured`.
pub(super) const OWN: &str = "/etc/eci/own.toml";

/// A config file for as long as this lives.
pub(super) struct File<'a>(&'a Host, &'static str);

impl<'a> File<'a> {
    pub(super) fn new(host: &'a Host, path: &'static str, lines: &[&str]) -> Self {
        host.sh(&format!("mkdir -p /etc/eci && printf '%s\\n' '{}' > {path}", lines.join("' '"))).ok();
        Self(host, path)
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        self.0.sh(&format!("rm -rf {}", self.1));
    }
}

/// What the runtime says of a container that it does not start, without what docker says around it.
#[track_caller]
fn refused(host: &Host, runtime: &str) -> String {
    let said = host.sh(&format!("docker run --rm --runtime {runtime} busybox true")).failed();
    let (_, said) = said.split_once("OCI runtime create failed: ").unwrap_or_else(|| panic!("{said}"));
    let line = said.lines().next().unwrap_or_default();
    // Docker 26 appends the code.
    // What Docker adds, each release something else.
    line.strip_suffix(": unknown.").or_else(|| line.strip_suffix('.')).unwrap_or(line).to_owned()
}

fn a_wrong_config_keeps_every_container_from_starting(host: &Host) {
    let _own = File::new(host, OWN, &["[container]"]);
    for (lines, line) in [
        (
            &["[namespaces]", "missin = \"private\""][..],
            ":2: namespaces.missin: there is no such key, the nearest is namespaces.missing",
        ),
        (&["[container]", "io_uring = \"yes\""], ":2: container.io_uring: must be true or false, and is a string"),
        (&["", "[namespace]"], ":2: namespace: there is no such key, the nearest is namespaces"),
    ] {
        let _hosts = File::new(host, HOSTS, lines);
        for runtime in [&tests::host::runtime(), "named", "configured"] {
            assert_eq!(refused(host, runtime), format!("{HOSTS}{line}"));
        }
    }
    // Read anew for each container.
    assert_eq!(host.sh("$DOCKER --rm busybox echo well").ok(), "well");
}

fn a_runtime_has_a_config_of_its_own(host: &Host) {
    let links = |options: &str| host.sh(&format!("docker run --rm --network=host {options} busybox ls /sys/class/net"));
    {
        let _own = File::new(host, OWN, &["[namespaces]", "missing = \"private\""]);
        assert_eq!(links("--runtime configured").ok(), "lo");
        assert!(links("").failed().contains("can't share a network namespace"), "the others do not have it");
        // What is its own comes over what is the host's.
        let _hosts = File::new(host, HOSTS, &["[namespaces]", "missing = \"refuse\""]);
        assert_eq!(links("--runtime configured").ok(), "lo");
    }
    let _hosts = File::new(host, HOSTS, &["[namespaces]", "missing = \"private\""]);
    let _own = File::new(host, OWN, &["[namespaces]", "missing = \"refuse\""]);
    assert_eq!(links("").ok(), "lo");
    assert!(links("--runtime configured").failed().contains("can't share a network namespace"));
}

fn a_config_of_its_own_that_cannot_be_read_keeps_the_container_from_starting(host: &Host) {
    let option = |reason: &str| format!("runtime option ConfigPath: read {OWN}: {reason}");
    assert_eq!(refused(host, "configured"), option("there is no such file"));
    let _own = File::new(host, OWN, &["[namespaces]", "missin = 1"]);
    let line = "namespaces.missin: there is no such key, the nearest is namespaces.missing";
    assert_eq!(refused(host, "configured"), format!("{OWN}:2: {line}"));
    for (script, reason) in [
        ("echo > own.toml; chmod 666 own.toml", "must belong to root and be writable by nobody else"),
        ("chmod 644 own.toml; chown 1000 own.toml", "must belong to root and be writable by nobody else"),
        ("rm own.toml; ln -s nowhere own.toml", "is a link that leads nowhere"),
        ("rm own.toml; mkdir own.toml", "is no file"),
    ] {
        host.sh(&format!("cd /etc/eci && {script}")).ok();
        assert_eq!(refused(host, "configured"), option(reason));
    }
    host.sh(&format!("rmdir {OWN} && printf '[ranges]\\ncount = 5\\n' > {OWN}")).ok();
    let line = "ranges.count: is about the whole host, and belongs in /etc/eci/config.toml";
    assert_eq!(refused(host, "configured"), format!("{OWN}:2: {line}"));
    // Nobody else is kept from starting.
    assert_eq!(host.sh("$DOCKER --rm busybox echo well").ok(), "well");
}

fn the_verb_shows_what_holds_and_believes_no_file_that_others_write(host: &Host) {
    let config = |arguments: &str| host.sh(&format!("cd /etc && containerd-shim-eci-v2 config {arguments}"));
    let _hosts = File::new(host, HOSTS, &["[container]", "io_uring = true"]);
    let _own = File::new(host, OWN, &["namespaces.missing = \"private\""]);
    let hosts = config("").ok().to_owned();
    assert!(hosts.contains("io_uring = true") && hosts.contains("missing = \"refuse\""), "{hosts}");
    for path in [OWN, "eci/own.toml"] {
        let both = config(path).ok().to_owned();
        assert!(both.contains("io_uring = true") && both.contains("missing = \"private\""), "{both}");
    }
    // What it prints is a config that says the same.
    host.sh(&format!("containerd-shim-eci-v2 config {OWN} > /state/shown.toml")).ok();
    assert_eq!(config("/state/shown.toml").ok(), config(OWN).ok());
    host.sh(&format!("chmod o+w {OWN}")).ok();
    let reason = "must belong to root and be writable by nobody else";
    assert_eq!(
        config(OWN).failed().trim(),
        format!("containerd-shim-eci-v2: runtime option ConfigPath: read {OWN}: {reason}")
    );
    host.sh(&format!("chmod g+w {HOSTS}")).ok();
    assert_eq!(config("").failed().trim(), format!("containerd-shim-eci-v2: read {HOSTS}: {reason}"));
}
